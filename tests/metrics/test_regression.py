"""Scores of values against scikit-learn and numpy."""

import math

import numpy as np
import pytest
from sklearn import metrics as sk

from hdt_fm.metrics import regression as ours


def test_scores_are_those_of_scikit_learn_and_numpy():
    generator = np.random.default_rng(0)
    target, weight = generator.normal(size=53), generator.integers(0, 3, 53)
    predicted = 0.5 * target + generator.normal(size=53)
    for given in (None, weight):
        assert ours.mae(predicted, target, weight=given) == pytest.approx(
            sk.mean_absolute_error(target, predicted, sample_weight=given)
        )
        assert ours.rmse(predicted, target, weight=given) == pytest.approx(
            sk.root_mean_squared_error(target, predicted, sample_weight=given)
        )
        assert ours.r2(predicted, target, weight=given) == pytest.approx(
            sk.r2_score(target, predicted, sample_weight=given)
        )
        repeated = np.repeat(np.arange(53), 1 if given is None else given)
        expected = np.corrcoef(predicted[repeated], target[repeated])[0, 1]
        assert ours.pearson(predicted, target, weight=given) == pytest.approx(expected)


def test_a_score_that_does_not_exist_is_nan():
    assert math.isnan(ours.r2([1.0, 2.0], [3.0, 3.0]))
    assert math.isnan(ours.pearson([1.0, 1.0], [3.0, 4.0]))
    assert math.isnan(ours.mae([1.0], [1.0], weight=[0.0]))
