"""Scores of classes against scikit-learn and by hand."""

import math

import numpy as np
import pytest
from sklearn import metrics as sk

from hdt_fm.metrics import classification as ours
from hdt_fm.schema.errors import ShapeError


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("weighted", [False, True])
def test_scores_are_those_of_scikit_learn(seed, weighted):
    generator = np.random.default_rng(seed)
    # Rounded, so that there are many ties.
    score, label = generator.random(97).round(1), generator.integers(0, 2, 97)
    classes, called = generator.integers(0, 4, 97), generator.integers(0, 5, 97)
    weight = generator.integers(0, 4, 97) if weighted else None
    given = {"sample_weight": weight} if weighted else {}
    assert ours.auroc(score, label, weight=weight) == pytest.approx(sk.roc_auc_score(label, score, **given))
    expected = sk.average_precision_score(label, score, **given)
    assert ours.average_precision(score, label, weight=weight) == pytest.approx(expected)
    expected = sk.recall_score(classes, called, labels=[0, 1, 2, 3], average="macro", **given)
    assert ours.balanced_accuracy(called, classes, weight=weight) == pytest.approx(expected)
    expected = sk.f1_score(classes, called, average="macro", zero_division=0, **given)
    assert ours.macro_f1(called, classes, weight=weight) == pytest.approx(expected)


def test_auroc_by_hand():
    # Pairs (positive, negative): 3>1, 3>2, 2>1 win, 2=2 ties: 3.5 of 4.
    assert ours.auroc([1, 2, 2, 3], [0, 0, 1, 1]) == 3.5 / 4
    assert ours.auroc([5, 5, 5], [0, 1, 0]) == 0.5


def test_average_precision_of_a_constant_is_the_prevalence():
    assert ours.average_precision([1, 1, 1, 1], [0, 1, 0, 0]) == 0.25


def test_a_score_that_does_not_exist_is_nan():
    assert math.isnan(ours.auroc([1, 2], [1, 1]))
    assert math.isnan(ours.average_precision([1, 2], [0, 0]))
    assert math.isnan(ours.auroc([1, 2], [0, 1], weight=[1, 0]))


def test_calibration_error_by_hand():
    # Two bins of two: chances 0.25 and 0.75, of which 0.5 and 1.0 came true.
    assert ours.ece([0.25, 0.25, 0.75, 0.75], [0, 1, 1, 1], bins=2) == pytest.approx(0.25)
    assert ours.ece([1.0, 0.0], [1, 0]) == 0
    # Top class 0.9 right, 0.8 wrong: |0.1| / 2 + |0.8| / 2.
    assert ours.ece([[0.9, 0.1], [0.2, 0.8]], [0, 0], bins=20) == pytest.approx(0.45)


def test_bad_rows_speak():
    with pytest.raises(ShapeError, match="equal lengths"):
        ours.auroc([1, 2], [0, 1, 1])
    with pytest.raises(ShapeError, match="not finite"):
        ours.auroc([1, math.nan], [0, 1])
    with pytest.raises(ShapeError, match="at least 0"):
        ours.auroc([1, 2], [0, 1], weight=[1, -1])
