"""A person's own threshold: it starts at the ideal one and moves with how high their CUSUM climbs."""

import math

import numpy as np
import pytest

from hdt_fm.twin.alert.budget import LEVEL, Budget
from hdt_fm.twin.alert.cusum import threshold_for


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
