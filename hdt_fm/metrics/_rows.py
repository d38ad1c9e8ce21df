"""Checks that every score makes of its rows."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hdt_fm.schema.errors import ShapeError


def rows(*arrays: ArrayLike, weight: ArrayLike | None = None) -> tuple[list[NDArray], NDArray]:
    """Arrays of equal length without NaN, and their weights (ones when None).

    Raises:
        ShapeError: If lengths differ, there is no row, a value is not finite, or a weight is negative.
    """
    kept = [np.asarray(array) for array in arrays]
    weights = np.ones(len(kept[0])) if weight is None else np.asarray(weight, dtype=float)
    lengths = [len(array) for array in (*kept, weights)]
    if len(set(lengths)) != 1 or lengths[0] == 0:
        raise ShapeError("A score got arrays that do not fit", expected="equal lengths of at least 1", got=str(lengths))
    for array in kept:
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ShapeError(
                "A score got values that are not finite",
                expected="finite values",
                fix="drop rows without a label first",
            )
    if not (weights >= 0).all():
        raise ShapeError("A score got weights that are not usable", expected="weights of at least 0")
    return kept, weights
