"""P-values and thresholds against closed forms and plain simulation."""

import math
from statistics import NormalDist

import numpy as np
import pytest

from hdt_fm.twin.budget import LEVEL, Budget
from hdt_fm.twin.conformal_p import normal_score, rarity, tail_p
from hdt_fm.twin.cusum import NIGHTS_PER_YEAR, nights_between, threshold_for, widened


def test_p_is_the_rank_below_the_tail():
    own = np.arange(20.0)[None]
    for score, p in ((5.5, 15 / 21), (0.0, 1.0), (10.0, 11 / 21)):
        assert rarity(np.array([score]), own).p[0] == pytest.approx(p, abs=1e-3)


def test_p_is_even_for_exchangeable_scores():
    drawn = np.random.default_rng(1).normal(size=(20_000, 41))
    p = rarity(drawn[:, 0], drawn[:, 1:]).p
    for level in (0.5, 0.25, 0.12):
        assert (p <= level).mean() == pytest.approx(level, abs=0.02)
    # Past the ranks a normal tail goes on, near to right and not far over.
    assert 0.005 < (p <= 0.01).mean() < 0.02


def test_gaps_among_own_scores_do_not_count():
    own = np.array([[0.0, 1, 2, 3], [0.0, 1, np.nan, 3]])
    np.testing.assert_allclose(rarity(np.array([0.5, 0.5]), own).p, [4 / 5, 3 / 4], atol=1e-3)
    assert np.isnan(rarity(np.array([1.0]), np.full((1, 3), np.nan)).p).all()
    assert np.isnan(rarity(np.array([np.nan]), np.zeros((1, 3))).z).all()


def test_normal_scores_are_those_of_the_normal():
    for p in (0.001, 0.3, 0.5, 0.9):
        assert normal_score(np.array([p]))[0] == pytest.approx(NormalDist().inv_cdf(1 - p), abs=1e-3)
        assert tail_p(normal_score(np.array([p])))[0] == pytest.approx(p, abs=1e-3)


@pytest.mark.parametrize("slack", [0.4, 0.6, 0.8])
def test_siegmund_against_simulation(slack):
    """Nights until the first passage, of 400 people who start at 0."""
    threshold = threshold_for(6.0, slack)
    assert nights_between(threshold, slack) == pytest.approx(NIGHTS_PER_YEAR / 6)
    generator = np.random.default_rng(2)
    cusum, passed = np.zeros(400), np.full(400, np.nan)
    for night in range(1, 1500):
        cusum = np.maximum(cusum + generator.normal(size=400) - slack, 0)
        passed[np.isnan(passed) & (cusum > threshold)] = night
    assert np.nanmean(passed) == pytest.approx(NIGHTS_PER_YEAR / 6, rel=0.12)


def test_few_nights_widen_and_many_do_not():
    found = widened(3.0, 0.6, np.array([28.0, 100.0, 1e6]))
    assert found[0] > found[1] > 3.0
    assert found[2] == pytest.approx(3.0, abs=1e-3)
    for height, count in zip(found, (28.0, 100.0), strict=False):
        assert 2 * 0.6 * height - 2 * height**2 / count == pytest.approx(2 * 0.6 * 3.0)


def test_more_budget_means_a_lower_threshold():
    found = [threshold_for(budget, 0.6) for budget in (0.5, 1.0, 2.0, 4.0)]
    assert found == sorted(found, reverse=True)


def climbed(heights, nights_apart=10):
    """A budget after climbs of these heights, at 2 a year."""
    budget = Budget(1, per_year=2.0, slack=0.6)
    seen = np.ones(1, dtype=bool)
    for height in heights:
        for cusum in (height, *[0.0] * (nights_apart - 1)):
            budget.learn(np.array([cusum]), np.array([3.0]), seen)
    return budget.threshold(np.full(1, 1e6))[0]


def test_the_threshold_moves_with_own_climbs():
    start = Budget(1, per_year=2.0, slack=0.6).threshold(np.full(1, 1e6))[0]
    assert start == pytest.approx(threshold_for(2.0, 0.6), abs=1e-3)
    assert climbed([LEVEL + 1.2] * 60) > start
    assert climbed([LEVEL + 0.1] * 30, nights_apart=20) < start


def test_an_alert_adds_its_threshold_and_no_more():
    """An illness that drives CUSUM to 50 teaches the same as one that just passes."""
    assert climbed([50.0]) == climbed([3.0])
    assert math.isfinite(climbed([50.0] * 20))


@pytest.mark.parametrize("per_year", [0.1, 1.0, 20.0, 25.0])
@pytest.mark.parametrize("slack", [0.1, 0.6, 2.0])
@pytest.mark.parametrize("count", [8.0, 28.0, 300.0])
def test_any_setting_gives_a_threshold_no_lower_than_the_ideal(per_year, slack, count):
    found = Budget(1, per_year=per_year, slack=slack).threshold(np.array([count]))[0]
    assert math.isfinite(found)
    assert found >= threshold_for(per_year, slack) - 1e-6
