"""Lives from series, by hand and against simulated lives that were taken apart before."""

import numpy as np
import pytest

from hdt_fm.schema.errors import ConfigError, UnknownNameError
from hdt_fm.schema.series import DAY_S, Series
from hdt_fm.signal.lives import NOBODYS_BASAL, OTHER_STEPS, UNKNOWN_STEPS, lives_of, whole_days
from hdt_fm.simulation.glucose_cohort import what_if_cohort

STEP, START, SIZE = 300.0, 1_000_000 * 300.0, 600


def made(values, *, subject=0, start_s=START, observed=None, step_s=STEP, group=None):
    values = np.asarray(values, dtype=np.float32)
    seen = np.ones(len(values), dtype=bool) if observed is None else observed
    return Series(values, seen, step_s, start_s, subject, subject if group is None else group)


def doses(at, **other):
    values = np.zeros(SIZE)
    for place, amount in at.items():
        values[place] = amount
    return made(values, **other)


def glucose(**other):
    return made(np.linspace(90, 200, SIZE), **other)


def test_a_sample_goes_into_the_column_that_ends_with_it():
    # The sample at 100 was given in the five minutes before reading 100, after reading 99.
    found = lives_of([glucose()], {"bolus": [doses({100: 4.0, 0: 9.0})], "carbs": [doses({200: 45.0, 203: 5.0})]})
    assert np.flatnonzero(found.bolus_units[0]).tolist() == [99]
    assert found.bolus_units[0, 99] == 4.0
    assert {int(at): float(found.carbs_g[0, at]) for at in np.flatnonzero(found.carbs_g[0])} == {199: 45.0, 202: 5.0}


@pytest.mark.parametrize("off_s", [0.0, 1.0, 120.0, 299.0, -60.0])
def test_nothing_later_leaks_before_a_reading_wherever_the_grid_lies(off_s):
    """A sample is whole when its own time has come; readings at or after that follow it, no reading before does."""
    found = lives_of([glucose()], {"bolus": [doses({100: 4.0}, start_s=START + off_s)], "carbs": [doses({1: 1.0})]})
    column = int(np.flatnonzero(found.bolus_units[0])[0])
    given_s, next_reading_s, own_reading_s = (
        START + off_s + 100 * STEP,
        START + (column + 1) * STEP,
        START + column * STEP,
    )
    assert given_s <= next_reading_s
    assert given_s > own_reading_s


def test_readings_are_hidden_while_it_is_not_known_what_was_taken_and_six_hours_more():
    seen = np.ones(SIZE, dtype=bool)
    seen[300:310] = False
    found = lives_of([glucose()], {"bolus": [doses({305: 4.0, 320: 1.0}, observed=seen)], "carbs": [doses({1: 1.0})]})
    there = np.isfinite(found.glucose_mg_dl[0])
    # Samples 300 to 309 are columns 299 to 308; reading 299 came before. The newest reading of all is told.
    want = np.ones(SIZE, dtype=bool)
    want[:UNKNOWN_STEPS] = want[300 : 309 + UNKNOWN_STEPS] = False
    assert np.array_equal(there, want)
    assert UNKNOWN_STEPS == 72
    assert np.flatnonzero(found.bolus_units[0]).tolist() == [319]
    assert found.glucose_mg_dl[0, 150] == pytest.approx(np.linspace(90, 200, SIZE)[150], abs=1e-4)


def test_somebody_without_a_log_of_meals_teaches_nothing():
    found = lives_of(
        [glucose(), glucose(subject=1, group=7)],
        {"bolus": [doses({100: 4.0}), doses({100: 2.0}, subject=1)], "carbs": [doses({1: 1.0})]},
    )
    assert np.isfinite(found.glucose_mg_dl[0]).any()
    assert np.isnan(found.glucose_mg_dl[1]).all()
    assert found.person.tolist() == [0, 7]
    assert found.bolus_units[1].sum() == 2.0


def test_readings_every_quarter_of_an_hour_leave_nan_between_and_lives_are_padded():
    slow = made(np.arange(100.0, 150.0), step_s=900.0, subject=3)
    taken = {"bolus": [doses({1: 1.0}), doses({1: 1.0, 500: 3.0}, subject=3)]}
    taken["carbs"] = [doses({1: 1.0}), doses({1: 1.0}, subject=3)]
    found = lives_of([glucose(), slow], taken)
    assert found.glucose_mg_dl.shape == (2, SIZE)
    known = np.flatnonzero(np.isfinite(found.glucose_mg_dl[1]))
    assert known.tolist() == list(range(72, 148, 3))
    assert found.glucose_mg_dl[1, 72] == 124.0
    # What is taken after a life's last reading is not in it.
    assert found.bolus_units[1].sum() == 1.0


def test_basal_insulin_is_what_is_known_best():
    person = {"bolus": [doses({100: 6.0, 400: 6.0})], "carbs": [doses({1: 1.0})]}
    slow = {"long_acting": [doses({5: 20.0})], "intermediate": [doses({9: 4.0})]}
    half = np.zeros(SIZE, dtype=bool)
    half[:300] = True
    rate = {"insulin_rate": [made(np.r_[np.full(300, 0.8), np.full(300, 9.0)], observed=half)]}
    # Samples at or before the first reading were taken before the life.
    hours = (SIZE - 1) / 12
    assert lives_of([glucose()], person | slow | rate).basal_units_per_hour[0] == pytest.approx(0.8)
    assert lives_of([glucose()], person | slow).basal_units_per_hour[0] == pytest.approx(24 / hours)
    assert lives_of([glucose()], person).basal_units_per_hour[0] == pytest.approx(12 / hours)
    nobody = lives_of([glucose()], {"bolus": [doses({})], "carbs": [doses({1: 1.0})]})
    assert nobody.basal_units_per_hour[0] == NOBODYS_BASAL
    assert np.isnan(nobody.glucose_mg_dl).all()


def test_what_a_pump_gives_beyond_its_mean_stands_in_the_step_that_it_gives_it_in():
    known = np.ones(SIZE, dtype=bool)
    known[400:] = False
    values = np.full(SIZE, 0.6)
    values[1:101] = 1.8
    rate = {"insulin_rate": [made(np.where(known, values, 0), observed=known)]}
    found = lives_of([glucose()], {"bolus": [doses({100: 6.0})], "carbs": [doses({1: 1.0})]} | rate)
    mean = (100 * 1.8 + 299 * 0.6) / 399
    assert found.basal_units_per_hour[0] == pytest.approx(mean)
    # Samples 1 to 399 are columns 0 to 398.
    want = np.r_[np.full(100, 1.8 - mean), np.full(299, 0.6 - mean), np.zeros(SIZE - 399)] / 12
    assert found.basal_change_units[0] == pytest.approx(want, abs=1e-6)
    assert found.basal_change_units[0].sum() == pytest.approx(0.0, abs=1e-5)


@pytest.mark.parametrize("name", sorted(OTHER_STEPS))
def test_after_other_insulin_readings_are_hidden_for_a_while(name):
    taken = {"bolus": [doses({200: 4.0})], "carbs": [doses({1: 1.0})]}
    plain = np.isfinite(lives_of([glucose()], taken).glucose_mg_dl[0])
    found = np.isfinite(lives_of([glucose()], taken | {name: [doses({151: 10.0})]}).glucose_mg_dl[0])
    want = plain.copy()
    want[151 : 151 + OTHER_STEPS[name]] = False
    assert np.array_equal(found, want)


def test_simulated_lives_come_back_from_their_series():
    history = what_if_cohort(seed=0, train_per_age=1, test_per_age=1, replicates=1, days=3).train
    lives, size = history.bolus_units.shape
    series = [made(history.cgm_mg_dl[one], subject=one) for one in range(lives)]

    def ending(table):
        # A column's amounts are those of the sample at its end.
        return [made(table[one], subject=one, start_s=START + STEP) for one in range(lives)]

    given = {"bolus": ending(history.bolus_units), "carbs": ending(history.carbs_g)}
    found = lives_of(series, given)
    assert found.bolus_units == pytest.approx(history.bolus_units)
    assert found.carbs_g == pytest.approx(history.carbs_g)
    assert found.glucose_mg_dl[:, UNKNOWN_STEPS:] == pytest.approx(history.cgm_mg_dl[:, UNKNOWN_STEPS:], abs=1e-4)
    assert found.basal_units_per_hour == pytest.approx(history.bolus_units[:, :-1].sum(1) / (size - 1) * 12, rel=0.05)


@pytest.mark.parametrize("offset_s", [0.0, 3600.0, -5 * 3600.0])
def test_whole_days_begin_at_local_midnight_and_hold_every_reading(offset_s):
    seen = np.arange(SIZE) % 7 != 0
    one = Series(np.arange(SIZE, dtype=np.float32), seen, STEP, START, 4, 9, utc_offset_s=offset_s)
    parts = whole_days(one, 1)
    assert all((part.start_s + offset_s) % DAY_S == 0 for part in parts)
    assert all(len(part) == 288 for part in parts[:-1])
    assert {(part.subject, part.group, part.utc_offset_s) for part in parts} == {(4, 9, offset_s)}
    found = {
        part.start_s + place * STEP: part.values[place] for part in parts for place in np.flatnonzero(part.observed)
    }
    assert found == {START + place * STEP: float(place) for place in np.flatnonzero(seen)}


def test_errors_say_what_to_do():
    taken = {"bolus": [doses({1: 1.0})], "carbs": [doses({1: 1.0})]}
    with pytest.raises(UnknownNameError, match="long_acting"):
        lives_of([glucose()], taken | {"long_actin": []})
    with pytest.raises(ConfigError, match="without carbs"):
        lives_of([glucose()], {"bolus": taken["bolus"]})
    with pytest.raises(ConfigError, match="0 series of glucose"):
        lives_of([], taken)
    with pytest.raises(ConfigError, match="treatments_5min"):
        lives_of([glucose()], taken | {"carbs": [doses({1: 1.0}, step_s=900.0)]})
    with pytest.raises(ConfigError, match=r"glucose also every \[420.0\] s"):
        lives_of([made(np.ones(9), step_s=420.0)], taken)
