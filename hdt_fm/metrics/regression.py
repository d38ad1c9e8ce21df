"""Scores of values, in the target's unit where they have one."""

import numpy as np
from numpy.typing import ArrayLike

from hdt_fm.metrics._rows import rows


def _mean(values: np.ndarray, weight: np.ndarray) -> float:
    return float((values * weight).sum() / weight.sum()) if weight.sum() > 0 else float("nan")


def mae(predicted: ArrayLike, target: ArrayLike, *, weight: ArrayLike | None = None) -> float:
    """Mean absolute error."""
    (calls, targets), weights = rows(predicted, target, weight=weight)
    return _mean(np.abs(calls - targets), weights)


def rmse(predicted: ArrayLike, target: ArrayLike, *, weight: ArrayLike | None = None) -> float:
    """Root of the mean squared error."""
    (calls, targets), weights = rows(predicted, target, weight=weight)
    return float(np.sqrt(_mean((calls - targets) ** 2, weights)))


def r2(predicted: ArrayLike, target: ArrayLike, *, weight: ArrayLike | None = None) -> float:
    """1 - squared error / variance of these targets; NaN when they are constant."""
    (calls, targets), weights = rows(predicted, target, weight=weight)
    spread = _mean((targets - _mean(targets, weights)) ** 2, weights)
    return 1 - _mean((calls - targets) ** 2, weights) / spread if spread > 0 else float("nan")


def pearson(predicted: ArrayLike, target: ArrayLike, *, weight: ArrayLike | None = None) -> float:
    """Linear correlation; NaN when one side is constant."""
    (calls, targets), weights = rows(predicted, target, weight=weight)
    x, y = calls - _mean(calls, weights), targets - _mean(targets, weights)
    spread = _mean(x**2, weights) * _mean(y**2, weights)
    return _mean(x * y, weights) / float(np.sqrt(spread)) if spread > 0 else float("nan")
