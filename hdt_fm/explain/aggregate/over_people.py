"""Means over people with intervals: windows, then people; windows alone where there is one person."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hdt_fm.explain.cohort.cells import MINIMUM_CELL
from hdt_fm.metrics.bootstrap import LEVEL


@dataclass(frozen=True)
class Mean:
    """A mean of each entry and its 95 % interval; NaN where nobody has a value, NaN bounds with fewer than two.

    Attributes:
        count: How many people (or windows of one person) have a value.
    """

    value: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    count: NDArray[np.int64]


def of_units(
    rows: NDArray[np.floating], subject: NDArray[np.integer]
) -> tuple[NDArray[np.float64], Literal["people", "windows"]]:
    """What is drawn again for an interval: (person, ...) means of their windows, or the windows of a lone person."""
    people = np.unique(subject)
    if len(people) == 1:
        return rows.astype(np.float64), "windows"
    return np.stack([nan_mean(rows[subject == who]) for who in people]), "people"


def nan_mean(rows: NDArray[np.floating]) -> NDArray[np.float64]:
    """Mean over the first axis of what is known; NaN where nothing is, without a warning."""
    known = np.isfinite(rows)
    count = known.sum(0)
    total = np.where(known, rows, 0.0).sum(0, dtype=np.float64)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)


def mean_over(units: NDArray[np.floating], *, draws: int = 1000, seed: int = 0) -> Mean:
    """Mean over the first axis with a percentile interval over units drawn with replacement.

    The draws are those of `subject_bootstrap` with one row a person; here all entries share them, at one product of
    matrices.
    """
    size = len(units)
    flat = units.reshape(size, -1).astype(np.float64)
    known = np.isfinite(flat)
    filled = np.where(known, flat, 0.0)
    value = nan_mean(flat)
    low, high = np.full_like(value, np.nan), np.full_like(value, np.nan)
    if size >= 2:
        chosen = np.random.default_rng(seed).integers(0, size, (draws, size))
        places = (chosen + size * np.arange(draws)[:, None]).ravel()
        times = np.bincount(places, minlength=draws * size).reshape(draws, size).astype(np.float64)
        total, count = times @ filled, times @ known
        means = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
        enough = known.sum(0) >= 2
        if enough.any():
            ends = [50 * (1 - LEVEL), 50 * (1 + LEVEL)]
            low[enough], high[enough] = np.nanpercentile(means[:, enough], ends, axis=0)
    shape = units.shape[1:]
    return Mean(value.reshape(shape), low.reshape(shape), high.reshape(shape), known.sum(0).reshape(shape))


def shown(units: int, over: Literal["people", "windows"]) -> bool:
    """Whether numbers of so many may be shown: a lone person's own report, or a cohort of enough people."""
    return units > 0 and (over == "windows" or units >= MINIMUM_CELL)
