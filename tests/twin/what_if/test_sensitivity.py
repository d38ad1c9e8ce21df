"""How strong something unseen had to be: a published example, the exact bias of what was left out, and the edges."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import t as student

from hdt_fm.schema.what_if import Evidence
from hdt_fm.twin.what_if.evidence import half_width, own_share, slopes, table_of
from hdt_fm.twin.what_if.sensitivity import (
    Strength,
    as_strong_as,
    bias_of,
    robustness_value,
    sensitivity_of,
    strength_of,
)

# Cinelli and Hazlett 2020, table 1 (conflict in Darfur): t and degrees of freedom, as their package prints them.
T, FREEDOM = 4.18445, 783


def evidence(seed: int, *, unseen: float = 0.0, seen: float = 1.0) -> tuple[Evidence, np.ndarray]:
    """60 actions of 15 days, and a cause that moves both effect and outcome."""
    generator = np.random.default_rng(seed)
    moment, cause = generator.normal(size=(60, 3)), generator.normal(size=60)
    total = 25 * generator.normal(size=60) + 12 * seen * moment[:, 1] + 20 * unseen * cause
    beyond = total + 15 * seen * moment[:, 1] + 20 * unseen * cause + 20 * generator.normal(size=60)
    effect = np.stack([total - 50, np.full(60, 50.0)], axis=1)[..., None]
    day = np.repeat(np.arange(15), 4)
    return Evidence(beyond=beyond[:, None], effect=effect, moment=moment, day=day, minutes=(120,)), cause


def test_the_published_example():
    critical = float(student.ppf(0.975, FREEDOM - 1))
    assert robustness_value(T, FREEDOM) == pytest.approx(0.13878, abs=1e-5)
    assert robustness_value(T, FREEDOM, critical=critical) == pytest.approx(0.07626, abs=1e-5)
    assert robustness_value(-T, FREEDOM) == robustness_value(T, FREEDOM)
    error = 0.0232565
    as_a_woman = Strength(with_taken=0.009164, with_outcome=0.124641)
    assert T * error - bias_of(as_a_woman, plain_error=error, freedom=FREEDOM) == pytest.approx(0.075220, abs=2e-6)


@pytest.mark.parametrize(("t", "freedom"), [(0.3, 20), (2.0, 50), (9.0, 50), (-4.0, 700)])
def test_at_the_robustness_value_the_bias_is_the_whole_slope(t, freedom):
    part = robustness_value(t, freedom)
    assert bias_of(Strength(with_taken=part, with_outcome=part), plain_error=1.0, freedom=freedom) == pytest.approx(
        abs(t)
    )


@pytest.mark.parametrize(("t", "freedom"), [(2.5, 50), (4.0, 100)])
def test_at_the_other_one_the_slope_is_just_no_longer_sure(t, freedom):
    """t of the regression that had the cause in it: slope less bias, over the error that it would have."""
    critical = float(student.ppf(0.95, freedom - 1))

    def surplus(part: float) -> float:
        bias = bias_of(Strength(with_taken=part, with_outcome=part), plain_error=1.0, freedom=freedom)
        return (t - bias) / np.sqrt(freedom / (freedom - 1)) - critical

    assert robustness_value(t, freedom, critical=critical) == pytest.approx(brentq(surplus, 0.0, 0.9))
    assert robustness_value(1.0, freedom, critical=critical) == 0.0


def test_where_more_than_all_of_the_outcome_would_be_needed_the_treatment_alone_counts():
    """t so high that even at a part of 1 in the outcome the slope is sure: (f2 - c2) / (1 + f2)."""
    f, c = 30 / np.sqrt(8), 2.36 / np.sqrt(7)
    assert f * c > 1
    assert robustness_value(30.0, 8, critical=2.36) == pytest.approx((f**2 - c**2) / (1 + f**2))


@pytest.mark.parametrize("seed", range(4))
def test_the_bias_of_what_was_left_out_is_exact(seed):
    """With the true parts of what is left, the formula gives the difference of the two regressions exactly."""
    some, cause = evidence(seed, unseen=1.0)
    without, table = table_of(some), table_of(replace(some, moment=np.column_stack([some.moment, cause])))
    found, true = slopes(without, without.total), slopes(table, table.total)
    moved = bias_of(strength_of(table, 4), plain_error=float(found.plain_error[0]), freedom=found.freedom)
    assert found.slope[0] - true.slope[0] == pytest.approx(moved, rel=1e-9)
    assert moved > 0.1


def test_parts_are_squared_correlations_of_what_is_left():
    some, _ = evidence(5)
    table = table_of(some)

    def left(values: np.ndarray, columns: np.ndarray) -> np.ndarray:
        return values - columns @ np.linalg.lstsq(columns, values, rcond=None)[0]

    others = np.delete(table.moment, 2, axis=1)
    with_total = np.column_stack([others, table.total])
    taken = np.corrcoef(left(table.moment[:, 2], others), left(table.total[:, 0], others))[0, 1] ** 2
    outcome = np.corrcoef(left(table.moment[:, 2], with_total), left(table.beyond, with_total))[0, 1] ** 2
    found = strength_of(table, 2)
    assert (found.with_taken, found.with_outcome) == pytest.approx((taken, outcome))


def test_the_strongest_that_was_seen_stands_beside():
    some, _ = evidence(6)
    assert sensitivity_of(some).strongest == strength_of(table_of(some), 2)
    assert sensitivity_of(replace(some, moment=some.moment[:, :0])).strongest is None
    assert sensitivity_of(replace(some, moment=np.ones((60, 1)))).strongest is None


def test_a_doubtful_share_needs_nothing_unseen_and_a_short_record_says_nothing():
    some, _ = evidence(7)
    generator = np.random.default_rng(0)
    chance = replace(some, beyond=30 * generator.normal(size=(60, 1)))
    share = own_share(chance)
    assert share.low < 0 < share.high
    assert sensitivity_of(chance).to_doubt == 0.0
    assert 0 < sensitivity_of(chance).to_zero < 0.3
    sure = sensitivity_of(some)
    assert sure.to_zero > sure.to_doubt > 0.3
    short = sensitivity_of(replace(some, day=np.arange(60) // 20))
    assert np.isnan([short.to_zero, short.to_doubt]).all()
    assert short.strongest is None


def test_days_that_share_what_is_missed_make_less_sure():
    """The wider interval of days asks for less that is unseen, the slope itself does not."""
    some, _ = evidence(8)
    table = table_of(some)
    ratio = half_width(slopes(table, table.total)) / slopes(table, table.total).plain_error
    t = float((slopes(table, table.total).slope / slopes(table, table.total).plain_error)[0])
    found = sensitivity_of(some)
    assert found.to_doubt == robustness_value(t, 60 - 5, critical=float(ratio[0]))
    assert found.to_zero == robustness_value(t, 60 - 5)


def test_a_cause_as_strong_as_one_seen_explains_more_once_that_is_held_fixed():
    """As published for being a woman in Darfur: from her parts of what is left to the bounds of her like."""
    seen = Strength(with_taken=0.00908, with_outcome=0.10903)
    bound = as_strong_as(seen)
    assert bound.with_taken == pytest.approx(0.009164, abs=1e-5)
    assert bound.with_outcome == pytest.approx(0.124641, abs=5e-4)
    nearly = as_strong_as(Strength(with_taken=0.6, with_outcome=0.3))
    assert (nearly.with_taken, nearly.with_outcome) == (0.999, 0.999)
