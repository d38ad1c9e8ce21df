"""Scores as functions of how often each person counts, so that a thousand resamples cost milliseconds.

A score keeps sums per person (or per pair of people) and combines them for any counts: all ones is
the score itself, a multinomial draw is one bootstrap resample of people. The same draws serve every
model, so differences between models are paired.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

Counts = Float[np.ndarray, "draw person"]
PIECE = 2_000_000


@dataclass(frozen=True)
class Score:
    """A score over people.

    Attributes:
        over: Counts (draw, person) -> value of each draw; NaN where a draw cannot be scored.
        people: How many people the score rests on.
    """

    over: Callable[[np.ndarray], np.ndarray]
    people: int


def people_draws(people: int, *, draws: int, seed: int) -> Counts:
    """First row all ones (the sample itself), then `draws` resamples of people with replacement."""
    even = np.full(people, 1.0 / people)
    resamples = np.random.default_rng(seed).multinomial(people, even, size=draws)
    return np.concatenate([np.ones((1, people)), resamples.astype(np.float64)])


def interval(values: Float[np.ndarray, " draw"]) -> tuple[float | None, float | None]:
    """95 % percentile interval of the draws after the first; None when fewer than half of them could be scored."""
    known = values[1:][np.isfinite(values[1:])]
    if not len(known) or len(known) * 2 < len(values) - 1:
        return None, None
    low, high = np.quantile(known, [0.025, 0.975])
    return float(low), float(high)


def mean_of_people(value: Float[np.ndarray, " person"]) -> Score:
    """Mean of one value a person; people with NaN do not count."""
    known = np.isfinite(value)
    filled = np.where(known, value, 0.0)
    return Score(lambda counts: _ratio(counts @ filled, counts @ known.astype(np.float64)), int(known.sum()))


def ratio_of_sums(top: Float[np.ndarray, " person"], bottom: Float[np.ndarray, " person"]) -> Score:
    """A sum over people divided by another, e.g. hits by queries."""
    return Score(lambda counts: _ratio(counts @ top, counts @ bottom), int((bottom > 0).sum()))


def auroc(
    scores: Float[np.ndarray, "row class"],
    labels: Int[np.ndarray, " row"],
    person: Int[np.ndarray, " row"],
    *,
    within_person: bool = False,
) -> Score:
    """Area under the ROC curve; more than two classes: mean of one against the rest. Ties count half.

    Args:
        scores: Higher means more likely; for two classes the second column is used.
        person: 0 .. people-1.
        within_person: Mean of each person's own area (people with both classes) in place of the pooled one.
    """
    people = int(person.max()) + 1
    tables = [_concordance(scores[:, c], labels == c, person, people) for c in _positive_classes(scores)]
    if within_person:
        own = [_ratio(np.diagonal(table), positives * negatives) for table, positives, negatives in tables]
        return mean_of_people(_mean_known(np.stack(own)))

    def over(counts: np.ndarray) -> np.ndarray:
        areas = [
            _ratio(((counts @ table) * counts).sum(axis=1), (counts @ positives) * (counts @ negatives))
            for table, positives, negatives in tables
        ]
        return _mean_known(np.stack(areas))

    return Score(over, len(np.unique(person)))


def balanced_accuracy(
    scores: Float[np.ndarray, "row class"], labels: Int[np.ndarray, " row"], person: Int[np.ndarray, " row"]
) -> Score:
    """Mean over classes of the share of their windows that got the highest score; the first class on a tie."""
    shape = (int(person.max()) + 1, scores.shape[1])
    right, total = np.zeros(shape), np.zeros(shape)
    np.add.at(total, (person, labels), 1.0)
    np.add.at(right, (person, labels), (scores.argmax(axis=1) == labels).astype(np.float64))
    return Score(
        lambda counts: _mean_known(_ratio(counts @ right, counts @ total).T),
        len(np.unique(person)),
    )


def accuracy(
    scores: Float[np.ndarray, "row class"], labels: Int[np.ndarray, " row"], person: Int[np.ndarray, " row"]
) -> Score:
    """Share of windows whose class got the highest score; the first class on a tie."""
    right = np.bincount(person, weights=scores.argmax(axis=1) == labels, minlength=int(person.max()) + 1)
    return ratio_of_sums(right, np.bincount(person, minlength=len(right)).astype(np.float64))


def macro_f1(
    scores: Float[np.ndarray, "row class"], labels: Int[np.ndarray, " row"], person: Int[np.ndarray, " row"]
) -> Score:
    """Mean over classes of 2 hits / (asked + answered); a class that is neither asked nor answered does not count."""
    shape = (int(person.max()) + 1, scores.shape[1])
    answers = scores.argmax(axis=1)
    hits, sizes = np.zeros(shape), np.zeros(shape)
    np.add.at(hits, (person, labels), (answers == labels).astype(np.float64))
    np.add.at(sizes, (person, labels), 1.0)
    np.add.at(sizes, (person, answers), 1.0)
    return Score(lambda counts: _mean_known(_ratio(2 * (counts @ hits), counts @ sizes).T), len(np.unique(person)))


def average_precision(
    scores: Float[np.ndarray, "row class"], labels: Int[np.ndarray, " row"], person: Int[np.ndarray, " row"]
) -> Score:
    """Step-wise area under precision-recall, thresholds at distinct scores; several classes: their mean."""

    def over(counts: np.ndarray) -> np.ndarray:
        classes = _positive_classes(scores)
        return _mean_known(np.stack([_precision_area(scores[:, c], labels == c, person, counts) for c in classes]))

    return Score(over, len(np.unique(person)))


def median(value: Float[np.ndarray, " row"], person: Int[np.ndarray, " row"]) -> Score:
    """Median over rows: the smallest value at which half of the (counted) rows are reached."""
    order = np.argsort(value, kind="stable")

    def over(counts: np.ndarray) -> np.ndarray:
        pieces = []
        for piece in _pieces(counts, len(value)):
            reached = np.cumsum(piece[:, person[order]], axis=1)
            pieces.append(value[order][(reached >= reached[:, -1:] / 2).argmax(axis=1)])
        return np.concatenate(pieces)

    return Score(over, len(np.unique(person)))


def person_means(value: Float[np.ndarray, " row"], person: Int[np.ndarray, " row"]) -> Float[np.ndarray, " person"]:
    """Mean of each person's known rows; NaN for a person without one."""
    people, known = int(person.max()) + 1, np.isfinite(value)
    total = np.bincount(person[known], weights=value[known], minlength=people)
    return _ratio(total, np.bincount(person[known], minlength=people).astype(np.float64))


def _positive_classes(scores: Float[np.ndarray, "row class"]) -> range:
    return range(1, 2) if scores.shape[1] == 2 else range(scores.shape[1])


def _concordance(
    score: np.ndarray, positive: np.ndarray, person: np.ndarray, people: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ordered pairs (positive of person s, negative of person t) ranked right, and each person's class sizes."""
    table = np.zeros((people, people))
    for other in range(people):
        below = np.sort(score[~positive & (person == other)])
        left, right = (np.searchsorted(below, score[positive], side=side) for side in ("left", "right"))
        table[:, other] = np.bincount(person[positive], weights=(left + right) / 2, minlength=people)
    sizes = [np.bincount(person[which], minlength=people).astype(np.float64) for which in (positive, ~positive)]
    return table, sizes[0], sizes[1]


def _precision_area(score: np.ndarray, positive: np.ndarray, person: np.ndarray, counts: np.ndarray) -> np.ndarray:
    order = np.argsort(-score, kind="stable")
    last_of_equals = np.append(np.diff(score[order]) != 0, True)
    areas = []
    for piece in _pieces(counts, len(score)):
        weight = piece[:, person[order]]
        found = np.cumsum(weight * positive[order], axis=1)[:, last_of_equals]
        precision = _ratio(found, np.cumsum(weight, axis=1)[:, last_of_equals])
        gained = np.diff(found, axis=1, prepend=0.0)
        areas.append(_ratio(np.nansum(gained * precision, axis=1), found[:, -1]))
    return np.concatenate(areas)


def _pieces(counts: np.ndarray, rows: int) -> Iterator[np.ndarray]:
    """Draws in pieces that keep (draw, row) tables small."""
    step = max(1, PIECE // max(rows, 1))
    return (counts[start : start + step] for start in range(0, len(counts), step))


def _ratio(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    return np.where(bottom > 0, top / np.where(bottom > 0, bottom, 1.0), np.nan)


def _mean_known(values: np.ndarray) -> np.ndarray:
    """Mean over the first axis of what is not NaN; NaN where nothing is."""
    known = np.isfinite(values)
    return _ratio(np.where(known, values, 0.0).sum(axis=0), known.sum(axis=0).astype(np.float64))
