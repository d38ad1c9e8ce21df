"""Moments of the body in windows that are explained: beats, breaths, meals and doses, with what the repo has."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, find_peaks, sosfiltfilt

from hdt_fm.cli.series_teaching import given_beside
from hdt_fm.data.shards import ShardFolder
from hdt_fm.evaluation.hand_features.basics import fill_gaps, peak_frequency, spectrum
from hdt_fm.evaluation.hand_features.beats import HEART_HZ, detection_signal, find_beats
from hdt_fm.explain.cohort.cells import MINIMUM_CELL
from hdt_fm.explain.gate.events import Events
from hdt_fm.schema.batch import Batch, Signal
from hdt_fm.schema.modalities import STATIC, modality
from hdt_fm.schema.series import Series

# How near a moment counts as near it, both sides together: a QRS complex, a pulse wave's rise, half a breath, a meal's
# first hour. What is drawn around a moment is three of these before it and five after.
WIDTH_S = {"R peaks": 0.12, "systolic feet": 0.2, "breaths": 1.5}
GIVEN_WIDTH_S = 3600.0
BEFORE, AFTER = 3.0, 5.0
_NAMES = {"carbs": "meals", "bolus": "doses of rapid insulin"}
# Meals and doses act over hours: a window of minutes tells nothing around them.
_LONG_S = 3 * 3600.0
_BREATH_HZ, _BEATS_FROM_HZ = (0.1, 0.7), 16.0
Places = tuple[NDArray[np.int64], ...]


def happenings(folder: ShardFolder, batch: Batch, *, treatments: str | None = None) -> tuple[Events, ...]:
    """Kinds of moments near which something of some window was observed; none is judged, for lack of truth.

    Args:
        folder: Where the windows are from.
        treatments: Shards of what the same people were given; None knows only of what is in the windows themselves.

    Raises:
        ConfigError: If these shards are of nobody of the folder.
    """
    found = [*_of_signals(batch), *_given(batch, _inside(batch))]
    if treatments is not None:
        found += _given(batch, {name: _beside(batch, some) for name, some in given_beside(folder, treatments).items()})
    return tuple(one for one in found if _seen(one, batch))


def of_enough_people(events: Sequence[Events], person: NDArray[np.integer]) -> tuple[Events, ...]:
    """Those kinds that as many people had as a report may tell of; `person`: (window,) whose it is."""
    had = [{int(who) for who, some in zip(person, one.places, strict=True) if len(some)} for one in events]
    return tuple(one for one, whose in zip(events, had, strict=True) if len(whose) >= MINIMUM_CELL)


def marks(events: Sequence[Events], batch: Batch) -> dict[str, list[NDArray[np.float64]]]:
    """Per kind and window, seconds from its start, as a report marks them; of the first modality that tells a kind."""
    return {
        one.name: [places / batch.signals[one.modality].sampling_rate_hz for places in one.places]
        for one in reversed(events)
    }


def _seen(one: Events, batch: Batch) -> bool:
    signal = batch.signals[one.modality]
    observed = (signal.observed & batch.column(one.modality)[:, None]).cpu().numpy()
    return any((one.near(row, len(seen), signal.sampling_rate_hz) & seen).any() for row, seen in enumerate(observed))


def _of_signals(batch: Batch) -> Iterator[Events]:
    for name in batch.modalities:
        if name == STATIC or name not in batch.signals:
            continue
        signal, kind = batch.signals[name], modality(name).kind
        if kind in ("ecg", "ppg", "abp") and signal.sampling_rate_hz >= _BEATS_FROM_HZ:
            called = "R peaks" if kind == "ecg" else "systolic feet"
            yield Events(called, name, _beats(signal, is_ecg=kind == "ecg"), WIDTH_S[called])
        if kind == "resp" and signal.sampling_rate_hz > 3 * _BREATH_HZ[1]:
            yield Events("breaths", name, _breaths(signal), WIDTH_S["breaths"])


def _rows(signal: Signal) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """First channel and what of it was observed, (window, time) each."""
    return signal.values[:, 0].double().cpu().numpy(), signal.observed.cpu().numpy()


def _beats(signal: Signal, *, is_ecg: bool) -> Places:
    values, observed = _rows(signal)
    rate_hz = signal.sampling_rate_hz
    filtered, detection = detection_signal(np.where(observed, values, 0.0), observed, rate_hz, is_ecg=is_ecg)
    frequencies, power = spectrum(detection, observed, rate_hz, resolution_hz=0.01)
    heart_hz = peak_frequency(frequencies, power, *HEART_HZ)
    out = []
    for row, seen in enumerate(observed):
        if seen.mean() < 0.5:
            out.append(np.zeros(0, dtype=np.int64))
            continue
        beats = find_beats(detection[row], filtered[row], seen, rate_hz, float(heart_hz[row]), is_ecg=is_ecg)
        peaks = np.clip(np.round(beats.times_s * rate_hz).astype(np.int64), 0, len(seen) - 1)
        out.append(peaks if is_ecg else _feet(filtered[row], seen, peaks, round(0.4 * rate_hz)))
    return tuple(out)


def _feet(
    wave: NDArray[np.float64], seen: NDArray[np.bool_], peaks: NDArray[np.int64], reach: int
) -> NDArray[np.int64]:
    """The lowest sample before each systolic peak; none for a peak whose rise was not seen."""
    feet = [
        peak - reach + int(wave[peak - reach : peak + 1].argmin())
        for peak in peaks.tolist()
        if peak >= reach and seen[peak - reach : peak + 1].all()
    ]
    return np.unique(np.array(feet, dtype=np.int64))


def _breaths(signal: Signal) -> Places:
    """Crests of the breathing band that stand out by half its spread."""
    values, observed = _rows(signal)
    rate_hz = signal.sampling_rate_hz
    band = butter(2, _BREATH_HZ, "bandpass", fs=rate_hz, output="sos")
    wave = sosfiltfilt(band, fill_gaps(np.where(observed, values, 0.0), observed), axis=1)
    out = []
    for row, seen in enumerate(observed):
        spread = float(wave[row][seen].std()) if seen.any() else 0.0
        crests, _ = find_peaks(wave[row], prominence=0.5 * spread or 1.0, distance=max(1, int(rate_hz / _BREATH_HZ[1])))
        out.append(crests[seen[crests]].astype(np.int64))
    return tuple(out)


def _given(batch: Batch, given: dict[str, list[NDArray[np.float64]]]) -> Iterator[Events]:
    """Meals and doses, as places of each long signal that is not itself given."""
    for name in batch.modalities:
        if name == STATIC or name not in batch.signals or modality(name).given:
            continue
        samples, rate_hz = batch.signals[name].values.shape[-1], batch.signals[name].sampling_rate_hz
        if samples / rate_hz < _LONG_S:
            continue
        for kind, times in given.items():
            places = [np.unique(np.floor(some * rate_hz).astype(np.int64)) for some in times]
            inside = tuple(some[(some >= 0) & (some < samples)] for some in places)
            called = _NAMES.get(kind, f"doses of {modality(kind).label.lower()}")
            yield Events(called, name, inside, GIVEN_WIDTH_S)


def _inside(batch: Batch) -> dict[str, list[NDArray[np.float64]]]:
    """Of each treatment that is a modality of the windows: seconds from the start of each window."""
    out = {}
    for name in batch.modalities:
        if name != STATIC and name in batch.signals and modality(name).given:
            values, observed = _rows(batch.signals[name])
            at = [np.flatnonzero(seen & (some > 0)) for some, seen in zip(values, observed, strict=True)]
            out[name] = [places / batch.signals[name].sampling_rate_hz for places in at]
    return out


def _beside(batch: Batch, series: Sequence[Series]) -> list[NDArray[np.float64]]:
    """Seconds from the start of each window at which its person was given something; some lie outside."""
    out = []
    for subject, start_s in zip(batch.subject.tolist(), batch.time_s.tolist(), strict=True):
        own = [one for one in series if one.subject == subject]
        times = [one.start_s + one.step_s * np.flatnonzero(one.observed & (one.values > 0)) - start_s for one in own]
        out.append(np.concatenate(times) if times else np.zeros(0))
    return out
