"""A visit -> windows of every modality on one grid."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Bool, Float32, Int64
from numpy.typing import NDArray

from hdt_fm.schema.modalities import modality
from hdt_fm.schema.preparation import ArtefactClass, Preparation
from hdt_fm.schema.recording import NS_PER_S, Recording, Visit
from hdt_fm.signal.align import ClockFit
from hdt_fm.signal.artefacts import share_in
from hdt_fm.signal.given import amounts_given
from hdt_fm.signal.labels import window_labels
from hdt_fm.signal.one_clock import on_one_clock
from hdt_fm.signal.prepare import Prepared, prepare_beside
from hdt_fm.signal.pulse import LEAST_HZ, LEAST_S, heart_rate
from hdt_fm.signal.quality import good


@dataclass(frozen=True)
class Windows:
    """Kept windows of one visit, in time order.

    Attributes:
        starts_ns: UTC start of each window.
        modalities: Columns of `present`, in the order of the preparation.
        signals: Per modality (window, channel, time); zeros where unobserved, and everywhere in an absent window.
        observed: Per modality (window, time).
        present: (window, modality).
        quality: (window, modality): share of the window's samples, as they were read, that were observed, not
            clipped, not standing still and none of the artefacts asked for; 0 where absent. Nothing is dropped by it.
        labels: One value a window; NaN where unknown.
        possible: Windows that fit between the first start and the last end of the prepared recordings.
        dropped: Those of them with too few modalities.
        artefacts: Per modality for which they were asked, and class: share of each window's samples as they were read.
        cancelled: Per modality whose noise was cancelled: mean gain in each window, 0 where nothing was touched.
        pulse_quality: Per PPG whose noise was cancelled, (window, 2): how clear the pulse is, before and after (see
            `pulse.py`); 0 where absent, and where windows are too short or too slow to show a pulse.
        clocks: Of each recording of another device than that of `align_to`, if that is asked for.
    """

    starts_ns: Int64[np.ndarray, " window"]
    modalities: tuple[str, ...]
    signals: Mapping[str, NDArray[np.float32]]
    observed: Mapping[str, NDArray[np.bool_]]
    present: Bool[np.ndarray, "window modality"]
    quality: Float32[np.ndarray, "window modality"]
    labels: Mapping[str, NDArray[np.float32]]
    possible: int
    dropped: int
    artefacts: Mapping[str, Mapping[ArtefactClass, NDArray[np.float64]]] = field(default_factory=dict)
    cancelled: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    pulse_quality: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    clocks: Mapping[str, ClockFit] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.starts_ns)


def cut(visit: Visit, preparation: Preparation) -> Windows:
    """Prepare each modality and cut it on the grid t0 + k * hop.

    t0 is the first whole second (with a shorter hop, multiple of the hop) at or after the earliest start of a prepared
    recording. Each modality keeps its
    own sample clock: a window begins at the sample nearest to its start, at most half a sample off. A modality
    with less than `min_coverage` of its samples observed is absent from the window; a window with fewer than
    `min_modalities` present is dropped and counted.

    Raises:
        RecordingError: If a recording has another number of channels than the preparation.
    """
    names = tuple(preparation.modalities)
    clocks: Mapping[str, ClockFit] = {}
    if preparation.align_to is not None:
        aligned = on_one_clock(visit, preparation.align_to)
        visit, clocks = aligned.visit, aligned.fits
    sources = _sources(visit, preparation)
    found = {
        name: prepare_beside(source, preparation.modalities[name], visit.recordings) for name, source in sources.items()
    }
    prepared = {name: one.recording for name, one in found.items()}
    window_ns = round(preparation.window_s * NS_PER_S)
    grid = _grid(list(prepared.values()), window_ns, round(preparation.hop_s * NS_PER_S))
    present = np.zeros((len(grid), len(names)), dtype=np.bool_)
    for column, name in enumerate(names):
        if name in prepared:
            share = _coverage(prepared[name], prepared[name].observed, grid, preparation.window_s)
            present[:, column] = share >= preparation.min_coverage - 1e-9
    kept = present.sum(axis=1) >= preparation.min_modalities
    starts, present = grid[kept], present[kept]
    quality = np.zeros(present.shape, dtype=np.float32)
    for column, name in enumerate(names):
        if name in prepared:
            raw = sources[name]
            clean = good(raw.values, raw.observed, raw.sampling_rate_hz)
            if (artefacts := found[name].artefacts) is not None:
                clean &= ~artefacts.any
            quality[:, column] = present[:, column] * _coverage(raw, clean, starts, preparation.window_s)
    signals, observed = {}, {}
    for column, (name, settings) in enumerate(preparation.modalities.items()):
        shape = (len(starts), settings.channels, preparation.samples(name))
        signals[name], observed[name] = _take(prepared.get(name), starts, present[:, column], shape)
    return Windows(
        starts_ns=starts,
        modalities=names,
        signals=signals,
        observed=observed,
        present=present,
        quality=quality,
        labels={
            name: window_labels(track, starts, window_ns, min_cover=preparation.min_label_cover)
            for name, track in visit.labels.items()
        },
        possible=len(grid),
        dropped=len(grid) - len(starts),
        artefacts=_artefacts(sources, found, starts, preparation.window_s),
        cancelled={
            name: _mean_gain(one, starts, preparation.window_s)
            for name, one in found.items()
            if one.cancelled is not None
        },
        pulse_quality={
            name: _pulse_quality(one, starts, present[:, names.index(name)], preparation.window_s)
            for name, one in found.items()
            if one.cancelled is not None and modality(name).kind == "ppg"
        },
        clocks=clocks,
    )


def _sources(visit: Visit, preparation: Preparation) -> dict[str, Recording]:
    """What each modality is made of: a recording, or events of what was given."""
    found = {}
    for name, settings in preparation.modalities.items():
        own = settings.source or name
        if own in visit.recordings:
            found[name] = visit.recordings[own]
        elif modality(name).given and (made := amounts_given(visit, own, settings.sampling_rate_hz)) is not None:
            found[name] = made
    return found


def _artefacts(
    sources: Mapping[str, Recording], found: Mapping[str, Prepared], starts_ns: np.ndarray, window_s: float
) -> dict[str, dict[ArtefactClass, NDArray[np.float64]]]:
    shares = {}
    for name, one in found.items():
        if one.artefacts is not None:
            first = _first_samples(sources[name], starts_ns)
            shares[name] = one.artefacts.by_window(first, round(window_s * sources[name].sampling_rate_hz))
    return shares


def _pulse_quality(one: Prepared, starts_ns: np.ndarray, present: np.ndarray, window_s: float) -> NDArray[np.float64]:
    assert one.cancelled is not None
    rate, channels = one.recording.sampling_rate_hz, len(one.recording.values)
    found = np.zeros((len(starts_ns), 2))
    if window_s < LEAST_S or rate < LEAST_HZ:
        return found
    for column, values in enumerate((one.cancelled.raw, one.recording.values)):
        shown = np.where(one.recording.observed, values, np.float32(0.0))
        shape = (len(starts_ns), channels, round(window_s * rate))
        windows, _ = _take(replace(one.recording, values=shown), starts_ns, present, shape)
        each = [heart_rate(windows[:, channel].astype(np.float64), rate).quality for channel in range(channels)]
        found[:, column] = np.mean(each, axis=0)
    return found


def _mean_gain(one: Prepared, starts_ns: np.ndarray, window_s: float) -> NDArray[np.float64]:
    assert one.cancelled is not None
    gain, length = one.cancelled.gain, round(window_s * one.recording.sampling_rate_hz)
    return share_in(gain, _first_samples(one.recording, starts_ns), length)


def _grid(recordings: list[Recording], window_ns: int, hop_ns: int) -> Int64[np.ndarray, " window"]:
    if not recordings:
        return np.empty(0, dtype=np.int64)
    step = min(NS_PER_S, hop_ns)
    first = -(-min(recording.start_ns for recording in recordings) // step) * step
    last = max(recording.end_ns for recording in recordings)
    # Half a millisecond of grace: a rate such as 100/3 Hz rounds the end of a recording down.
    count = max(0, (last + 500_000 - first - window_ns) // hop_ns + 1)
    return first + hop_ns * np.arange(count, dtype=np.int64)


def _first_samples(recording: Recording, starts_ns: Int64[np.ndarray, " window"]) -> Int64[np.ndarray, " window"]:
    return np.rint((starts_ns - recording.start_ns) / NS_PER_S * recording.sampling_rate_hz).astype(np.int64)


def _coverage(recording: Recording, samples: np.ndarray, starts_ns: np.ndarray, window_s: float) -> np.ndarray:
    """Share of each window's samples that are True; what lies outside the recording is not."""
    length = round(window_s * recording.sampling_rate_hz)
    total = np.concatenate([[0], np.cumsum(samples)])
    first = _first_samples(recording, starts_ns)
    inside = [np.clip(edge, 0, len(samples)) for edge in (first, first + length)]
    return (total[inside[1]] - total[inside[0]]) / length


def _take(
    recording: Recording | None, starts_ns: np.ndarray, present: np.ndarray, shape: tuple[int, int, int]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Samples of the windows that hold the modality; what lies outside the recording is unobserved."""
    values = np.zeros(shape, dtype=np.float32)
    observed = np.zeros((shape[0], shape[2]), dtype=np.bool_)
    if recording is None:
        return values, observed
    first = _first_samples(recording, starts_ns)
    length = recording.values.shape[1]
    for row in np.flatnonzero(present).tolist():
        begin, end = max(int(first[row]), 0), min(int(first[row]) + shape[2], length)
        there = slice(begin - int(first[row]), end - int(first[row]))
        values[row, :, there] = recording.values[:, begin:end]
        observed[row, there] = recording.observed[begin:end]
    return values, observed
