"""Lives that change on a day: like lives that do not up to it, and as the published loop where nothing changes."""

from dataclasses import replace

import numpy as np
import pytest

from hdt_fm.simulation.glucose_drift import GAIN, KINDS, Sizes, World, less_sensitive, lived, world_of
from hdt_fm.simulation.glucose_habits import READINGS_PER_DAY, Policy, draw_days
from hdt_fm.simulation.glucose_life import live
from hdt_fm.simulation.virtual_people import draw_people

SIZES = Sizes(train=1, setting=1, well=2, changed=1, days=2, onset=(1, 2))


@pytest.fixture(scope="module")
def world() -> World:
    return world_of(3, SIZES)


def life(world: World, kind: str) -> World:
    return world.take(world.rows(kind)[:1])


def test_where_nothing_changes_it_is_the_closed_loop_to_the_last_bit():
    people = draw_people({"adult": 1, "child": 1}, seed=1)
    days = draw_days(people, [0, 0], days=1, seed=1)
    same = np.ones((1, 2))
    tissue, bolus = lived(people, days, Policy(), sensitivity=same, gain=same)
    history, _ = live(people, days, Policy())
    assert np.array_equal(bolus, history.bolus_units)
    assert np.array_equal(tissue, history.tissue_mg_dl)


def test_less_sensitive_people_rest_where_they_did():
    people = draw_people({"adolescent": 3}, seed=1).people
    weaker = less_sensitive(people, np.array([1.0, 0.7, 0.5]))
    assert weaker.rest() == pytest.approx(people.rest())
    assert weaker.vmx / people.vmx == pytest.approx([1.0, 0.7, 0.5])


@pytest.mark.parametrize("kind", KINDS)
def test_up_to_the_day_it_is_the_same_life(world, kind):
    changed, well = life(world, kind), life(world, "well")
    assert changed.person == well.person
    for name in ("cgm", "right", "bolus", "carbs"):
        first, second = getattr(changed, name), getattr(well, name)
        assert np.array_equal(first[:, :READINGS_PER_DAY], second[:, :READINGS_PER_DAY])


def test_each_change_is_what_it_is_called(world):
    after = slice(READINGS_PER_DAY, None)
    gain, weak, doses, meals = (life(world, kind) for kind in KINDS)
    well = life(world, "well")
    # Where neither is cut off and the noise is small beside, shown over right is the gain.
    inside = (gain.cgm[:, after] < 399) & (gain.right[:, after] > 100)
    assert np.median((gain.cgm / gain.right)[:, after][inside]) == pytest.approx(GAIN, abs=0.01)
    assert weak.cgm[:, after].mean() > well.cgm[:, after].mean()
    assert np.array_equal(weak.cgm, weak.right)
    assert not doses.bolus[:, after].any()
    assert np.array_equal(doses.cgm, well.cgm)
    assert np.array_equal(doses.carbs, well.carbs)
    assert not meals.carbs[:, after].any()
    assert np.array_equal(meals.bolus, well.bolus)


def test_a_still_world_has_other_days_and_who_is_who_stays(world):
    still = world_of(3, replace(SIZES, still=True))
    assert np.array_equal(still.person, world.person)
    assert not np.array_equal(still.cgm, world.cgm)
