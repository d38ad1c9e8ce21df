"""How well scores tell members from others, over people; and what so few people cannot show."""

from math import floor

import numpy as np
from jaxtyping import Bool, Float, Int

from hdt_fm.evaluation.people import Score, auroc

# Room for sums of shares such as 3 * (1 / 3).
ROUNDING = 1e-9


def area(
    scores: Float[np.ndarray, " pair"],
    member: Bool[np.ndarray, " pair"],
    person: Int[np.ndarray, " pair"],
    target: Int[np.ndarray, " pair"],
) -> Score:
    """Area under the ROC curve of each target model's people, and its mean over the targets; people are drawn again.

    Pairs of other targets are not compared: who is in one target is known to the references of another, so that even
    scores that say nothing would not be at one half.
    """
    parts = []
    for one in np.unique(target):
        own = target == one
        parts.append(auroc(np.stack([-scores[own], scores[own]], axis=1), member[own].astype(np.int64), person[own]))

    def over(counts: np.ndarray) -> np.ndarray:
        areas = np.stack(
            [
                part.over(counts[:, : int(person[target == one].max()) + 1])
                for part, one in zip(parts, np.unique(target), strict=True)
            ]
        )
        known = np.isfinite(areas)
        total = np.where(known, areas, 0.0).sum(axis=0)
        return np.where(known.any(axis=0), total / np.maximum(known.sum(axis=0), 1), np.nan)

    return Score(over, len(np.unique(person)))


def caught_at(
    scores: Float[np.ndarray, " pair"],
    member: Bool[np.ndarray, " pair"],
    person: Int[np.ndarray, " pair"],
    *,
    false_share: float,
) -> Score:
    """Share of members above the lowest threshold at which at most `false_share` of the others are above it."""
    order = np.argsort(-scores, kind="stable")
    values, own, whose = scores[order], member[order], person[order]
    last = np.append(np.diff(values) != 0, True)

    def over(counts: np.ndarray) -> np.ndarray:
        found = np.full(len(counts), np.nan)
        for draw, row in enumerate(counts):
            weight = row[whose]
            false, right = np.cumsum(np.where(own, 0.0, weight)), np.cumsum(np.where(own, weight, 0.0))
            if false[-1] > 0 and right[-1] > 0:
                allowed = false[last] <= false_share * false[-1] * (1 + ROUNDING) + ROUNDING
                found[draw] = max((right[last][allowed] / right[-1]).max(initial=0.0), 0.0)
        return found

    return Score(over, len(np.unique(person)))


def smallest_share(others: int) -> float:
    """The smallest share of false alarms above none that so many non-members can show."""
    return 1.0 / max(others, 1)


def resolvable(false_share: float, others: int) -> bool:
    """Whether one false alarm among the non-members is within the share."""
    return floor(false_share * others * (1 + ROUNDING) + ROUNDING) >= 1


def caught_by_chance(false_share: float, others: int) -> float:
    """What `caught_at` expects of scores that say nothing: a member stands above all but some of the others."""
    allowed = floor(false_share * others * (1 + ROUNDING) + ROUNDING)
    return min((allowed + 1) / (others + 1), 1.0)
