"""Amounts over intervals (steps, energy, doses over time) -> sums in the cells of a grid."""

import numpy as np
from numpy.typing import NDArray

from hdt_fm.schema.errors import ReaderError
from hdt_fm.schema.recording import NS_PER_S

# Sources past these share the last rank, so that a file of a thousand names cannot ask for a thousand grids.
_MAX_RANKS = 32
_LONGEST_NS = 36 * 3600 * NS_PER_S
_MAX_ODD = 0.01


def clean(
    begins: NDArray[np.int64],
    ends: NDArray[np.int64],
    amounts: NDArray[np.float64],
    ranks: NDArray[np.integer] | None,
    where: str,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """Intervals in order of time, without exact repeats; a few odd ones are left out.

    Raises:
        ReaderError: If there is none, or one in a hundred ends before it begins or lasts over 36 hours.
    """
    ranks = np.zeros(len(begins), dtype=np.int64) if ranks is None else np.minimum(ranks.astype(np.int64), _MAX_RANKS)
    odd = (ends < begins) | (ends - begins > _LONGEST_NS) | ~np.isfinite(amounts) | (amounts < 0)
    if len(begins) == 0 or odd.sum() > max(_MAX_ODD * len(odd), 1):
        raise ReaderError(
            "Intervals are missing, or do not make sense",
            where=where,
            expected="intervals of at most 36 hours with an amount of 0 or more, each ending after it begins",
            got=f"{int(odd.sum())} of {len(odd)} other",
            fix="export the file again",
        )
    order = np.flatnonzero(~odd)
    if (np.diff(begins[order]) < 0).any():
        order = order[np.argsort(begins[order], kind="stable")]
    columns = begins[order], ends[order], amounts[order], ranks[order]
    repeat = np.zeros(len(order), dtype=np.bool_)
    if len(order) > 1:
        repeat[1:] = np.logical_and.reduce([column[1:] == column[:-1] for column in columns])
    if len(order) == 0:
        raise ReaderError("There is no interval that makes sense", where=where, fix="export the file again")
    return tuple(column[~repeat] for column in columns)  # type: ignore[return-value]


def over_cells(
    begins: NDArray[np.int64], ends: NDArray[np.int64], amounts: NDArray[np.float64], step_ns: int, size: int
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Each interval's amount spread evenly over its time, summed in each cell; and which cells are touched.

    Begins and ends are counted in nanoseconds from the first cell's begin.
    """
    first, last = begins // step_ns, np.maximum(ends - 1, begins) // step_ns
    within = first == last
    sums = np.bincount(first[within], weights=amounts[within], minlength=size).astype(np.float64)
    touched = np.bincount(first[within], minlength=size) > 0
    if within.all():
        return sums, touched
    a, b, begins, ends = first[~within], last[~within], begins[~within], ends[~within]
    rate = amounts[~within] / (ends - begins)
    sums += np.bincount(a, weights=rate * ((a + 1) * step_ns - begins), minlength=size)
    sums += np.bincount(b, weights=rate * (ends - b * step_ns), minlength=size)
    # Whole cells in between, as steps up and down of a running sum.
    inner = np.zeros(size + 1)
    np.add.at(inner, a + 1, rate * step_ns)
    np.add.at(inner, b, -rate * step_ns)
    count = np.bincount(a, minlength=size + 1) - np.bincount(b + 1, minlength=size + 1)[: size + 1]
    sums += np.maximum(np.cumsum(inner)[:size], 0)
    return sums, touched | (np.cumsum(count)[:size] > 0)
