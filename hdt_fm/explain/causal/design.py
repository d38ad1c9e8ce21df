"""Rows made ready for an estimate: what is held fixed as features, people as folds, and who is too few."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from hdt_fm.explain.causal.observed import Observed, mean_by_person
from hdt_fm.schema.errors import ExplainError

# Below, intervals of 95 % held the truth too seldom (see the README).
LEAST_PEOPLE = 12
# Fewer people with a treatment, or without it, say nothing about others, and are not shown.
LEAST_IN_ARM = 5
FOLDS = 5


@dataclass(frozen=True, kw_only=True)
class Design:
    """Rows made ready: the same for the estimate and all attempts to refute it.

    Attributes:
        features: What is held fixed, and its squares; spread 1, within people less the person's mean.
        usual: Log-odds of the person's own share of treated rows within people, else 0.
        level: The person's mean outcome, taken off within people, else 0.
        fold: In which a row is judged, the same for all rows of a person.
        outcome_sd, treatment_sd: Of the values that are compared, 1 where there is no spread.
    """

    person: Int[np.ndarray, " row"]
    people: int
    treatment: Float[np.ndarray, " row"]
    outcome: Float[np.ndarray, " row"]
    features: Float[np.ndarray, "row feature"]
    usual: Float[np.ndarray, " row"]
    level: Float[np.ndarray, " row"]
    fold: Int[np.ndarray, " row"]
    binary: bool
    within: bool
    outcome_sd: float
    treatment_sd: float


def design_of(some: Observed, *, within: bool, seed: int) -> Design:
    """Make rows ready.

    Raises:
        ExplainError: If fewer people than `LEAST_PEOPLE` are there, or fewer than `LEAST_IN_ARM` in an arm.
    """
    _check_people(some)
    own = [mean_by_person(values, some.person, some.people)[some.person] for values in (some.treatment, some.outcome)]
    treatment = some.treatment if some.binary or not within else some.treatment - own[0]
    outcome = some.outcome - own[1] if within else some.outcome
    usual = np.zeros(len(outcome))
    if within and some.binary:
        count = np.bincount(some.person)[some.person]
        given = own[0] * count
        usual = np.log((given + 0.5) / (count - given + 0.5))
    dealt = np.random.default_rng(seed).permutation(some.people) % FOLDS
    return Design(
        person=some.person,
        people=some.people,
        treatment=treatment,
        outcome=outcome,
        features=features_of(some.covariates, some.person, some.people, within=within),
        usual=usual,
        level=own[1] if within else np.zeros(len(outcome)),
        fold=dealt[some.person],
        binary=some.binary,
        within=within,
        outcome_sd=_spread(outcome),
        treatment_sd=_spread(treatment),
    )


def features_of(
    covariates: Float[np.ndarray, "row covariate"], person: Int[np.ndarray, " row"], people: int, *, within: bool
) -> Float[np.ndarray, "row feature"]:
    """Covariates and their squares; no square of what has two values, and nothing of what has one."""
    columns = []
    for values in covariates.T:
        level = values - values.mean()
        columns += [level, np.square(level)] if len(np.unique(values)) > 2 else [level]
    if within:
        columns = [one - mean_by_person(one, person, people)[person] for one in columns]
    columns = [one - one.mean() for one in columns]
    kept = [one / _spread(one) for one in columns if np.ptp(one) > 0]
    return np.column_stack(kept) if kept else np.empty((len(person), 0))


def _spread(values: np.ndarray) -> float:
    return float(values.std()) or 1.0


def _check_people(some: Observed) -> None:
    if some.people < LEAST_PEOPLE:
        raise ExplainError(
            "Too few people for an effect in the body",
            where="causal",
            expected=f"at least {LEAST_PEOPLE} people with whole rows, within people each with both treatments",
            got=str(some.people),
            fix="bring more people, or leave the causal question out",
        )
    if some.binary:
        arms = [len(np.unique(some.person[some.treatment == arm])) for arm in (0, 1)]
        if min(arms) < LEAST_IN_ARM:
            raise ExplainError(
                "Too few people with one of both treatments",
                where="causal.treatment",
                expected=f"at least {LEAST_IN_ARM} people in each arm",
                got="fewer",
                fix="choose a treatment that more people have, or leave the causal question out",
            )
