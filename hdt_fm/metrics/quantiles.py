"""Scores of quantile forecasts. The last axis of a prediction is the quantile."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hdt_fm.metrics._rows import rows
from hdt_fm.schema.errors import ShapeError

Levels = Sequence[float] | NDArray


def pinball_each(predicted: ArrayLike, target: ArrayLike, quantiles: Levels) -> NDArray:
    """Pinball loss of every entry and quantile, in the target's unit.

    Raises:
        ShapeError: If `predicted` is not the target's shape with one more axis for the quantiles.
    """
    (calls, targets), _ = rows(predicted, target)
    levels = np.asarray(quantiles, dtype=float)
    if calls.shape != (*targets.shape, len(levels)):
        raise ShapeError(
            "Quantiles do not fit the target", expected=str((*targets.shape, len(levels))), got=str(calls.shape)
        )
    under = targets[..., None] - calls
    return np.maximum(levels * under, (levels - 1) * under)


def _by_row(values: NDArray, weight: ArrayLike | None) -> float:
    (means,), weights = rows(values.reshape(len(values), -1).mean(1), weight=weight)
    return float((means * weights).sum() / weights.sum()) if weights.sum() > 0 else float("nan")


def pinball(predicted: ArrayLike, target: ArrayLike, quantiles: Levels, *, weight: ArrayLike | None = None) -> float:
    """Mean pinball loss over entries and quantiles; half the absolute error for the median alone."""
    return _by_row(pinball_each(predicted, target, quantiles), weight)


def wql(predicted: ArrayLike, target: ArrayLike, quantiles: Levels, *, weight: ArrayLike | None = None) -> float:
    """Weighted quantile loss: twice the mean pinball loss over the mean absolute target; no unit.

    Source: Salinas et al. 2020 (DeepAR), normalised sum of quantile losses, averaged over levels.
    """
    size = _by_row(np.abs(np.asarray(target, dtype=float)), weight)
    return 2 * pinball(predicted, target, quantiles, weight=weight) / size if size > 0 else float("nan")


def crps(predicted: ArrayLike, target: ArrayLike, quantiles: Levels, *, weight: ArrayLike | None = None) -> float:
    """Continuous ranked probability score from the quantiles: twice the mean pinball loss, in the target's unit.

    Exact in the limit of many evenly spaced levels (k - 1/2) / K; with few levels use it to compare
    forecasts at the same levels only.
    """
    return 2 * pinball(predicted, target, quantiles, weight=weight)


def coverage(low: ArrayLike, high: ArrayLike, target: ArrayLike, *, weight: ArrayLike | None = None) -> float:
    """Share of targets inside [low, high]; compare with the difference of the two levels."""
    (lows, highs, targets), _ = rows(low, high, target)
    return _by_row(((targets >= lows) & (targets <= highs)).astype(float), weight)


def width(low: ArrayLike, high: ArrayLike, *, weight: ArrayLike | None = None) -> float:
    """Mean width of intervals, in the target's unit; coverage without it can be bought."""
    (lows, highs), _ = rows(low, high)
    return _by_row(highs - lows, weight)
