"""Where forecasts start, what is known there, and what came; the same for every model."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.series import DAY_S, Series

# A short gap between two readings is a line for inputs; a longer one stays unknown (GlucoBench, MetaboNet: 45 min).
MAX_LINE_S = 2700.0
# Newest reading at an origin: no older than this, or no person could answer either.
MAX_AGE_S = 900.0


@dataclass(frozen=True)
class Moments:
    """Origins of forecasts over all series.

    Attributes:
        series, place: Which series, and the place in it that is "now": the last that may be seen.
        context: Values up to now, oldest first; lines across short gaps, the last reading held, NaN where unknown.
        target: What was measured at each horizon; NaN where nothing was: never scored.
        last: Newest reading.
        group, subject: Of each origin.
        clock_s: Time of day now, in seconds.
        time_s: Now, on the person's calendar.
        every_s: Between origins.
        horizons_s: Of the targets.
    """

    series: Int[np.ndarray, " origin"]
    place: Int[np.ndarray, " origin"]
    context: Float[np.ndarray, "origin context"]
    target: Float[np.ndarray, "origin horizon"]
    last: Float[np.ndarray, " origin"]
    group: Int[np.ndarray, " origin"]
    subject: Int[np.ndarray, " origin"]
    clock_s: Float[np.ndarray, " origin"]
    time_s: Float[np.ndarray, " origin"]
    step_s: float
    every_s: float
    horizons_s: tuple[float, ...]

    def __len__(self) -> int:
        return len(self.group)

    def rows(self, index: Int[np.ndarray, " row"]) -> "Moments":
        """Some of the origins."""
        arrays = {one.name: getattr(self, one.name) for one in fields(self)}
        return Moments(**{name: held[index] if isinstance(held, np.ndarray) else held for name, held in arrays.items()})


def moments_of(
    series: Sequence[Series],
    *,
    context_s: float,
    horizons_s: Sequence[float],
    every_s: float = 1800.0,
    least_known: float = 0.5,
    scored: bool = True,
    to_newest: bool = False,
) -> Moments:
    """Origins on a common clock (every half hour), where enough is known and something came.

    Args:
        context_s: How far back a model may look here; those that look further take it from the series up to `place`.
        least_known: Share of the context that must be known after short gaps are lines.
        scored: Only origins after which something came; False keeps those whose future is still open.
        to_newest: Count origins back from each series' newest reading, and not on the clock.

    Raises:
        ConfigError: If steps differ, a horizon is no multiple of the step, or no origin exists.
    """
    steps = {one.step_s for one in series}
    if len(steps) != 1:
        raise ConfigError("Series of several steps are not scored together", got=f"steps of {sorted(steps)} s")
    step_s = steps.pop()
    ahead = np.array([round(one / step_s) for one in horizons_s])
    stride, back = round(every_s / step_s), round(context_s / step_s)
    if min(ahead, default=0) < 1 or stride < 1 or back < 1 or not np.allclose(ahead * step_s, horizons_s):
        raise ConfigError(
            "The backtest does not fit the step of the series",
            expected=f"multiples of {step_s:g} s",
            got=f"horizons {list(horizons_s)}, context {context_s:g}, every {every_s:g} s",
        )
    parts = [
        _of_one(number, one, back, ahead, places_of(one, every_s, to_newest=to_newest), least_known, scored)
        for number, one in enumerate(series)
    ]
    if not any(len(part["place"]) for part in parts):
        raise ConfigError(
            "No moment has enough behind it and a reading ahead",
            expected=f"series longer than {context_s + max(horizons_s):g} s",
        )
    joined: dict[str, Any] = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return Moments(**joined, step_s=step_s, every_s=every_s, horizons_s=tuple(float(one) for one in horizons_s))


def places_of(one: Series, every_s: float, *, to_newest: bool = False) -> Int[np.ndarray, " place"]:
    """Places every so often: on the clock of the day, so that recordings of one person ask at the same times; or
    counted back from the newest reading."""
    stride = max(1, round(every_s / one.step_s))
    if not to_newest:
        return np.arange(-round(one.start_s / one.step_s) % stride, len(one), stride)
    seen = np.flatnonzero(one.observed)
    return np.arange(seen[-1] % stride, seen[-1] + 1, stride) if len(seen) else np.zeros(0, dtype=np.int64)


def _of_one(
    number: int, one: Series, back: int, ahead: np.ndarray, places: np.ndarray, least_known: float, scored: bool
) -> dict[str, np.ndarray]:
    places = places[places >= back - 1]
    line, newest = known_until(one)
    places = places[(places - newest[places]) * one.step_s <= MAX_AGE_S]
    context = context_at(line, newest, places, back)
    target = np.full((len(places), len(ahead)), np.nan)
    for column, steps in enumerate(ahead):
        inside = places + steps < len(one)
        there = places[inside] + steps
        target[inside, column] = np.where(one.observed[there], one.values[there], np.nan)
    keep = (np.isfinite(context).mean(axis=1) >= least_known) & (np.isfinite(target).any(axis=1) | (not scored))
    places, size = places[keep], int(keep.sum())
    time_s = one.start_s + places * one.step_s
    return {
        "series": np.full(size, number),
        "place": places,
        "context": context[keep],
        "target": target[keep],
        "last": one.values[newest[places]].astype(np.float64),
        "group": np.full(size, one.group),
        "subject": np.full(size, one.subject),
        "clock_s": (time_s + one.utc_offset_s) % DAY_S,
        "time_s": time_s,
    }


def known_until(one: Series) -> tuple[Float[np.ndarray, " time"], Int[np.ndarray, " time"]]:
    """Values with lines across short gaps, NaN in long ones; and the newest reading's place at each (-1 before any)."""
    time, seen = np.arange(len(one)), np.flatnonzero(one.observed)
    newest = np.maximum.accumulate(np.where(one.observed, time, -1))
    if not len(seen):
        return np.full(len(one), np.nan), newest
    line = np.interp(time, seen, one.values[seen], left=np.nan, right=np.nan)
    following = seen[np.searchsorted(seen, time).clip(max=len(seen) - 1)]
    line[(following - newest) * one.step_s > MAX_LINE_S] = np.nan
    return line, newest


def context_at(
    line: Float[np.ndarray, " time"], newest: Int[np.ndarray, " time"], places: Int[np.ndarray, " origin"], back: int
) -> Float[np.ndarray, "origin back"]:
    """The last `back` values at each place. A line that ends after now is not known yet: the last reading is held."""
    index = places[:, None] + np.arange(1 - back, 1)
    inside = index >= 0
    context = np.where(inside, line[index.clip(min=0)], np.nan)
    after = index > newest[places][:, None]
    held = line[newest[places].clip(min=0)][:, None]
    return np.where(after, held, context)
