"""The average effect of a treatment, each person's rows judged by models that never saw that person.

Binary: augmented inverse-probability weighting (Robins et al. 1994), cross-fitted by person (Chernozhukov et al. 2018).
Continuous: partialling-out, the slope of what is left of the outcome on what is left of the treatment. Each person
counts once, however many rows they have, and the interval is over people.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.special import stdtrit

from hdt_fm.explain.causal.design import FOLDS, Design
from hdt_fm.explain.causal.nuisance import expit, logistic, predicted, ridge
from hdt_fm.explain.causal.observed import Observed, mean_by_person

LEVEL = 0.95
# Of the chance of being treated: past it a row would weigh as much as a hundred others.
CLIP = 0.01


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """An estimate with what it rests on.

    Attributes:
        value: In the outcome's unit; for a continuous treatment per unit of it. NaN where it cannot be made.
        error: Standard error over people.
        expected: Of each row, the chance of being treated or the treatment that is expected, by others' rows.
        arms: Of each person the mean outcome had all been treated, and none; empty for a continuous treatment.
    """

    value: float
    error: float
    expected: Float[np.ndarray, " row"]
    arms: Float[np.ndarray, "arm person"]


@dataclass(frozen=True, kw_only=True)
class Effect:
    """What is told of an estimate.

    Attributes:
        value, low, high: With a 95 % interval over people.
        naive: The plain difference, or slope, with nothing held fixed.
        standardised: The effect in SDs of the outcome (for a continuous treatment, by one SD of it).
        risk_ratio: Value, low and high where the outcome is 0 or 1 and the treatment binary; None otherwise.
    """

    value: float
    low: float
    high: float
    naive: float
    standardised: tuple[float, float, float]
    risk_ratio: tuple[float, float, float] | None
    people: int
    rows: int
    method: str


def estimate(design: Design, weight: Float[np.ndarray, " person"] | None = None) -> Estimate:
    """The effect by cross-fitting.

    Args:
        weight: How often each person counts; all once if None.
    """
    counts = np.ones(design.people) if weight is None else weight
    rows = counts[design.person]
    made = _weighted_arms if design.binary else _partialled_out
    top, bottom, expected, arms = made(design, rows)
    value = float((counts @ top) / (counts @ bottom))
    # The jackknife over people: by how much the value moves without a person.
    people, whole = counts.sum(), counts @ bottom
    moved = (top - value * bottom) / (whole - bottom)
    error = float(np.sqrt((people - 1) / people * (counts @ np.square(moved))))
    return Estimate(value=value, error=error, expected=expected, arms=arms)


def told(design: Design, some: Observed, found: Estimate, *, widen: float = 1.0) -> Effect:
    """With its interval, beside the naive number.

    Args:
        widen: Factor of intervals, where few rows can be compared.
    """
    half = widen * critical(design.people) * found.error
    value, low, high = found.value, found.value - half, found.value + half
    scale = (1.0 if design.binary else design.treatment_sd) / design.outcome_sd
    held = "augmented inverse-probability weighting" if design.binary else "partialling-out"
    return Effect(
        value=value,
        low=low,
        high=high,
        naive=naive(some),
        standardised=(value * scale, low * scale, high * scale),
        risk_ratio=_risk_ratio(some, found, widen),
        people=design.people,
        rows=len(design.outcome),
        method=f"{held}, cross-fitted by person, {'within' if design.within else 'between and within'} people",
    )


def naive(some: Observed) -> float:
    """Mean of treated rows less that of the others, or the slope; nothing is held fixed."""
    off = some.treatment - some.treatment.mean()
    return float(off @ some.outcome / (off @ off))


def critical(people: int, level: float = LEVEL) -> float:
    """Errors to each side of a value that an interval over so many people spans (Student's t)."""
    return float(stdtrit(max(people - 1, 1), (1 + level) / 2))


def _weighted_arms(design: Design, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    treated = design.treatment
    with_usual = np.column_stack([design.features, design.usual]) if design.within else design.features
    chance, arms = np.empty(len(treated)), np.empty((2, len(treated)))
    for fold in range(FOLDS):
        asked = design.fold == fold
        learned = ~asked & (rows > 0)
        if not all((treated[learned] == arm).any() for arm in (0, 1)):
            return _nothing(design)
        odds = logistic(with_usual[learned], treated[learned], rows[learned])
        chance[asked] = np.clip(expit(predicted(odds, with_usual[asked])), CLIP, 1 - CLIP)
        for arm in (0, 1):
            mine = learned & (treated == arm)
            law = ridge(with_usual[mine], design.outcome[mine], rows[mine])
            arms[arm, asked] = predicted(law, with_usual[asked])
    given = treated / chance, (1 - treated) / (1 - chance)
    full = [
        design.level + arms[arm] + part * (design.outcome - arms[arm]) for arm, part in zip((1, 0), given, strict=True)
    ]
    means = np.stack([mean_by_person(one, design.person, design.people) for one in full])
    return means[0] - means[1], np.ones(design.people), chance, means


def _partialled_out(design: Design, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    expected = np.empty((2, len(rows)))
    for fold in range(FOLDS):
        asked = design.fold == fold
        learned = ~asked & (rows > 0)
        if not learned.any():
            return _nothing(design)
        for place, values in enumerate((design.treatment, design.outcome)):
            law = ridge(design.features[learned], values[learned], rows[learned])
            expected[place, asked] = predicted(law, design.features[asked])
    left, beyond = design.treatment - expected[0], design.outcome - expected[1]
    top = mean_by_person(left * beyond, design.person, design.people)
    bottom = mean_by_person(np.square(left), design.person, design.people)
    return top, bottom, expected[0], np.empty((0, design.people))


def _nothing(design: Design) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Where a draw of people leaves nobody to learn from."""
    nan = np.full(design.people, np.nan)
    return nan, np.ones(design.people), np.full(len(design.outcome), np.nan), np.full((2, design.people), np.nan)


def _risk_ratio(some: Observed, found: Estimate, widen: float) -> tuple[float, float, float] | None:
    """By the delta method on its logarithm."""
    if not some.binary or not np.isin(some.outcome, (0, 1)).all():
        return None
    treated, other = found.arms.mean(axis=1)
    if min(treated, other) <= 0:
        return None
    influence = found.arms[0] / treated - found.arms[1] / other
    half = widen * critical(some.people) * float(influence.std(ddof=1) / np.sqrt(some.people))
    ratio = np.log(treated / other)
    return float(np.exp(ratio)), float(np.exp(ratio - half)), float(np.exp(ratio + half))
