"""Doses and meals in lives: what is one action, and what was known before it; by hand."""

import numpy as np
import pytest

from hdt_fm.schema.lives import Lives
from hdt_fm.twin.what_if.actions import FEATURES, Actions, actions_of, moments_at


def lives(steps: int = 600, rows: int = 2) -> Lives:
    generator = np.random.default_rng(0)
    empty = np.zeros((rows, steps))
    return Lives(
        person=np.arange(rows) + 7,
        glucose_mg_dl=120 + 20 * generator.normal(size=(rows, steps)),
        bolus_units=empty,
        carbs_g=empty.copy(),
        basal_units_per_hour=np.array([1.0, 0.5, 2.0])[:rows],
    )


def feature(actions: Actions, name: str) -> np.ndarray:
    return actions.moment[:, FEATURES.index(name)]


def test_what_is_taken_within_a_quarter_of_an_hour_is_one_action_at_its_first_step():
    some = lives()
    some.bolus_units[0, [50, 52]] = 2.0, 1.5
    some.carbs_g[0, [51, 53, 54]] = 30.0, 10.0, 5.0
    some.carbs_g[1, 400] = 60.0
    found = actions_of(some)
    assert found.dose.tolist() == [[3.5, 40.0], [0.0, 5.0], [0.0, 60.0]]
    assert found.time.tolist() == [50, 54, 400]
    assert found.life.tolist() == [0, 0, 1]
    assert found.person.tolist() == [7, 7, 8]
    assert len(found) == 3


def test_what_was_known_before_by_hand():
    some = lives()
    some.bolus_units[0, 50] = 4.0
    some.carbs_g[0, 50] = 60.0
    some.bolus_units[0, 74] = 1.0
    found = actions_of(some)
    assert feature(found, "glucose").tolist() == some.glucose_mg_dl[0, [50, 74]].tolist()
    change = some.glucose_mg_dl[0, [50, 74]] - some.glucose_mg_dl[0, [44, 68]]
    assert feature(found, "change") == pytest.approx(change)
    # Two hours are one time constant of insulin and two of a meal; what is taken now is not on board yet.
    assert feature(found, "insulin_on_board") == pytest.approx([0.0, 4 / np.e], abs=1e-12)
    assert feature(found, "carbs_on_board") == pytest.approx([0.0, 60 / np.e**2], abs=1e-12)
    assert feature(found, "basal") == pytest.approx([0.0, 0.0])
    assert feature(found, "hours_since").tolist() == [8.0, 2.0]


def test_nothing_there_or_after_moves_what_was_known_before():
    generator = np.random.default_rng(1)
    some, other = lives(), lives()
    for one in (some, other):
        one.bolus_units[:, 20:300:40], one.carbs_g[:, 20:300:40] = 3.0, 50.0
    other.bolus_units[:, 301:], other.carbs_g[:, 301:] = 9.0, 90.0
    other.bolus_units[:, 300], other.glucose_mg_dl[:, 301:] = 5.0, generator.uniform(40, 400, (2, 299))
    life, time = np.repeat([0, 1], 301), np.tile(np.arange(301), 2)
    assert np.array_equal(moments_at(some, life, time), moments_at(other, life, time), equal_nan=True)


def test_what_no_reading_tells_is_unknown():
    some = lives()
    some.glucose_mg_dl[0, 97:101] = np.nan
    some.bolus_units[0, [3, 100, 106, 200]] = 1.0
    found = actions_of(some)
    assert np.isnan(feature(found, "glucose")).tolist() == [False, True, False, False]
    assert np.isnan(feature(found, "change")).tolist() == [True, True, True, False]
    assert np.isfinite(found.moment[:, 2:]).all()


def test_a_slow_sensor_tells_its_newest_reading_of_a_quarter_of_an_hour():
    some = lives()
    between = np.arange(600) % 3 != 0
    some.glucose_mg_dl[:, between] = np.nan
    some.bolus_units[0, [99, 149]] = 1.0
    found, glucose = actions_of(some), some.glucose_mg_dl[0]
    assert feature(found, "glucose").tolist() == [glucose[99], glucose[147]]
    assert feature(found, "change") == pytest.approx([glucose[99] - glucose[93], glucose[147] - glucose[141]])


def test_basal_insulin_that_was_held_back_counts_against_what_is_on_board():
    some = lives()
    some.bolus_units[0, [50, 74]] = 4.0
    assert some.basal_change_units is not None
    some.basal_change_units[0, 50] = -1.0
    assert feature(actions_of(some), "insulin_on_board")[1] == pytest.approx(3 / np.e)


def test_days_are_those_of_the_record_and_lives_stay_apart():
    some = lives(steps=600, rows=3)
    some.carbs_g[:, [10, 290, 590]] = 30.0
    day = actions_of(some).day.reshape(3, 3)
    assert (day - day[:, :1]).tolist() == [[0, 1, 2]] * 3
    assert (np.diff(day[:, [0, 2]].reshape(-1))[1::2] > 1).all()


def test_nobody_did_anything():
    assert len(actions_of(lives())) == 0
    assert actions_of(lives()).moment.shape == (0, len(FEATURES))
