"""Thresholds against closed forms and plain simulation."""

import numpy as np
import pytest

from hdt_fm.twin.alert.cusum import NIGHTS_PER_YEAR, nights_between, threshold_for, widened


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
