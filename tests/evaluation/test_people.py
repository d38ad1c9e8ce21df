"""Scores over people against sklearn and hdt_fm.metrics, for the sample and for resamples."""

import numpy as np
import pytest
from sklearn import metrics as sk

from hdt_fm.evaluation import people
from hdt_fm.metrics import classification as own

PEOPLE, ROWS, DRAWS = 6, 83, 11


@pytest.fixture
def sample():
    rng = np.random.default_rng(3)
    person = np.append(np.arange(PEOPLE), rng.integers(0, PEOPLE, ROWS - PEOPLE))
    labels = rng.integers(0, 2, ROWS)
    score = np.round(rng.normal(size=ROWS) + labels, 1)  # rounding makes ties
    return np.stack([-score, score], axis=1), labels, person


def resampled(person, count):
    return np.concatenate([np.repeat(np.flatnonzero(person == one), int(count[one])) for one in range(PEOPLE)])


CASES = {
    "auroc": (people.auroc, lambda s, y: sk.roc_auc_score(y, s[:, 1])),
    "average_precision": (people.average_precision, lambda s, y: sk.average_precision_score(y, s[:, 1])),
    "accuracy": (people.accuracy, lambda s, y: sk.accuracy_score(y, s.argmax(1))),
    "macro_f1": (people.macro_f1, lambda s, y: sk.f1_score(y, s.argmax(1), average="macro")),
    "balanced_accuracy": (people.balanced_accuracy, lambda s, y: sk.balanced_accuracy_score(y, s.argmax(1))),
}


@pytest.mark.parametrize("name", CASES)
def test_every_draw_equals_the_score_of_the_repeated_rows(name, sample):
    scores, labels, person = sample
    mine, theirs = CASES[name]
    counts = people.people_draws(PEOPLE, draws=DRAWS, seed=5)
    values = mine(scores, labels, person).over(counts)
    for count, value in zip(counts, values, strict=True):
        rows = resampled(person, count)
        assert value == pytest.approx(theirs(scores[rows], labels[rows]), abs=1e-12)


def test_the_sample_itself_equals_the_metrics_room(sample):
    scores, labels, person = sample
    one = np.ones((1, PEOPLE))
    assert people.auroc(scores, labels, person).over(one)[0] == pytest.approx(own.auroc(scores[:, 1], labels))
    assert people.average_precision(scores, labels, person).over(one)[0] == pytest.approx(
        own.average_precision(scores[:, 1], labels)
    )
    assert people.balanced_accuracy(scores, labels, person).over(one)[0] == pytest.approx(
        own.balanced_accuracy(scores.argmax(1), labels)
    )


def test_many_classes_are_the_mean_of_one_against_the_rest():
    rng = np.random.default_rng(0)
    labels, person = rng.integers(0, 3, 70), rng.integers(0, 5, 70)
    scores = rng.dirichlet(np.ones(3), size=70) + 0.3 * np.eye(3)[labels]
    scores /= scores.sum(axis=1, keepdims=True)
    area = people.auroc(scores, labels, person).over(np.ones((1, 5)))[0]
    assert area == pytest.approx(sk.roc_auc_score(labels, scores, multi_class="ovr", average="macro"))
    precision = people.average_precision(scores, labels, person).over(np.ones((1, 5)))[0]
    assert precision == pytest.approx(sk.average_precision_score(np.eye(3)[labels], scores, average="macro"))


def test_mean_of_people_counts_only_people_with_both_classes():
    labels = np.array([0, 1, 1, 0, 0, 1, 0])
    person = np.array([0, 0, 0, 1, 1, 2, 2])
    score = np.array([0.1, 0.9, 0.05, 0.3, 0.2, 0.4, 0.6])
    scores = np.stack([1 - score, score], axis=1)
    found = people.auroc(scores, labels, person, within_person=True)
    assert found.people == 2
    assert found.over(np.ones((1, 3)))[0] == pytest.approx((0.5 + 0.0) / 2)
    assert found.over(np.array([[3.0, 1.0, 1.0]]))[0] == pytest.approx((3 * 0.5 + 0.0) / 4)


def test_one_class_in_a_draw_is_nan_not_a_number(sample):
    scores, _, person = sample
    labels = (person == 0).astype(np.int64)
    counts = np.array([[1.0] * PEOPLE, [0.0, *[1.0] * (PEOPLE - 1)]])
    values = people.auroc(scores, labels, person).over(counts)
    assert np.isfinite(values[0])
    assert np.isnan(values[1])


def test_median_is_that_of_the_repeated_rows():
    value = np.array([5.0, 1.0, 9.0, 4.0, 7.0])
    person = np.array([0, 0, 1, 1, 2])
    found = people.median(value, person).over(np.array([[1.0, 1.0, 1.0], [2.0, 0.0, 1.0]]))
    assert list(found) == [5.0, 5.0]


def test_interval_covers_the_truth_about_as_often_as_it_says():
    """The mean of 25 normal people: a 95 % interval should hold the truth in most of 200 cohorts."""
    rng = np.random.default_rng(0)
    hits = 0
    for cohort in range(200):
        counts = people.people_draws(25, draws=300, seed=cohort)
        low, high = people.interval(people.mean_of_people(rng.normal(3.0, 1.0, 25)).over(counts))
        hits += low <= 3.0 <= high
    assert 0.87 <= hits / 200 <= 0.98


def test_interval_is_withheld_when_most_draws_fail():
    assert people.interval(np.array([1.0, np.nan, np.nan, 2.0])) == (None, None)
    assert people.interval(np.array([1.0, 2.0, 2.0, np.nan])) == (2.0, 2.0)


def test_draws_start_with_the_sample_and_keep_the_number_of_people():
    counts = people.people_draws(7, draws=50, seed=1)
    assert counts.shape == (51, 7)
    assert (counts[0] == 1).all()
    assert (counts.sum(axis=1) == 7).all()
    assert np.array_equal(counts, people.people_draws(7, draws=50, seed=1))
