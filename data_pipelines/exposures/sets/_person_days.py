"""One person's days: what they were exposed to and what was measured of them, a value a day."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_pipelines.exposures._told import DAY_S, Days
from hdt_fm.schema.recording import NS_PER_S, LabelTrack, Recording, Visit

_DAY_NS = int(DAY_S) * NS_PER_S


@dataclass(frozen=True)
class PersonDays:
    """Days in a row, the same for every array; NaN is not known.

    Attributes:
        group: People who must stay on one side of every split.
        first_day: Number of the first day since 1970, by the person's own calendar.
        exposures, outcomes: Name, with its unit where that is not plain -> a value a day.
    """

    group: str
    first_day: int
    exposures: Mapping[str, NDArray[np.float64]]
    outcomes: Mapping[str, NDArray[np.float64]]


def days_of(visit: Visit) -> Days | None:
    """From the first local day of anything to the last; None where there is nothing."""
    spans = [(one.start_ns, one.end_ns) for one in visit.recordings.values()]
    told = [one for one in visit.labels.values() if len(one.start_ns)]
    # An event ends as it begins; the day that it is on counts.
    spans += [(int(one.start_ns.min()), max(int(one.end_ns.max()), int(one.start_ns.max()) + 1)) for one in told]
    if not spans:
        return None
    offset_ns = next((one.utc_offset_s for one in visit.recordings.values() if one.utc_offset_s), 0) * NS_PER_S
    begin, end = min(begin for begin, _ in spans) + offset_ns, max(end for _, end in spans) + offset_ns
    first, after = begin // _DAY_NS, -(-end // _DAY_NS)
    return Days(first * DAY_S, after - first)


def daily_mean(track: LabelTrack | None, days: Days) -> NDArray[np.float64]:
    """Mean of what began on each day."""
    if track is None:
        return np.full(days.count, np.nan)
    known = np.isfinite(track.values)
    return _mean(track.start_ns[known] / NS_PER_S, track.values[known], days)


def daily_samples(recording: Recording | None, days: Days) -> NDArray[np.float64]:
    """Mean of the observed samples of each day, by the recording's local clock."""
    if recording is None:
        return np.full(days.count, np.nan)
    times = np.arange(recording.values.shape[1]) / recording.sampling_rate_hz + recording.start_ns / NS_PER_S
    times += recording.utc_offset_s or 0
    return _mean(times[recording.observed], recording.values[0, recording.observed].astype(np.float64), days)


def _mean(times_s: NDArray[np.float64], values: NDArray[np.float64], days: Days) -> NDArray[np.float64]:
    at = days.index(times_s)
    inside = (at >= 0) & (at < days.count)
    counts = np.bincount(at[inside], minlength=days.count)
    sums = np.bincount(at[inside], weights=values[inside], minlength=days.count)
    return np.divide(sums, counts, out=np.full(days.count, np.nan), where=counts > 0)


def first_day(days: Days) -> int:
    """Number of the first day since 1970."""
    return round(days.first / DAY_S)
