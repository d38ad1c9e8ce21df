"""Credit around moments of the body: its mean course, and whether more lies near them than chance has it."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hdt_fm.explain.aggregate.over_people import Mean, mean_over, nan_mean, of_units
from hdt_fm.explain.explanation import Explanation, SignalView
from hdt_fm.explain.gate.events import Events
from hdt_fm.metrics.bootstrap import LEVEL
from hdt_fm.schema.errors import ExplainError, unknown_name
from hdt_fm.schema.modalities import ARBITRARY

Array = NDArray[np.float64]


@dataclass(frozen=True)
class EventAligned:
    """Means over events of a window, then its person's windows, then people (or windows of a lone person).

    Attributes:
        time_s: (time,) from the moment on; negative before it.
        credit: (channel, time) signed credit of a sample.
        wave: (channel, time) the signal less its window's mean, in `wave_unit`: the modality's, or standard
            deviations of the window where that is arbitrary.
        enrichment: Mean |credit| of samples near the moments over that of the whole window; 1 is no preference.
        chance_low, chance_high: Where 95 % of enrichments lie when each window's moments are shifted in a circle.
        p: Share of such shifts that are enriched as much, one-sided.
    """

    name: str
    modality: str
    label: str
    method: str
    width_s: float
    time_s: Array
    credit: Mean
    wave: Mean
    wave_unit: str
    enrichment: float
    low: float
    high: float
    chance_low: float
    chance_high: float
    p: float
    events: int
    windows: int
    people: int
    over: Literal["people", "windows"]


def event_aligned(
    explanation: Explanation,
    events: Events,
    *,
    before_s: float,
    after_s: float,
    method: str | None = None,
    shifts: int = 999,
    draws: int = 1000,
    seed: int = 0,
) -> EventAligned:
    """Gather a method's credit around moments of the explained windows.

    Args:
        before_s, after_s: How much of the course is shown.
        method: Whose map; the leading one by default.
        shifts: Draws of chance. A shift turns all moments of a window by one random step, so that their rhythm stays:
            moments as regular as the map's own rhythm are then compared with themselves off beat.
        draws: Of the intervals.

    Raises:
        ExplainError: If no window holds such a moment, or places do not fit the windows.
        UnknownNameError: If the explanation has no map of the modality.
    """
    one = explanation.maps[0] if method is None else explanation.find(method)
    if events.modality not in one.values:
        raise unknown_name("modality", events.modality, one.values, where=f"events {events.name}")
    signal, credit = explanation.signals[events.modality], one.values[events.modality]
    held = explanation.present[:, explanation.modalities.index(events.modality)]
    near = [events.near(k, credit.shape[-1], signal.sampling_rate_hz) for k in range(len(explanation))]
    rows = np.array([k for k in np.flatnonzero(held) if (near[k] & signal.observed[k]).any()], dtype=np.int64)
    if not len(rows):
        raise ExplainError(
            f"No explained window holds {events.name}",
            where=f"modality {events.modality}",
            expected="places within observed stretches of some window",
            fix="leave these events out, or choose other windows",
        )
    person = explanation.person[rows]
    steps = _steps(before_s, after_s, signal.sampling_rate_hz)
    waves = _centred(signal, rows)
    curves = [
        (_around(credit[k].astype(np.float64), events.places[k], steps, signal.observed[k]),
         _around(wave, events.places[k], steps, signal.observed[k]))
        for k, wave in zip(rows, waves, strict=True)
    ]  # fmt: skip
    by_shift = np.stack([_by_shift(np.abs(credit[k]).sum(0), near[k], signal.observed[k]) for k in rows])
    units, over = of_units(by_shift[:, 0], person)
    ratio = mean_over(units, draws=draws, seed=seed)
    chance = _chance(by_shift, person, shifts, np.random.default_rng(seed))
    value = float(ratio.value)
    means = [
        mean_over(of_units(np.stack(some), person)[0], draws=draws, seed=seed) for some in zip(*curves, strict=True)
    ]
    ends = np.percentile(chance, [50 * (1 - LEVEL), 50 * (1 + LEVEL)]) if len(chance) else (np.nan, np.nan)
    return EventAligned(
        name=events.name,
        modality=events.modality,
        label=signal.label,
        method=one.method,
        width_s=events.width_s,
        time_s=steps / signal.sampling_rate_hz,
        credit=means[0],
        wave=means[1],
        wave_unit="SD" if signal.unit == ARBITRARY else signal.unit,
        enrichment=value,
        low=float(ratio.low),
        high=float(ratio.high),
        chance_low=float(ends[0]),
        chance_high=float(ends[1]),
        p=(1 + int((chance >= value).sum())) / (1 + len(chance)) if np.isfinite(value) else float("nan"),
        events=sum(len(events.places[k]) for k in rows),
        windows=len(rows),
        people=len(np.unique(person)),
        over=over,
    )


def _steps(before_s: float, after_s: float, sampling_rate_hz: float) -> NDArray[np.int64]:
    steps = np.arange(-round(before_s * sampling_rate_hz), round(after_s * sampling_rate_hz) + 1)
    if len(steps) < 2:
        raise ExplainError(
            "The stretch around an event holds no sample but its own",
            expected=f"`before_s` and `after_s` of {1 / sampling_rate_hz:g} s or more",
            got=f"{before_s:g} and {after_s:g} s",
        )
    return steps


def _centred(signal: SignalView, rows: NDArray[np.int64]) -> list[Array]:
    """Per window (channel, time) less the mean of what was observed; in its own spread where the unit is arbitrary."""
    out = []
    for k in rows:
        seen = np.where(signal.observed[k], signal.values[k], np.nan).astype(np.float64)
        wave = seen - np.nanmean(seen, axis=-1, keepdims=True)
        spread = np.nanstd(seen, axis=-1, keepdims=True)
        out.append(wave / np.where(spread > 0, spread, 1.0) if signal.unit == ARBITRARY else wave)
    return out


def _around(values: Array, places: NDArray[np.integer], steps: NDArray[np.int64], seen: NDArray[np.bool_]) -> Array:
    """(channel, time) mean over events of what was observed around them."""
    index = np.asarray(places, dtype=np.int64)[:, None] + steps
    inside = (index >= 0) & (index < values.shape[-1])
    index = np.clip(index, 0, values.shape[-1] - 1)
    there = inside & seen[index]
    return nan_mean(np.where(there[:, None], values[:, index].transpose(1, 0, 2), np.nan))


def _by_shift(size: NDArray[np.floating], near: NDArray[np.bool_], seen: NDArray[np.bool_]) -> Array:
    """(time,) enrichment with the moments turned by 0, 1, 2, ... samples; NaN where none of them was observed."""
    length = len(size)
    turned = np.conj(np.fft.rfft(near.astype(np.float64)))
    sums = np.fft.irfft(turned * np.fft.rfft(np.where(seen, size, 0.0).astype(np.float64)), length)
    count = np.rint(np.fft.irfft(turned * np.fft.rfft(seen.astype(np.float64)), length))
    whole = float(np.where(seen, size, 0.0).sum(dtype=np.float64)) / max(int(seen.sum()), 1)
    if not whole > 0:
        return np.full(length, np.nan)
    return np.divide(np.maximum(sums, 0.0) / whole, count, out=np.full(length, np.nan), where=count > 0)


def _chance(by_shift: Array, person: NDArray[np.integer], shifts: int, rng: np.random.Generator) -> Array:
    """Enrichments of as many draws, each of one random turn a window; without draws that cannot be had."""
    if by_shift.shape[1] < 2:
        return np.zeros(0)
    turns = rng.integers(1, by_shift.shape[1], (shifts, len(by_shift)))
    drawn = by_shift[np.arange(len(by_shift)), turns].T  # (window, shift)
    chance = nan_mean(of_units(drawn, person)[0])
    return chance[np.isfinite(chance)]
