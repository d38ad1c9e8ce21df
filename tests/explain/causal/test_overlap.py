"""Overlap by hand numbers, and where it ends."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from hdt_fm.explain.causal.design import design_of
from hdt_fm.explain.causal.effect import Estimate, estimate
from hdt_fm.explain.causal.observed import Observed, observed
from hdt_fm.explain.causal.overlap import WIDEN_THIN, Overlap, effective_rows, overlap_of
from hdt_fm.explain.causal.question import Question

NewTable = Callable[..., tuple[dict[str, np.ndarray], np.ndarray]]


def of(question: Question, table: tuple[dict[str, np.ndarray], np.ndarray]) -> Overlap:
    some = observed(question, *table)
    design = design_of(some, within=question.within_people, seed=0)
    return overlap_of(some, design, estimate(design))


def by_hand() -> tuple[Observed, Estimate]:
    """Two people of four strata each; a quarter is treated where x is 0, three quarters where it is 1."""
    treatment = np.array([1, 0, 0, 0, 1, 1, 1, 0] * 12, dtype=float)
    x = np.array([0, 0, 0, 0, 1, 1, 1, 1] * 12, dtype=float)
    some = Observed(
        person=np.repeat(np.arange(12), 8),
        treatment=treatment,
        outcome=x,
        covariates=x[:, None],
        names=("x",),
        binary=True,
    )
    return some, Estimate(value=0.0, error=1.0, expected=0.25 + 0.5 * x, arms=np.zeros((2, 12)))


def test_effective_rows_by_hand() -> None:
    assert effective_rows(np.ones(7)) == pytest.approx(7)
    assert effective_rows(np.array([1.0, 1.0, 0.0])) == pytest.approx(2)
    assert effective_rows(np.array([1.0, 3.0])) == pytest.approx(16 / 10)


def test_balance_weights_and_bins_by_hand() -> None:
    some, found = by_hand()
    made = overlap_of(some, design_of(some, within=False, seed=0), found)
    # Treated: three in four have x = 1, of the others one in four; both spread sqrt(3)/4.
    assert made.balance[0].before == pytest.approx(0.5 / np.sqrt(3 / 16))
    # Weighted by 4 and 4/3 both arms hold as many of either.
    assert made.balance[0].after == pytest.approx(0, abs=1e-12)
    assert made.arms == (48, 48)
    # Weights of 12 rows are 4, of 36 rows 4/3: (48 + 48)^2 / (12 x 16 + 36 x 16/9).
    assert made.effective == pytest.approx((36.0, 36.0))
    assert made.outside == 0
    assert made.left == pytest.approx(0.75)
    assert made.verdict == "inside"
    assert made.widen == 1
    assert np.flatnonzero(made.counts[0]).tolist() == [5, 15]  # bins that begin at .25 and .75
    assert made.counts[:, [5, 15]].tolist() == [[12, 36], [36, 12]]


def test_rows_of_few_people_are_not_told() -> None:
    some, found = by_hand()
    chance = found.expected.copy()
    chance[some.person < 3] = 0.51
    made = overlap_of(some, design_of(some, within=False, seed=0), replace(found, expected=chance))
    # Three people stand behind a bin; a lone hidden one could be told from the sum, so one more of each side is hidden.
    assert made.counts[0, 10] == made.counts[1, 10] == -1
    assert (made.counts == -1).sum(axis=1).tolist() == [2, 2]


@pytest.mark.parametrize(("lift", "verdict"), [(0.8, "inside"), (2.5, "thin"), (8.0, "none")])
def test_the_verdict_follows_the_lift(question: Question, new_table: NewTable, lift: float, verdict: str) -> None:
    made = of(replace(question, within_people=False), new_table(0, lift=lift))
    assert made.verdict == verdict
    assert bool(made.reasons) is (verdict != "inside")
    assert made.widen == (WIDEN_THIN if verdict == "thin" else 1.0)
    assert made.outside == pytest.approx({"inside": 0.01, "thin": 0.3, "none": 0.6}[verdict], abs=0.12)


def test_a_treatment_that_the_rest_tells_has_no_overlap(question: Question, new_table: NewTable) -> None:
    asked = replace(question, form="continuous")
    columns, person = new_table(0, binary=False)
    made = of(asked, (columns, person))
    assert made.verdict == "inside"
    # What is left of variance: noise of 1 beside a lift of .8 and .4.
    assert made.left == pytest.approx(1 / 1.8, abs=0.06)
    assert [abs(one.after) < 0.02 < abs(one.before) for one in made.balance] == [True, True]
    told = columns["hour"] + 1e-3 * np.random.default_rng(0).normal(size=len(person))
    assert of(asked, ({**columns, "activity": told}, person)).verdict == "none"
