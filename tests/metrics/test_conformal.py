"""Intervals that hold: hand numbers, and the promise on people who are unlike those who set it."""

import numpy as np
import pytest

from hdt_fm.metrics.conformal import RATE, online_shift, scores_of, split_shift


def test_scores_are_distances_outside_positive():
    low, high, truth = np.zeros(4), np.full(4, 10.0), np.array([-3.0, 2.0, 9.0, 14.0])
    assert scores_of(low, high, truth).tolist() == [3.0, -2.0, -1.0, 4.0]


def test_a_split_shift_covers_each_person_alike():
    person = np.repeat([0, 1], [1000, 10])
    truth = np.where(person == 0, 0.0, 100.0)
    assert split_shift(np.zeros(1010), np.zeros(1010), truth, person, 0.8) == 100.0


def test_a_split_shift_of_nothing_known_is_none():
    nothing = np.full(3, np.nan)
    assert split_shift(np.zeros(3), np.ones(3), nothing, np.zeros(3, dtype=np.int64), 0.8) == 0.0


def shift_of(truth, *, half_width=1.0, horizon_s=3600.0, start=0.0, coverage=0.8):
    low, high = np.full(len(truth), -half_width), np.full(len(truth), half_width)
    time_s = 1800.0 * np.arange(len(truth))
    return online_shift(time_s, low, high, truth, horizon_s=horizon_s, start=start, spread=1.0, coverage=coverage)


def test_a_truth_is_known_only_when_it_has_come():
    shift = shift_of(np.full(6, 1e6))  # always missed
    assert shift[:2].tolist() == [0.0, 0.0]
    assert np.diff(shift[1:]) == pytest.approx(np.full(4, RATE * 0.8))


def test_a_hit_narrows_and_an_unknown_truth_teaches_nothing():
    shift = shift_of(np.array([0.0, np.nan, 0.0, 0.0, 0.0]))
    assert shift == pytest.approx([0, 0, -0.2 * RATE, -0.2 * RATE, -0.4 * RATE])


def test_later_truths_change_nothing_before():
    truth = np.random.default_rng(0).normal(0, 3, 200)
    other = truth.copy()
    other[100:] *= 50
    # What came true at 100 is known two places later.
    assert np.array_equal(shift_of(truth)[:102], shift_of(other)[:102])


@pytest.mark.parametrize("wildness", [0.3, 1.0, 5.0])
def test_the_share_comes_right_for_anyone(wildness):
    truth = np.random.default_rng(1).normal(0, wildness, 8000)
    shift = shift_of(truth, half_width=1.28)
    inside = np.abs(truth) <= 1.28 + shift
    assert inside[1000:].mean() == pytest.approx(0.8, abs=0.02)
