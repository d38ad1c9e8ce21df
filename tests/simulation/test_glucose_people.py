"""The virtual people: drawn by seed alone, at rest where they should be, with ratios that the model itself confirms."""

import numpy as np
import pytest

from hdt_fm.schema.errors import ConfigError, UnknownNameError
from hdt_fm.simulation.glucose_run import simulate
from hdt_fm.simulation.virtual_people import (
    AGES,
    BASAL_RANGE,
    CARBS_RANGE,
    CORRECTION_RANGE,
    FASTING_RANGE,
    VirtualPeople,
    draw_people,
)

TEN = dict.fromkeys(AGES, 10)


@pytest.fixture(scope="module", params=[0, 1, 2])
def thirty(request) -> VirtualPeople:
    return draw_people(TEN, seed=request.param)


def of_age(people: VirtualPeople, age: str) -> VirtualPeople:
    return people.take(np.flatnonzero(np.array(people.ages) == age))


def test_everybody_is_within_what_bodies_are(thirty):
    people = thirty.people
    assert len(thirty) == len(people) == 30
    assert len(set(thirty.codes)) == 30
    daily_per_kg = 24 * people.basal_units_per_hour / people.bw
    for values, (low, high) in (
        (thirty.fasting_mg_dl, FASTING_RANGE),
        (thirty.carbs_g_per_unit, CARBS_RANGE),
        (thirty.correction_mg_dl_per_unit, CORRECTION_RANGE),
        (daily_per_kg, BASAL_RANGE),
        (people.bw, (18.0, 140.0)),
        (people.vg, (1.4, 2.4)),
        (people.vi, (0.03, 0.08)),
        (people.ib, (50.0, 160.0)),
        (1 / people.ksc, (4.0, 25.0)),
        (people.kmin / people.kmax, (0.0, 0.5)),
    ):
        assert ((values >= low) & (values <= high)).all()
    # Total insulin of a day, basal and meals of 2.5 g/kg, as clinics know it: .3 to 1.5 U/kg.
    total = daily_per_kg + 2.5 / thirty.carbs_g_per_unit
    assert ((total > 0.15) & (total < 1.5)).all()


def test_ages_differ_as_they_do(thirty):
    adult, adolescent, child = (of_age(thirty, age) for age in AGES)
    assert adult.people.bw.mean() > adolescent.people.bw.mean() > child.people.bw.mean()
    basal = [np.mean(group.people.basal_units_per_hour) for group in (adult, adolescent, child)]
    assert basal[0] > basal[1] > basal[2]
    assert np.median(child.correction_mg_dl_per_unit) > 1.5 * np.median(adult.correction_mg_dl_per_unit)
    assert np.median(child.carbs_g_per_unit) > np.median(adult.carbs_g_per_unit)


def test_they_rest_at_their_fasting_glucose(thirty):
    rest = thirty.people.rest()
    np.testing.assert_allclose(rest[3] / thirty.people.vg, thirty.fasting_mg_dl, rtol=1e-9)
    np.testing.assert_allclose(rest[5] / thirty.people.vi, thirty.people.ib, rtol=1e-9)
    np.testing.assert_allclose(rest[6], 0, atol=1e-9)


def test_the_ratios_do_what_they_say(thirty):
    """A meal with its dose ends where it began; a unit takes off what CF says."""
    weight, nothing = thirty.people.bw, np.zeros((30, 360))
    meals, doses = nothing.copy(), nothing.copy()
    meals[:, 0] = 0.7 * weight
    doses[:, 0] = meals[:, 0] / thirty.carbs_g_per_unit
    glucose = simulate(thirty.people, meals, doses).tissue_mg_dl
    np.testing.assert_allclose(glucose[:, 60], glucose[:, 0], atol=2.0)
    doses[:, 0] = 0.03 * weight
    glucose = simulate(thirty.people, nothing, doses).tissue_mg_dl
    fell = glucose[:, 0] - glucose.min(axis=1)
    np.testing.assert_allclose(fell, doses[:, 0] * thirty.correction_mg_dl_per_unit, rtol=1e-9)


def test_who_a_person_is_rests_on_seed_age_and_number():
    all_of_them, few = draw_people(TEN, seed=4), draw_people({"child": 2, "adult": 3}, seed=4)
    assert few.codes == ("child-01", "child-02", "adult-01", "adult-02", "adult-03")
    rows = np.array([all_of_them.codes.index(code) for code in few.codes])
    same = all_of_them.take(rows)
    for name in vars(few.people):
        np.testing.assert_array_equal(getattr(same.people, name), getattr(few.people, name))
    np.testing.assert_array_equal(same.carbs_g_per_unit, few.carbs_g_per_unit)
    np.testing.assert_array_equal(same.correction_mg_dl_per_unit, few.correction_mg_dl_per_unit)
    other = draw_people({"child": 2, "adult": 3}, seed=5)
    assert not np.isin(other.people.bw, few.people.bw).any()
    # A number whose distribution is that of every age: the first adult is not the first child, scaled.
    assert len(np.unique(all_of_them.people.kabs)) == 30


@pytest.mark.parametrize("seed", [-1, 0])
def test_what_cannot_be_drawn_is_refused(seed):
    with pytest.raises(UnknownNameError, match="toddler"):
        draw_people({"toddler": 1}, seed=0)
    with pytest.raises(ConfigError, match="Nobody"):
        draw_people({"adult": 0 if seed == 0 else 1}, seed=seed)
    with pytest.raises(ConfigError, match="Nobody"):
        draw_people({"adult": 2, "child": -1}, seed=0)
