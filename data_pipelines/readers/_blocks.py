"""Blocks of samples with one time stamp each -> one grid, at the rate that the device really had."""

import logging
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from data_pipelines.readers._recordings import check_rate
from hdt_fm.schema.errors import ReaderError

_log = logging.getLogger(__name__)
# A step between two stamps that differs by more from what the nominal rate says spans a gap, or a stamp is wrong.
_ODD_STEP = 0.1
# The stamps' own resolution must be below this share of the time that they span, or the nominal rate is the better one.
_FINE_ENOUGH = 0.005
# As in `_grid.py`: a stamp that lies centuries away must not fill the memory with nothing.
_MAX_STRETCH = 200
_MIN_CAP = 1_000_000
_LOOK_AHEAD = 4096


@dataclass(frozen=True)
class Clock:
    """What the stamps of a file say of its device's clock; nothing of it is a time of the recording.

    Attributes:
        nominal_rate_hz: What the device was set to.
        measured_rate_hz: What it did, by its own clock.
        worst_s: Furthest that a block lies from where its stamp says.
        corrections: Places where the grid was set anew: gaps, and drift of the rate beyond the tolerance.
        blocks: Blocks read.
        lost_blocks: Blocks that were left out as damaged or cut off.
    """

    nominal_rate_hz: float
    measured_rate_hz: float
    worst_s: float
    corrections: int
    blocks: int
    lost_blocks: int

    @property
    def drift_ppm(self) -> float:
        """Measured against nominal rate, in parts per million."""
        return (self.measured_rate_hz / self.nominal_rate_hz - 1) * 1e6


@dataclass(frozen=True)
class Grid:
    """Where each block's samples belong.

    Attributes:
        start_s: Time of place 0, in the clock of the stamps.
        counts: Samples of each block.
        first: Place of each block's first sample.
        size: Number of places.
    """

    start_s: float
    clock: Clock
    counts: NDArray[np.int64]
    first: NDArray[np.int64]

    @property
    def size(self) -> int:
        return int(self.first[-1] + self.counts[-1])


def lay(
    counts: NDArray[np.int64],
    stamps_s: NDArray[np.float64],
    anchors: NDArray[np.int64] | None = None,
    *,
    nominal_rate_hz: float,
    resolution_s: float,
    tolerance_s: float,
    lost_blocks: int = 0,
    where: str,
) -> Grid:
    """Lay blocks on a grid of the measured rate.

    Blocks follow each other without a break while their stamps stay within the tolerance of their places; else
    the grid is set anew at that block, which leaves a gap or, where the device ran fast, drops a few samples. One
    stamp that disagrees with the ones before and after it is not believed.

    Args:
        counts: Samples of each block, all above 0.
        stamps_s: A time of each block.
        anchors: The sample within the block that the time belongs to; the first one if None.
        nominal_rate_hz: What the device was set to.
        resolution_s: Finest step of the stamps.
        tolerance_s: Furthest that a sample may lie from its stamp.
        lost_blocks: For the report.
        where: For errors.

    Raises:
        ReaderError: If there is no block, the stamps do not fit the rate, or they go back in time.
    """
    check_rate(nominal_rate_hz, where=where)
    if len(counts) == 0:
        raise ReaderError(
            "The file holds no whole block of samples", where=where, fix="copy the file again, or leave it out"
        )
    begins = np.concatenate([[0], np.cumsum(counts[:-1])])
    numbers = begins if anchors is None else begins + anchors
    rate = _measured_rate(numbers, stamps_s, nominal_rate_hz, resolution_s, where)
    ahead = _without_single_errors((stamps_s - stamps_s[0]) * rate - numbers, tolerance_s * rate)
    starts = _pieces(ahead, tolerance_s * rate)
    stops = [*starts[1:], len(counts)]
    levels = [_level(ahead[start:stop], tolerance_s * rate) for start, stop in zip(starts, stops, strict=True)]
    shifts = np.repeat(np.rint(np.array(levels) - levels[0]).astype(np.int64), np.subtract(stops, starts))
    first = begins + shifts
    _refuse_broken_clock(first, counts, 2 * tolerance_s * rate + 1, where)
    clock = Clock(
        nominal_rate_hz=nominal_rate_hz,
        measured_rate_hz=rate,
        worst_s=float(np.abs(ahead - levels[0] - shifts).max()) / rate,
        corrections=len(starts) - 1,
        blocks=len(counts),
        lost_blocks=lost_blocks,
    )
    if clock.lost_blocks or clock.corrections:
        _log.warning(
            "%s: %d of %d blocks lost, grid set anew at %d places, rate %+.0f ppm from nominal",
            *(where, lost_blocks, lost_blocks + len(counts), clock.corrections, clock.drift_ppm),
        )
    return Grid(float(stamps_s[0] + levels[0] / rate), clock, counts, first)


def spread(samples: NDArray[np.floating], grid: Grid) -> NDArray[np.floating]:
    """Samples (channel, sample) of all blocks -> (channel, place), NaN where there is none.

    Of two samples at one place the first stays.
    """
    if grid.size == samples.shape[1] and grid.clock.corrections == 0:
        return samples
    placed = np.full((samples.shape[0], grid.size), np.nan, dtype=samples.dtype)
    begins = np.concatenate([[0], np.cumsum(grid.counts)])
    shifts = grid.first - begins[:-1]
    starts = np.concatenate([[0], np.flatnonzero(np.diff(shifts)) + 1, [len(shifts)]])
    cursor = 0
    for start, stop in pairwise(starts.tolist()):
        shift = int(shifts[start])
        begin, end = max(cursor, int(begins[start]) + shift), int(begins[stop]) + shift
        if begin < end:
            placed[:, begin:end] = samples[:, begin - shift : end - shift]
            cursor = end
    return placed


def once_a_block(values: NDArray[np.floating], grid: Grid) -> tuple[NDArray[np.float64], float]:
    """One value of each block -> uniform samples (1, time) at one a full block, and their rate; NaN in gaps."""
    per_block = int(grid.counts.max())
    place = np.rint(grid.first / per_block).astype(np.int64)
    placed = np.full((1, int(place[-1]) + 1), np.nan)
    # Backwards, so that of two values at one place the first stays.
    placed[0, place[::-1]] = values[::-1]
    return placed, grid.clock.measured_rate_hz / per_block


def _measured_rate(
    numbers: NDArray[np.int64], stamps_s: NDArray[np.float64], nominal: float, resolution_s: float, where: str
) -> float:
    """Of the steps that are as long as they should be: gaps do not count, and jitter hardly does."""
    samples, seconds = np.diff(numbers), np.diff(stamps_s)
    expected = samples / nominal
    even = (samples > 0) & (np.abs(seconds - expected) <= _ODD_STEP * expected + 2 * resolution_s)
    if len(even) > 3 and even.mean() < 0.5:
        raise ReaderError(
            "The time stamps do not fit the sampling rate",
            where=where,
            expected=f"most blocks as far apart as {nominal:g} Hz says, within {_ODD_STEP:.0%}",
            got=f"{int(even.sum())} of {len(even)} steps",
            fix="the file is damaged or was put together from several; copy it from the device again",
        )
    if seconds[even].sum() * _FINE_ENOUGH < resolution_s:
        return nominal
    return float(1 / _slope(np.cumsum(samples[even]), np.cumsum(seconds[even])))


def _slope(x: NDArray[np.int64], y: NDArray[np.float64]) -> float:
    """Median of the slopes between points half of the record apart."""
    x, y = np.concatenate([[0], x]), np.concatenate([[0.0], y])
    half = len(x) // 2
    return float(np.median((y[half:] - y[:-half]) / (x[half:] - x[:-half])))


def _without_single_errors(ahead: NDArray[np.float64], reach: float) -> NDArray[np.float64]:
    mended = ahead.copy()
    before, here, after = ahead[:-2], ahead[1:-1], ahead[2:]
    alone = (np.abs(here - before) > reach) & (np.abs(after - before) <= reach)
    mended[1:-1][alone] = before[alone]
    return mended


def _pieces(ahead: NDArray[np.float64], reach: float) -> list[int]:
    """Where the places must be set anew: the first block, and each that is beyond reach of the piece before."""
    starts, position = [0], 1
    while position < len(ahead):
        stop = position + _LOOK_AHEAD
        away = np.flatnonzero(np.abs(ahead[position:stop] - ahead[starts[-1]]) > reach)
        if len(away):
            starts.append(position + int(away[0]))
        position = starts[-1] + 1 if len(away) else stop
    return starts


def _level(ahead: NDArray[np.float64], reach: float) -> float:
    """One shift for a piece: its median, or the middle of its range where some of it would be beyond reach."""
    middle = float(np.median(ahead))
    low, high = float(ahead.min()), float(ahead.max())
    return middle if max(high - middle, middle - low) <= reach else (low + high) / 2


def _refuse_broken_clock(first: NDArray[np.int64], counts: NDArray[np.int64], overlap: float, where: str) -> None:
    back = (first[1:] < first[:-1] + counts[:-1] - overlap).sum()
    if back:
        raise ReaderError(
            "The blocks are not in order of time",
            where=where,
            expected="time stamps that rise",
            got=f"{int(back)} step(s) back",
            fix="if the device's clock was set back, split the file there; else copy it from the device again",
        )
    size = int(first[-1] + counts[-1])
    if size > max(_MAX_STRETCH * int(counts.sum()), _MIN_CAP):
        raise ReaderError(
            "The time stamps lie too far apart for what was recorded",
            where=where,
            expected=f"gaps of at most {_MAX_STRETCH} times the recording",
            fix="a time stamp is damaged; copy the file from the device again",
        )
