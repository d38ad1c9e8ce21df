"""Intervals over people: against theory, against windows, and with and without weights."""

import math

import numpy as np
import pytest

from hdt_fm.metrics.bootstrap import paired_difference, subject_bootstrap
from hdt_fm.metrics.classification import auroc
from hdt_fm.metrics.regression import mae
from hdt_fm.schema.errors import ShapeError


def mean(values, *, weight=None):
    return float(np.average(values, weights=weight))


def plain_mean(values):
    return float(np.mean(values))


def test_the_interval_is_that_of_people_not_of_windows():
    # 40 people who differ, 50 equal windows each: the standard error is sd / sqrt(40), not sd / sqrt(2000).
    generator = np.random.default_rng(0)
    person = generator.normal(size=40)
    subject, values = np.repeat(np.arange(40), 50), np.repeat(person, 50)
    value, low, high = subject_bootstrap(mean, subject, values, draws=4000, seed=1)
    error = person.std() / math.sqrt(40)
    assert value == pytest.approx(person.mean())
    assert low == pytest.approx(value - 1.96 * error, abs=0.15 * error)
    assert high == pytest.approx(value + 1.96 * error, abs=0.15 * error)


def test_weights_and_repeated_rows_are_the_same_draws():
    generator = np.random.default_rng(0)
    subject, values = generator.integers(0, 9, 70), generator.normal(size=70)
    weighted = subject_bootstrap(mean, subject, values, draws=200, seed=3)
    repeated = subject_bootstrap(plain_mean, subject, values, draws=200, seed=3)
    np.testing.assert_allclose(weighted, repeated)


def test_same_seed_same_interval():
    subject, values = np.arange(30) % 7, np.arange(30.0)
    first = subject_bootstrap(mean, subject, values, draws=100, seed=3)
    assert first == subject_bootstrap(mean, subject, values, draws=100, seed=3)
    assert first != subject_bootstrap(mean, subject, values, draws=100, seed=4)


def test_names_of_people_do_not_matter():
    subject, values = np.arange(30) % 7, np.arange(30.0)
    named = np.array([f"s{number}" for number in subject])
    assert subject_bootstrap(mean, subject, values, draws=50) == subject_bootstrap(mean, named, values, draws=50)


def test_a_paired_difference_cancels_what_both_share():
    generator = np.random.default_rng(0)
    subject = np.repeat(np.arange(25), 20)
    hard = np.repeat(generator.normal(size=25) ** 2, 20)
    target = np.zeros(500)
    alone = subject_bootstrap(mae, subject, hard + 0.1, target, draws=500, seed=0)
    value, low, high = paired_difference(mae, subject, (hard + 0.1, target), (hard, target), draws=500, seed=0)
    assert value == pytest.approx(0.1)
    assert high - low < 1e-9 < alone.high - alone.low


def test_one_person_has_no_interval_and_failed_draws_are_left_out():
    value, low, high = subject_bootstrap(mean, np.zeros(5), np.arange(5.0), draws=20)
    assert value == 2
    assert math.isnan(low)
    assert math.isnan(high)
    # Two people, one of each class: half of the draws hold one class only.
    score, label, subject = np.array([1.0, 2, 3]), np.array([0, 1, 1]), np.array([0, 1, 2])
    interval = subject_bootstrap(auroc, subject, score, label, draws=300)
    assert interval == (1.0, 1.0, 1.0)


def test_auroc_of_3000_windows_is_quick_enough_for_1000_draws():
    generator = np.random.default_rng(0)
    subject, label = generator.integers(0, 28, 3000), generator.integers(0, 2, 3000)
    value, low, high = subject_bootstrap(auroc, subject, generator.random(3000) + 0.3 * label, label, draws=1000)
    assert low < value < high


def test_rows_that_do_not_fit_are_refused():
    with pytest.raises(ShapeError, match="equal lengths"):
        subject_bootstrap(mean, np.arange(3), np.arange(4.0))
