"""Estimates against the truth, scikit-learn and closed forms."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge

from hdt_fm.explain.causal import nuisance
from hdt_fm.explain.causal.design import LEAST_PEOPLE, Design, design_of, features_of
from hdt_fm.explain.causal.effect import Effect, estimate, naive, told
from hdt_fm.explain.causal.observed import Observed, mean_by_person, observed
from hdt_fm.explain.causal.question import Question
from hdt_fm.schema.errors import ExplainError

EFFECT = 0.5
NewTable = Callable[..., tuple[dict[str, np.ndarray], np.ndarray]]


def effect_of(question: Question, table: tuple[dict[str, np.ndarray], np.ndarray], seed: int = 0) -> Effect:
    some = observed(question, *table)
    design = design_of(some, within=question.within_people, seed=seed)
    return told(design, some, estimate(design))


def made(question: Question, table: tuple[dict[str, np.ndarray], np.ndarray]) -> tuple[Observed, Design]:
    some = observed(question, *table)
    return some, design_of(some, within=question.within_people, seed=0)


@pytest.mark.parametrize("weighted", [False, True])
def test_small_models_are_those_of_scikit_learn(weighted: bool) -> None:
    generator = np.random.default_rng(1)
    features = generator.normal(size=(90, 3))
    treated = (features[:, 0] + generator.logistic(size=90) > 0.5).astype(float)
    values = features @ [1.0, -2.0, 0.0] + 3 + generator.normal(size=90)
    weight = generator.integers(1, 4, 90).astype(float) if weighted else np.ones(90)
    theirs = Ridge(alpha=nuisance.PENALTY).fit(features, values, sample_weight=weight)
    np.testing.assert_allclose(
        nuisance.predicted(nuisance.ridge(features, values, weight), features), theirs.predict(features), rtol=1e-8
    )
    other = LogisticRegression(C=1 / nuisance.PENALTY, tol=1e-10, max_iter=1000).fit(features, treated, weight)
    mine = nuisance.expit(nuisance.predicted(nuisance.logistic(features, treated, weight), features))
    np.testing.assert_allclose(mine, other.predict_proba(features)[:, 1], atol=1e-6)


def test_arms_that_a_column_tells_apart_still_have_finite_odds() -> None:
    treated = np.repeat([0.0, 1.0], 20)
    odds = nuisance.logistic(1e3 * (treated - 0.5)[:, None], treated, np.ones(40))
    assert np.isfinite(odds).all()


CASES = {
    "what is held fixed confounds": ({}, {}),
    "by a curve": ({"curved": 0.7}, {}),
    "by who it is": ({"by_person": 1.0}, {}),
    "no effect": ({"effect": 0.0}, {}),
    "people compared": ({}, {"within_people": False}),
    "continuous": ({"binary": False}, {"form": "continuous"}),
    "continuous, by who it is": ({"binary": False, "by_person": 1.0}, {"form": "continuous"}),
}


@pytest.mark.parametrize("name", CASES)
def test_truth_is_inside_and_the_plain_difference_is_beaten(question: Question, new_table: NewTable, name: str) -> None:
    how, other = CASES[name]
    asked, truth, tables = replace(question, **other), how.get("effect", EFFECT), 24
    found = [effect_of(asked, new_table(seed, **how)) for seed in range(tables)]
    off = np.array([one.value for one in found]) - truth
    plain = np.array([one.naive for one in found]) - truth
    held = sum(one.low <= truth <= one.high for one in found)
    # Of 24 intervals of 95 %, fewer than 20 hold the truth once in 170 such tests; seeds are fixed.
    assert held >= 20
    assert abs(off.mean()) < 4 * off.std() / np.sqrt(tables)
    assert abs(off.mean()) < 0.07
    assert plain.mean() > 0.25
    assert np.abs(off).mean() < np.abs(plain).mean() / 2


def test_comparing_people_keeps_what_differs_between_them(question: Question, new_table: NewTable) -> None:
    table = new_table(0, by_person=1.0)
    assert effect_of(question, table).value == pytest.approx(EFFECT, abs=0.2)
    assert effect_of(replace(question, within_people=False), table).value > EFFECT + 0.5


def test_partialling_out_is_regression_where_nobody_is_left_out(question: Question, new_table: NewTable) -> None:
    """By Frisch, Waugh and Lovell; cross-fitting moves it by less than a third of its error."""
    columns, person = new_table(2, binary=False)
    asked = replace(question, form="continuous")
    _, design = made(asked, (columns, person))
    whole = LinearRegression().fit(np.column_stack([design.treatment, design.features]), design.outcome)
    found = estimate(design)
    assert found.value == pytest.approx(whole.coef_[0], abs=found.error / 3)


def test_the_error_is_the_jackknife_over_people(question: Question, new_table: NewTable) -> None:
    """A treatment and an outcome that nothing is held fixed of: the mean of people's own differences."""
    columns, person = new_table(3, lift=0.0)
    some, design = made(replace(question, adjusted=()), (columns, person))
    found = estimate(design)
    # With chances of a half and outcomes far from the models', weights decide; here arms' own means do.
    assert found.value == pytest.approx(EFFECT, abs=4 * found.error)
    each = found.arms[0] - found.arms[1]
    assert found.value == pytest.approx(each.mean())
    assert found.error == pytest.approx(each.std(ddof=1) / np.sqrt(some.people))


def test_twice_a_person_is_two_people(question: Question, new_table: NewTable) -> None:
    _, design = made(question, new_table(4, people=15))
    once = estimate(design)
    twice = estimate(design, np.full(15, 2.0))
    assert twice.value == pytest.approx(once.value, abs=0.05)
    assert twice.error == pytest.approx(once.error / np.sqrt(2), rel=0.1)
    alone = estimate(design, np.ones(15))
    assert (alone.value, alone.error) == (once.value, once.error)


def test_what_the_rest_tells_exactly_costs_nothing(question: Question, new_table: NewTable) -> None:
    """Either model may be right alone: with the outcome's, weights have nothing to mend and add no noise."""
    columns, person = new_table(7)
    columns["heart_rate"] = EFFECT * columns["activity"] + columns["hour"] - 0.5 * columns["posture"]
    found = effect_of(replace(question, within_people=False), (columns, person))
    assert found.value == pytest.approx(EFFECT, abs=2e-3)
    assert found.high - found.low < 5e-3


def test_a_person_with_many_rows_counts_once(question: Question, new_table: NewTable) -> None:
    columns, person = new_table(5, people=20)
    many = {name: np.concatenate([one, np.tile(one[person == 0], 30)]) for name, one in columns.items()}
    grown = np.concatenate([person, np.zeros(30 * (person == 0).sum(), dtype=int)])
    asked = replace(question, adjusted=())
    _, design = made(asked, (columns, person))
    _, other = made(asked, (many, grown))
    # Nuisance models see them more often; the person's own mean is the same.
    assert estimate(other).value == pytest.approx(estimate(design).value, abs=estimate(design).error)


def test_order_of_rows_and_names_of_people_do_not_matter(question: Question, new_table: NewTable) -> None:
    columns, person = new_table(6)
    order = np.random.default_rng(0).permutation(len(person))
    one = effect_of(question, (columns, person))
    other = effect_of(question, ({name: values[order] for name, values in columns.items()}, 100 + 3 * person[order]))
    assert other.value == pytest.approx(one.value)
    assert other.high == pytest.approx(one.high)


def test_a_risk_ratio_where_both_are_yes_or_no(question: Question) -> None:
    """Half of the treated and a quarter of the others, by lot: a ratio of 2."""
    person = np.repeat(np.arange(40), 40)
    treatment = np.tile(np.repeat([0.0, 1.0], 20), 40)
    generator = np.random.default_rng(0)
    outcome = (generator.random(1600) < np.where(treatment == 1, 0.5, 0.25)).astype(float)
    columns = {"activity": treatment, "heart_rate": outcome}
    found = effect_of(replace(question, adjusted=()), (columns, person))
    assert found.risk_ratio is not None
    ratio, low, high = found.risk_ratio
    assert ratio == pytest.approx(outcome[treatment == 1].mean() / outcome[treatment == 0].mean(), rel=1e-6)
    assert low < 2 < high
    # Independent shares: var of log = (1 - p) / (n p) each.
    error = np.sqrt(0.5 / (800 * 0.5) + 0.75 / (800 * 0.25))
    assert np.log(high / low) / 2 / 2.02 == pytest.approx(error, rel=0.25)


def test_features_have_squares_and_nothing_constant() -> None:
    person = np.repeat(np.arange(3), 4)
    covariates = np.column_stack([np.arange(12.0), np.ones(12), np.tile([0.0, 1.0], 6), np.repeat([1.0, 5.0, 9.0], 4)])
    assert features_of(covariates, person, 3, within=False).shape == (12, 5)
    within = features_of(covariates, person, 3, within=True)
    assert within.shape == (12, 3)  # a level and its square, and 0 or 1: what is constant in a person is gone
    np.testing.assert_allclose(within.std(axis=0), 1)
    for column in within.T:
        np.testing.assert_allclose(mean_by_person(column, person, 3), 0, atol=1e-12)


def test_too_few_people_are_refused(question: Question, new_table: NewTable) -> None:
    columns, person = new_table(0, people=LEAST_PEOPLE - 1)
    with pytest.raises(ExplainError, match="Too few people for an effect"):
        effect_of(question, (columns, person))
    assert effect_of(question, new_table(0, people=LEAST_PEOPLE)).people == LEAST_PEOPLE
    columns, person = new_table(0)
    columns["activity"] = np.where(person < 4, columns["activity"], 0.0)
    with pytest.raises(ExplainError, match="Too few people with one of both"):
        effect_of(replace(question, within_people=False), (columns, person))


def test_naive_is_the_difference_of_means(question: Question, new_table: NewTable) -> None:
    columns, person = new_table(1)
    some = observed(question, columns, person)
    treated = columns["activity"] == 1
    assert naive(some) == pytest.approx(columns["heart_rate"][treated].mean() - columns["heart_rate"][~treated].mean())
