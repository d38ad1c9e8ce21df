"""Heart beats of FIT files: a strap's memory (`hr`), intervals without a clock (`hrv`), and those with one."""

import numpy as np
from numpy.typing import NDArray

from data_pipelines.readers._fit_clock import TIMESTAMP, Clock, completed, to_ns, utc_seconds
from data_pipelines.readers._fit_profile import BEAT_INTERVALS, HR, HRV
from data_pipelines.readers._fit_stream import Part
from hdt_fm.schema.recording import LabelTrack

# A strap counts in 1/1024 s, and of most beats it keeps the low twelve bits.
_TICKS_PER_S = 1024
_LOW_BITS = 0xFFF
# Intervals are summed up until they fall this far behind the clock: then beats were missed.
_MAX_LAG_S = 5.0
# Past this a number is no interval between two beats.
_MAX_INTERVAL_S = 4.0


def beats(parts: list[Part], clocks: list[Clock]) -> LabelTrack | None:
    """The beats of the file, from the first of three kinds that it holds; the value is the interval before, or 0."""
    for kind in (_strap, _timed_intervals, _plain_intervals):
        found = [kind(part, clock) for part, clock in zip(parts, clocks, strict=True)]
        times = np.concatenate([times for times, _ in found])
        intervals = np.concatenate([intervals for _, intervals in found])
        if len(times):
            order = np.argsort(times, kind="stable")
            begins = to_ns(times[order])
            return LabelTrack("beats", "event", begins, begins, intervals[order], unit="s")
    return None


def strap_rates(part: Part) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Times and heart rates that a strap kept, one a beat."""
    times, rates = _strap_times(part), part.column(HR, 6)
    if rates.shape[1] != times.shape[1]:
        return np.empty(0), np.empty(0)
    known = np.isfinite(times) & np.isfinite(rates)
    return _without_filler(times[known], rates[known])


def _strap(part: Part, _clock: Clock) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    times = _strap_times(part)
    times, _ = _without_filler(times[np.isfinite(times)], None)
    return times, np.zeros(len(times))


def _strap_times(part: Part) -> NDArray[np.float64]:
    """(message, beat) in UNIX seconds; NaN where there is none.

    A message with whole ticks and a time ties one to the other; those after it hold low bits alone.
    """
    whole, low = part.column(HR, 9), _unpacked(part.column(HR, 10))
    stamps = utc_seconds(part.column(HR, TIMESTAMP)[:, 0])
    stamps = stamps + np.nan_to_num(part.column(HR, 0)[:, 0]) / 32768
    width = max(whole.shape[1], low.shape[1])
    numbers = np.full((len(stamps), width), np.nan)
    numbers[:, : low.shape[1]] = low
    full = np.asarray(np.isfinite(whole).any(axis=1))
    numbers[full] = np.nan
    numbers[full, : whole.shape[1]] = whole[full]
    masks = np.where(full[:, np.newaxis], 0, _LOW_BITS) * np.ones_like(numbers, dtype=np.int64)
    # The first tie between ticks and time is the message with both; what comes before a whole number is lost.
    known = np.isfinite(numbers) & np.cumsum(full).astype(np.bool_)[:, np.newaxis]
    ticks = np.full(numbers.shape, np.nan)
    ticks[known] = completed(numbers[known].astype(np.int64), masks[known])
    origins = np.where(full, stamps - whole[:, 0] / _TICKS_PER_S, np.nan)
    tied = np.maximum.accumulate(np.where(np.isfinite(origins), np.arange(len(origins)), 0))
    return (origins[tied] if len(origins) else origins)[:, np.newaxis] + ticks / _TICKS_PER_S


def _unpacked(packed: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bytes -> twelve-bit numbers, two in three bytes, the low bits first."""
    count = packed.shape[1] // 3
    if not count:
        return np.full((len(packed), 1), np.nan)
    first, middle, last = np.moveaxis(packed[:, : 3 * count].reshape(len(packed), count, 3), -1, 0)
    pairs = np.stack([first + 256 * (middle % 16), middle // 16 + 16 * last], axis=-1)
    return pairs.reshape(len(packed), 2 * count)


def _without_filler(
    times: NDArray[np.float64], values: NDArray[np.float64] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Without the last beat's repeats, which fill a message up."""
    new = np.concatenate([[True], np.diff(times) > 0]) if len(times) else np.zeros(0, dtype=np.bool_)
    return times[new], values[new] if values is not None else np.empty(0)


def _timed_intervals(part: Part, _clock: Clock) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A minute's intervals, summed up from the message's own time."""
    stamps = utc_seconds(part.column(BEAT_INTERVALS, TIMESTAMP)[:, 0])
    stamps = stamps + np.nan_to_num(part.column(BEAT_INTERVALS, 0)[:, 0]) / 1e3
    intervals = part.column(BEAT_INTERVALS, 1) / 1e3
    times = stamps[:, np.newaxis] + np.cumsum(np.nan_to_num(intervals), axis=1)
    known = np.isfinite(intervals) & np.isfinite(times) & (intervals > 0) & (intervals < _MAX_INTERVAL_S)
    return times[known], intervals[known]


def _plain_intervals(part: Part, clock: Clock) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Intervals summed up from the time before the first of them, and from the clock again where beats were missed."""
    rows = part.column(HRV, 0) / 1e3
    moments = clock.of(part.places(HRV))
    times, kept, now = [], [], np.nan
    for moment, row in zip(moments.tolist(), rows, strict=True):
        intervals = row[np.isfinite(row) & (row > 0) & (row < _MAX_INTERVAL_S)]
        if not len(intervals) or np.isnan(moment):
            continue
        ends = np.cumsum(intervals)
        if np.isnan(now) or moment - (now + ends[-1]) > _MAX_LAG_S:
            now = moment - ends[-1]
        times.append(now + ends)
        kept.append(intervals)
        now += ends[-1]
    return (np.concatenate(times), np.concatenate(kept)) if times else (np.empty(0), np.empty(0))
