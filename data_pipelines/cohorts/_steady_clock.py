"""Samples that left a sensor at a steady pace, but are stamped when they arrive: their own clock, and what was lost."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hdt_fm.schema.errors import ReaderError

# Half a second of a 100 Hz stream: longer than any batch that a phone holds back, so that its minimum was on time.
_REACH = 50
# A jump that does not come back counts as lost samples from here on, in samples; arrival jitter stays below half.
_LOST = 0.75
_FITS = 4
_MAX_STRETCH = 200


@dataclass(frozen=True)
class SteadyClock:
    """Sample k of the file lies at `start + index[k] * period`; places that `index` skips were lost."""

    start: float
    period: float
    index: NDArray[np.int64]

    def times(self) -> NDArray[np.float64]:
        """When each sample of the file was taken."""
        return self.start + self.period * self.index.astype(np.float64)


def steady_clock(arrivals: NDArray[np.float64], *, where: str) -> SteadyClock:
    """Find pace and start of a stream from arrival times (any unit), which may be late but hardly early.

    A sample that is late by a batch is followed by samples that come at once; after a real loss, all later samples
    are late for good. So a place where the earliest of the next half second is later than the earliest of the last
    half second, by a sample or more, is a gap. One within the last half second of the file cannot be told from a
    late batch and stays unseen.

    Raises:
        ReaderError: If there are too few samples, or the times run backwards or are not those of a steady stream.
    """
    if len(arrivals) < 2 * _REACH:
        raise ReaderError(
            "Too few samples to know their clock",
            where=where,
            expected=f"{2 * _REACH} or more",
            got=str(len(arrivals)),
            fix="leave this recording out",
        )
    steps = np.diff(arrivals)
    if not np.isfinite(arrivals).all() or (steps < 0).any():
        raise ReaderError(
            "The time column does not rise",
            where=where,
            expected="finite times in order",
            got=f"{int((~(steps >= 0)).sum())} step(s) backwards or missing",
            fix="if the clock was set back, split the file there; else export the recording again",
        )
    # Over many samples at once, since single steps say only how batches came; few of all, since a gap spoils as many.
    far = min(2 * _REACH, len(arrivals) // 6)
    period = float(np.median(arrivals[far:] - arrivals[:-far])) / far
    for _ in range(_FITS):
        if period <= 0:
            raise _unsteady(where)
        index = _places(arrivals, period, where)
        period, start = _line(index, arrivals)
    late = arrivals - (start + period * index)
    if period <= 0 or late.min() < -3 * period:
        raise _unsteady(where)
    return SteadyClock(start, period, index)


def _places(arrivals: NDArray[np.float64], pace: float, where: str) -> NDArray[np.int64]:
    index = np.arange(len(arrivals), dtype=np.int64)
    late = arrivals - arrivals[0] - pace * index
    while True:
        jumps = _ahead(late) - _behind(late)
        found = np.flatnonzero(jumps > _LOST * pace)
        if not len(found):
            return index
        first = int(found[0])
        lost = max(1, round(float(jumps[first]) / pace))
        if index[-1] + lost > _MAX_STRETCH * len(index):
            raise _unsteady(where)
        index[first:] += lost
        late[first:] -= lost * pace


def _ahead(late: NDArray[np.float64]) -> NDArray[np.float64]:
    """Earliest of each sample and those after it; -inf where fewer than `_REACH` are left, which decide nothing."""
    lowest = np.lib.stride_tricks.sliding_window_view(late, _REACH).min(axis=1)
    return np.concatenate([lowest, np.full(_REACH - 1, -np.inf)])


def _behind(late: NDArray[np.float64]) -> NDArray[np.float64]:
    """Earliest of those before each sample; inf where there are fewer than `_REACH`."""
    lowest = np.lib.stride_tricks.sliding_window_view(late, _REACH).min(axis=1)
    return np.concatenate([np.full(_REACH, np.inf), lowest[:-1]])


def _line(index: NDArray[np.int64], arrivals: NDArray[np.float64]) -> tuple[float, float]:
    """Period and start by least squares through the earlier half of the arrivals."""
    # Around the middle: 1e12 ms since 1970 would cost a fit its digits.
    x, y = index - index.mean(), arrivals - arrivals[0]
    kept = np.ones(len(x), dtype=np.bool_)
    for _ in range(_FITS):
        slope, level = np.polyfit(x[kept], y[kept], 1)
        late = y - (level + slope * x)
        kept = late <= np.median(late)
    return float(slope), float(arrivals[0] + level - slope * index.mean())


def _unsteady(where: str) -> ReaderError:
    return ReaderError(
        "The time stamps are not those of a steady stream",
        where=where,
        expected="samples at one rate, each stamped when it was taken or a little later",
        fix="look at the time column: its unit may change, or rows of two recordings may be mixed",
    )
