"""Scores of ordered classes by hand, against scikit-learn and against the CRPS of an ensemble of classes."""

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss
from sklearn.metrics import log_loss as their_log_loss

from hdt_fm.metrics.ordinal import GRADES, log_loss, rps
from hdt_fm.schema.errors import ShapeError


def case(rows=50, classes=4):
    generator = np.random.default_rng(0)
    return generator.dirichlet(np.ones(classes), rows), generator.integers(0, classes, rows)


def test_rps_by_hand():
    # At least 1: .5, at least 2: .2. Class 0 came: .25 + .04; class 1: .25 + .04; class 2: .25 + .64.
    said = np.array([[0.5, 0.3, 0.2]] * 3)
    assert rps(said[:1], [0]) == pytest.approx(0.29)
    assert rps(said[:1], [1]) == pytest.approx(0.29)
    assert rps(said[:1], [2]) == pytest.approx(0.89)
    assert rps(said, [0, 1, 2], weight=[1, 0, 3]) == pytest.approx((0.29 + 3 * 0.89) / 4)
    assert rps([[0, 0, 1.0]], [2]) == 0
    # A miss by two classes costs twice one by one, for who is sure.
    assert (rps([[1.0, 0, 0]], [1]), rps([[1.0, 0, 0]], [2])) == (1, 2)


def test_rps_is_the_crps_of_class_numbers():
    """E|X - y| - E|X - X'| / 2, its other form, in which no cumulative sum occurs."""
    said, came = case()
    number = np.arange(4.0)
    near = (said * np.abs(number - came[:, None])).sum(axis=1)
    within = np.einsum("ri,rj,ij->r", said, said, np.abs(number[:, None] - number))
    assert rps(said, came) == pytest.approx((near - within / 2).mean())


def test_two_classes_are_the_brier_score():
    said, came = case(classes=2)
    assert rps(said, came) == pytest.approx(brier_score_loss(came, said[:, 1]))


def test_log_loss_is_that_of_scikit_learn():
    said, came = case()
    weight = np.arange(50) % 3
    assert log_loss(said, came, weight=weight) == pytest.approx(their_log_loss(came, said, sample_weight=weight))
    assert log_loss([[1.0, 0.0]], [1]) == np.inf
    assert np.isnan(log_loss(said, came, weight=np.zeros(50)))


def test_grades_of_glucose():
    values = np.array([40.0, 53.9, 54.0, 69.9, 70.0, 180.0, 180.1, 250.0, 250.1])
    low, high = (sum(grade.of(values).astype(int) for grade in grades) for grades in GRADES["glucose"].values())
    assert low.tolist() == [2, 2, 1, 1, 0, 0, 0, 0, 0]
    assert high.tolist() == [0, 0, 0, 0, 0, 0, 1, 1, 2]


@pytest.mark.parametrize(
    ("said", "came"),
    [([[0.5, 0.4]], [0]), ([[0.5, 0.5]], [2]), ([[1.5, -0.5]], [0]), ([[0.5, 0.5]], [0.5]), ([0.5, 0.5], [0, 1])],
)
def test_what_does_not_fit_is_refused(said, came):
    with pytest.raises(ShapeError, match="do not fit the classes"):
        rps(said, came)
