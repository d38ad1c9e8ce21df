"""Scores of quantile forecasts against scikit-learn and the closed form of a normal distribution."""

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import mean_pinball_loss

from hdt_fm.metrics import quantiles as ours
from hdt_fm.schema.errors import ShapeError

LEVELS = (0.1, 0.5, 0.9)


def case():
    generator = np.random.default_rng(0)
    return np.sort(generator.normal(size=(7, 2, 3)), axis=-1), generator.normal(size=(7, 2))


def test_pinball_is_that_of_scikit_learn():
    predicted, target = case()
    expected = [mean_pinball_loss(target.ravel(), predicted[..., k].ravel(), alpha=q) for k, q in enumerate(LEVELS)]
    assert ours.pinball(predicted, target, LEVELS) == pytest.approx(np.mean(expected))
    assert ours.wql(predicted, target, LEVELS) == pytest.approx(2 * np.mean(expected) / np.abs(target).mean())


def test_weights_are_repeats():
    predicted, target = case()
    weight = np.array([0, 1, 2, 3, 0, 1, 1])
    index = np.repeat(np.arange(7), weight)
    for score in (ours.pinball, ours.wql, ours.crps):
        assert score(predicted, target, LEVELS, weight=weight) == pytest.approx(
            score(predicted[index], target[index], LEVELS)
        )


def test_crps_of_a_normal_forecast_is_the_closed_form():
    levels = (np.arange(400) + 0.5) / 400
    target = np.array([-1.3, 0.0, 0.4, 2.5])
    predicted = np.broadcast_to(norm.ppf(levels), (4, 400))
    expected = target * (2 * norm.cdf(target) - 1) + 2 * norm.pdf(target) - 1 / np.sqrt(np.pi)
    assert ours.crps(predicted, target, levels) == pytest.approx(expected.mean(), rel=2e-3)


def test_coverage_and_width_by_hand():
    low, high, target = np.zeros(4), np.array([1.0, 1, 1, 5]), np.array([0.5, 2, 1, -1])
    assert ours.coverage(low, high, target) == 0.5
    assert ours.coverage(low, high, target, weight=[1, 0, 0, 1]) == 0.5
    assert ours.width(low, high) == 2


def test_levels_that_do_not_fit_are_refused():
    predicted, target = case()
    with pytest.raises(ShapeError, match="do not fit the target"):
        ours.pinball(predicted, target, (0.1, 0.9))
