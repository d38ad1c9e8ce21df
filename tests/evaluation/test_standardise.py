"""Own-session scaling and own-start baselines by hand numbers."""

import numpy as np
import pytest

from hdt_fm.evaluation.standardise import (
    after_own_start,
    embedding_features,
    minus_own_start,
    recent_mean,
    scaled_per_person,
)

SUBJECT = np.array([0, 0, 0, 1, 1, 1, 1])
TIME = np.array([10.0, 70.0, 130.0, 500.0, 560.0, 620.0, 680.0])


def test_scaled_per_person_has_each_persons_mean_zero_and_deviation_one():
    x = np.random.default_rng(0).normal(5.0, 3.0, (7, 2))
    scaled = scaled_per_person(x, SUBJECT)
    for person in (0, 1):
        own = scaled[person == SUBJECT]
        assert np.allclose(own.mean(axis=0), 0)
        assert np.allclose(own.std(axis=0), 1)


def test_own_start_uses_only_windows_that_end_within_it():
    """Two minutes, 60-s windows: the first two windows of each person are the baseline."""
    x = np.array([[1.0], [3.0], [9.0], [10.0], [20.0], [30.0], [np.nan]])
    got = minus_own_start(x, SUBJECT, TIME, minutes=2.0, window_s=60.0)[:, 0]
    assert list(got[:6]) == [-1.0, 1.0, 7.0, -5.0, 5.0, 15.0]
    assert np.isnan(got[6])
    assert list(after_own_start(SUBJECT, TIME, minutes=2.0)) == [False, False, True, False, False, True, True]


def test_a_window_that_straddles_the_end_is_neither_baseline_nor_scored():
    x = np.array([[1.0], [3.0], [9.0], [0.0], [0.0], [0.0], [0.0]])
    got = minus_own_start(x, SUBJECT, TIME, minutes=1.5, window_s=60.0)[:, 0]
    assert list(got[:3]) == [0.0, 2.0, 8.0]
    assert list(after_own_start(SUBJECT, TIME, minutes=1.5))[:3] == [False, False, True]


def test_the_recent_mean_looks_back_over_one_person_and_never_ahead():
    """Two minutes: windows that start less than 120 s before; the last value of person 1 is unknown."""
    x = np.array([[1.0], [3.0], [9.0], [10.0], [20.0], [30.0], [np.nan]])
    got = recent_mean(x, SUBJECT, TIME, minutes=2.0)[:, 0]
    assert got.tolist() == [1.0, 2.0, 6.0, 10.0, 15.0, 25.0, 30.0]
    shuffled = np.random.default_rng(0).permutation(7)
    assert (
        recent_mean(x[shuffled], SUBJECT[shuffled], TIME[shuffled], minutes=2.0)[:, 0].tolist()
        == got[shuffled].tolist()
    )
    x[2] = 1e9
    assert recent_mean(x, SUBJECT, TIME, minutes=2.0)[:2, 0].tolist() == [1.0, 2.0]


def test_nothing_known_in_the_last_minutes_stays_unknown():
    x = np.array([[1.0], [np.nan], [np.nan], [np.nan], [1.0], [2.0], [3.0]])
    got = recent_mean(x, SUBJECT, TIME, minutes=1.0)[:, 0]
    assert np.isnan(got[1:4]).all()
    assert got[0] == 1


def test_a_feature_not_known_in_the_start_stays_unknown():
    x = np.array([[np.nan], [np.nan], [9.0], [1.0], [1.0], [1.0], [1.0]])
    assert np.isnan(minus_own_start(x, SUBJECT, TIME, minutes=2.0, window_s=60.0)[2, 0])


def test_absent_modalities_are_unknown_and_presence_is_a_feature_where_it_varies(make_table):
    table = make_table()
    features = embedding_features(table)
    assert features.shape == (len(table), 3 * 5 + 2)
    assert np.isnan(features[~table.present[:, 1], 5:10]).all()
    assert np.isfinite(features[table.present[:, 1], 5:10]).all()
    assert np.array_equal(features[:, 15], table.present[:, 1].astype(float))
    assert features.dtype == np.float64
    assert table.embeddings[0, 0, 0] == pytest.approx(features[0, 0])
