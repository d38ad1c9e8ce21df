"""Intervals over people: windows of one person are not independent, so people are drawn, never windows."""

import inspect
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hdt_fm.schema.errors import ShapeError

Score = Callable[..., float]
LEVEL = 0.95


class Interval(NamedTuple):
    """A score on all rows and its 95 % percentile interval; NaN bounds where it cannot be said."""

    value: float
    low: float
    high: float


def subject_bootstrap(
    score: Score, subject: ArrayLike, *arrays: ArrayLike, draws: int = 1000, seed: int = 0
) -> Interval:
    """Score all rows, and again for `draws` sets of people drawn with replacement.

    Args:
        score: Called as `score(*arrays, weight=...)` if it has that argument (a person drawn twice weighs
            two), else on the repeated rows.
        subject: Who each row belongs to.

    Returns:
        Value and percentile interval. Draws where the score does not exist are left out; with one person, or
        when more than half of the draws fail, the bounds are NaN.

    Raises:
        ShapeError: If an array's length is not that of `subject`.
    """
    people, columns = _people(subject, arrays)
    value = float(score(*columns))
    counts = _drawn_counts(people, draws, seed)
    return _interval(value, _scores(score, people, columns, counts), counts.shape[1])


def paired_difference(
    score: Score,
    subject: ArrayLike,
    first: Sequence[ArrayLike],
    second: Sequence[ArrayLike],
    *,
    draws: int = 1000,
    seed: int = 0,
) -> Interval:
    """score(*first) - score(*second), both on the same people in every draw; rows belong together one by one."""
    people, columns = _people(subject, (*first, *second))
    ones, others = columns[: len(first)], columns[len(first) :]
    counts = _drawn_counts(people, draws, seed)
    value = float(score(*ones)) - float(score(*others))
    differences = _scores(score, people, ones, counts) - _scores(score, people, others, counts)
    return _interval(value, differences, counts.shape[1])


def _people(subject: ArrayLike, arrays: Sequence[ArrayLike]) -> tuple[NDArray, list[NDArray]]:
    _, people = np.unique(np.asarray(subject), return_inverse=True)
    columns = [np.asarray(array) for array in arrays]
    lengths = [len(people), *(len(column) for column in columns)]
    if len(set(lengths)) != 1 or not lengths[0]:
        raise ShapeError("The bootstrap got arrays that do not fit", expected="equal lengths", got=str(lengths))
    return people, columns


def _drawn_counts(people: NDArray, draws: int, seed: int) -> NDArray:
    """How often each person is in each draw, (draw, person)."""
    number = int(people.max()) + 1
    chosen = np.random.default_rng(seed).integers(0, number, (draws, number))
    flat = chosen + number * np.arange(draws)[:, None]
    return np.bincount(flat.ravel(), minlength=draws * number).reshape(draws, number)


def _scores(score: Score, people: NDArray, columns: Sequence[NDArray], counts: NDArray) -> NDArray:
    takes_weight = "weight" in inspect.signature(score).parameters
    scores = np.empty(len(counts))
    for draw, count in enumerate(counts):
        weight = count[people]
        if takes_weight:
            scores[draw] = score(*columns, weight=weight)
        else:
            index = np.repeat(np.arange(len(people)), weight)
            scores[draw] = score(*(column[index] for column in columns))
    return scores


def _interval(value: float, scores: NDArray, people: int) -> Interval:
    there = scores[np.isfinite(scores)]
    if people < 2 or not len(there) or len(there) * 2 < len(scores):
        return Interval(value, float("nan"), float("nan"))
    low, high = np.percentile(there, [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
    return Interval(value, float(low), float(high))
