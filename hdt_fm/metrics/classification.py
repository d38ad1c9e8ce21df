"""Scores of classes. One that does not exist (a single class, no weight) is NaN, never a made-up number."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hdt_fm.metrics._rows import rows


def auroc(score: ArrayLike, label: ArrayLike, *, weight: ArrayLike | None = None) -> float:
    """Chance that a positive row scores above a negative one; ties count one half.

    Args:
        score: Higher means more positive.
        label: 0 or 1 (or bool).
    """
    (scores, labels), weights = rows(score, label, weight=weight)
    _, where = np.unique(scores, return_inverse=True)
    positive = np.bincount(where, weights * (labels == 1))
    negative = np.bincount(where, weights * (labels != 1))
    total = positive.sum() * negative.sum()
    if total == 0:
        return float("nan")
    below = np.cumsum(negative) - negative
    return float((positive * (below + 0.5 * negative)).sum() / total)


def average_precision(score: ArrayLike, label: ArrayLike, *, weight: ArrayLike | None = None) -> float:
    """Precision averaged over the recall it brings, without interpolation; its chance level is the prevalence."""
    (scores, labels), weights = rows(score, label, weight=weight)
    _, where = np.unique(-scores.astype(float), return_inverse=True)
    hit = np.bincount(where, weights * (labels == 1))
    called = np.bincount(where, weights)
    if hit.sum() == 0:
        return float("nan")
    precision = np.cumsum(hit) / np.maximum(np.cumsum(called), np.finfo(float).tiny)
    return float((precision * hit).sum() / hit.sum())


def _confusion(predicted: NDArray, label: NDArray, weight: NDArray) -> NDArray:
    classes, numbers = np.unique(np.concatenate((label, predicted)), return_inverse=True)
    size = len(classes)
    true, called = np.split(numbers, 2)
    return np.bincount(true * size + called, weight, size * size).reshape(size, size)


def balanced_accuracy(predicted: ArrayLike, label: ArrayLike, *, weight: ArrayLike | None = None) -> float:
    """Mean recall over the classes that occur among the labels."""
    (calls, labels), weights = rows(predicted, label, weight=weight)
    table = _confusion(calls, labels, weights)
    support = table.sum(1)
    there = support > 0
    return float((np.diag(table)[there] / support[there]).mean()) if there.any() else float("nan")


def macro_f1(predicted: ArrayLike, label: ArrayLike, *, weight: ArrayLike | None = None) -> float:
    """Mean F1 over classes that occur among labels or predictions; 0 for a class never hit."""
    (calls, labels), weights = rows(predicted, label, weight=weight)
    table = _confusion(calls, labels, weights)
    size = table.sum(0) + table.sum(1)
    there = size > 0
    return float((2 * np.diag(table)[there] / size[there]).mean()) if there.any() else float("nan")


def ece(probability: ArrayLike, label: ArrayLike, *, bins: int = 15, weight: ArrayLike | None = None) -> float:
    """Expected calibration error over bins of equal width.

    Args:
        probability: (row,) of class 1, compared with how often it was class 1; or (row, class), where the
            probability of the top class is compared with how often it was right.
    """
    (chances, labels), weights = rows(probability, label, weight=weight)
    if chances.ndim == 2:
        right = chances.argmax(1) == labels
        chances = chances.max(1)
    else:
        right = labels == 1
    where = np.minimum((chances * bins).astype(int), bins - 1)
    gap = np.bincount(where, weights * (chances - right), bins)
    return float(np.abs(gap).sum() / weights.sum()) if weights.sum() > 0 else float("nan")
