"""Samples with a time each -> a uniform grid on which a gap stays a gap."""

import math

import numpy as np
from numpy.typing import NDArray

from data_pipelines.readers._recordings import check_rate
from hdt_fm.schema.errors import ReaderError

# A wrong time stamp can lie centuries away; no recording is this many times longer than its samples.
_MAX_STRETCH = 200
_MIN_CAP = 1_000_000
_MAX_COLLISIONS = 0.01


def median_rate(times_s: NDArray[np.float64], *, where: str) -> float:
    """Rate from the median step between time stamps.

    Raises:
        ReaderError: If there are fewer than two samples, or the times do not rise.
    """
    if len(times_s) < 2:
        raise ReaderError("One sample does not make a rate", where=where, fix="give sampling_rate_hz in the mapping")
    steps = np.diff(times_s)
    if not np.isfinite(times_s).all() or (steps < 0).any():
        raise ReaderError(
            "The time column does not rise",
            where=where,
            expected="finite times in order",
            got=f"{int((~(steps >= 0)).sum())} step(s) backwards or missing",
            fix="sort the table by time; if the clock was set back, split the file there",
        )
    step = float(np.median(steps))
    rate = 1 / step if step > 0 else 0.0
    check_rate(rate, where=where)
    return rate


def place(times_s: NDArray[np.float64], values: NDArray[np.float64], rate: float, *, where: str) -> NDArray[np.float64]:
    """Put samples (time, column) at round((t - t0) * rate); NaN where there is none.

    Of samples that fall on one place the first stays; more than one in a hundred of those is an error.

    Raises:
        ReaderError: If the rate does not fit the times.
    """
    index = np.rint((times_s - times_s[0]) * rate).astype(np.int64)
    size = int(index[-1]) + 1
    first = np.concatenate([[True], np.diff(index) > 0])
    if (~first).sum() > _MAX_COLLISIONS * len(index) or size > max(_MAX_STRETCH * len(index), _MIN_CAP):
        raise ReaderError(
            "The sampling rate does not fit the time column",
            where=where,
            expected="about one sample every 1 / sampling_rate_hz seconds, apart from gaps",
            got=f"{len(index)} samples for {size} places",
            fix="correct sampling_rate_hz or the unit of the time column in the mapping",
        )
    if size == len(index) and first.all():
        return values
    placed = np.full((size, values.shape[1]), np.nan)
    placed[index[first]] = values[first]
    return placed


def place_nearest(
    times_s: NDArray[np.float64], values: NDArray[np.float64], *, where: str
) -> tuple[NDArray[np.float64], float]:
    """Samples (time, column) that come at whole seconds and not at one rate -> a grid, and its rate.

    The grid's period is the smallest one, in multiples of what divides all steps, that nine in ten steps fit into.
    A place takes the sample that is nearest to it, if one is nearer than half a period; others are dropped.

    Raises:
        ReaderError: If the times do not rise, or lie too far apart for so few samples.
    """
    steps = np.rint(np.diff(times_s)).astype(np.int64)
    if (steps < 0).any():
        raise ReaderError(
            "The times do not rise",
            where=where,
            got=f"{int((steps < 0).sum())} step(s) backwards",
            fix="if the clock was set back, split the file there",
        )
    steps = steps[steps > 0]
    unit = max(int(np.gcd.reduce(steps)), 1) if len(steps) else 1
    most = float(np.quantile(steps, 0.9, method="lower")) if len(steps) else 1.0
    period = unit * max(1, math.ceil(most / unit))
    exact = (times_s - times_s[0]) / period
    index = np.rint(exact).astype(np.int64)
    size = int(index[-1]) + 1
    if size > max(_MAX_STRETCH * len(index), _MIN_CAP):
        raise ReaderError(
            "Some times lie too far from the others",
            where=where,
            got=f"{len(index)} samples for {size} places",
            fix="the device's clock was wrong for a while; split the file there",
        )
    placed = np.full((size, values.shape[1]), np.nan)
    # The nearest is written last, so that it stays; of two at one distance, the earlier.
    order = np.lexsort((-np.arange(len(index)), -np.abs(exact - index)))
    placed[index[order]] = values[order]
    return placed, 1 / period
