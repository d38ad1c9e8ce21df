"""A person's own last layer: another implementation, no truth before it came, and sums alone."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from hdt_fm.schema.series import DAY_S
from hdt_fm.twin.own_layer import OwnLayer, followed, followed_people

HORIZONS = (1800.0, 7200.0)


def rows(days=12, seed=0, width=6):
    generator = np.random.default_rng(seed)
    time_s = np.arange(0.0, days * DAY_S, 1800.0)
    features = generator.normal(size=(len(time_s), width))
    return time_s, features, features[:, :2] * 20 + generator.normal(size=(len(time_s), 2))


def test_corrections_are_those_of_a_ridge():
    _, features, missed = rows()
    layer = OwnLayer(width=6, horizons=2, strength=3.0)
    layer.learn(features[:200], missed[:200])
    given = np.concatenate([features, np.ones((len(features), 1))], axis=1) / np.sqrt(7)
    other = Ridge(alpha=3.0, fit_intercept=False).fit(given[:200], missed[:200])
    assert layer.correction(features) == pytest.approx(other.predict(given))


def test_rows_may_come_one_by_one_and_unknown_ones_are_left_out():
    _, features, missed = rows()
    whole, parts = (OwnLayer(width=6, horizons=2) for _ in range(2))
    missed[5:9, 1] = np.nan
    whole.learn(features, missed)
    for row in range(len(features)):
        parts.learn(features[row : row + 1], missed[row : row + 1])
    assert parts.correction(features) == pytest.approx(whole.correction(features))
    assert whole.seen.tolist() == [len(features), len(features) - 4]


def test_nothing_learned_corrects_nothing():
    _, features, _ = rows()
    assert (OwnLayer(width=6, horizons=2).correction(features) == 0).all()


def test_a_truth_teaches_only_days_that_begin_after_it_came():
    time_s, features, missed = rows()
    before = followed(time_s, features, missed, HORIZONS)
    place = (
        5 * 48 - 2
    )  # an hour before midnight: the truth half an hour on comes on that day, that of two hours after it
    other = missed.copy()
    other[place] += 1e4
    after = followed(time_s, features, other, HORIZONS)
    changed = [np.flatnonzero(before[:, column] != after[:, column]) for column in range(2)]
    assert changed[0][0] == 5 * 48
    assert changed[1][0] == 6 * 48


def test_the_first_day_is_as_it_was_and_later_days_miss_less():
    time_s, features, missed = rows(days=20)
    added = followed(time_s, features, missed, HORIZONS)
    assert (added[:48] == 0).all()
    late = time_s > 7 * DAY_S
    assert np.abs(missed - added)[late].mean() < 0.4 * np.abs(missed)[late].mean()


def test_a_first_week_alone_teaches_and_nothing_moves_before_its_end():
    time_s, features, missed = rows(days=20)
    settings = {"from_s": 7.0 * DAY_S, "until_s": 7.0 * DAY_S - 1}
    added = followed(time_s, features, missed, HORIZONS, **settings)
    assert (added[time_s < 7 * DAY_S] == 0).all()
    other = missed.copy()
    other[time_s >= 7 * DAY_S] *= 9
    assert np.array_equal(followed(time_s, features, other, HORIZONS, **settings), added)
    layer = OwnLayer(width=6, horizons=2)
    week = time_s < 7 * DAY_S
    layer.learn(features[week], missed[week])
    assert added[-1] == pytest.approx(layer.correction(features[-1:])[0], rel=0.02)


def test_nobody_is_no_trouble():
    assert followed(np.zeros(0), np.zeros((0, 3)), np.zeros((0, 2)), HORIZONS).shape == (0, 2)


def test_people_follow_themselves_alone_in_whatever_order_rows_come():
    time_s, features, missed = rows()
    twice = np.concatenate([time_s, time_s + 7.0])
    both, errors = np.concatenate([features, features[::-1]]), np.concatenate([missed, -missed])
    subject = np.repeat([4, 9], len(time_s))
    mixed = np.random.default_rng(1).permutation(len(twice))
    found = followed_people(subject[mixed], twice[mixed], both[mixed], errors[mixed], HORIZONS)
    first = np.flatnonzero(subject[mixed] == 4)
    ordered = first[np.argsort(twice[mixed][first])]
    assert np.array_equal(found[ordered], followed(time_s, features, missed, HORIZONS))
