"""Floors in a world with an answer: told alike, the same twice, and blind to what comes after a moment."""

from dataclasses import replace

import numpy as np
import pytest

from hdt_fm.evaluation import what_if_floors as floors
from hdt_fm.evaluation.what_if import Answer, Fit
from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.lives import Asked, Lives

MINUTES, STEPS, EVERY = (60, 120), 4 * 288, 97
PER_UNIT, PER_GRAM = np.array([-4.0, -10.0]), np.array([0.3, 0.6])


def linear_world(people: int, first: int, seed: int) -> Lives:
    """Glucose is 120, but an hour and two after a meal what dose and meal made of it; everybody alike."""
    generator = np.random.default_rng(seed)
    count = 2 * people
    carbs = np.zeros((count, STEPS))
    carbs[:, EVERY::EVERY] = generator.uniform(20, 80, size=carbs[:, EVERY::EVERY].shape)
    bolus = np.where(carbs > 0, generator.uniform(0, 8, size=carbs.shape), 0.0)
    glucose = 120 + np.zeros_like(carbs)
    for place, minute in enumerate(MINUTES):
        after = PER_GRAM[place] * carbs + PER_UNIT[place] * bolus
        glucose[:, minute // 5 :] += after[:, : -(minute // 5)]
    return Lives(
        person=np.repeat(np.arange(people), 2) + first,
        glucose_mg_dl=glucose,
        bolus_units=bolus,
        carbs_g=carbs,
        basal_units_per_hour=np.ones(count),
    )


def questions(lives: Lives) -> Asked:
    life, time = np.nonzero(lives.carbs_g[:, :-30] > 0)
    dose, carbs = np.array([2.0, 5.0, 5.0]), np.array([40.0, 40.0, 60.0])
    return Asked(
        life=life,
        time=time,
        dose_units=np.tile(dose, (len(life), 1)),
        carbs_g=np.tile(carbs, (len(life), 1)),
        contrasts=((1, 0), (2, 1)),
        minutes=MINUTES,
    )


ALL = {
    "forecast alone": floors.forecast_alone(MINUTES),
    "ridge": floors.ridge(MINUTES),
    "LightGBM": floors.lightgbm(MINUTES, trees=30),
    "plain GRU": floors.plain_gru(MINUTES, epochs=3),
}


@pytest.fixture(scope="module")
def asked_of() -> tuple[Lives, Lives, Lives, Asked]:
    test = linear_world(2, 9, seed=1)
    own, taught = test.take(np.array([0, 2])), test.take(np.array([1, 3]))
    return linear_world(9, 0, seed=0), own, taught, questions(own)


def test_ridge_is_exact_where_the_world_is_linear(asked_of: tuple[Lives, Lives, Lives, Asked]) -> None:
    train, own, taught, asked = asked_of
    level = ALL["ridge"](train, 0)(own, taught, asked).level
    assert level[:, 1] - level[:, 0] == pytest.approx(np.tile(3 * PER_UNIT, (len(asked), 1)), abs=0.5)
    assert level[:, 2] - level[:, 1] == pytest.approx(np.tile(20 * PER_GRAM, (len(asked), 1)), abs=0.5)
    assert level[:, 0] == pytest.approx(np.tile(120 + 2 * PER_UNIT + 40 * PER_GRAM, (len(asked), 1)), abs=1.0)


def test_who_reads_no_plan_says_the_same_of_all(asked_of: tuple[Lives, Lives, Lives, Asked]) -> None:
    train, own, taught, asked = asked_of
    level = ALL["forecast alone"](train, 0)(own, taught, asked).level
    assert (level == level[:, :1]).all()


def test_trees_and_net_learn_the_direction(asked_of: tuple[Lives, Lives, Lives, Asked]) -> None:
    train, own, taught, asked = asked_of
    for fit in (floors.lightgbm(MINUTES, trees=200), floors.plain_gru(MINUTES, epochs=60)):
        level = fit(train, 0)(own, taught, asked).level
        # Six lives teach a net the direction and about the size, no more: a third to three times.
        for found, true in ((level[:, 1] - level[:, 0], 3 * PER_UNIT), (level[:, 2] - level[:, 1], 20 * PER_GRAM)):
            share = found.mean(axis=0) / true
            assert ((share > 1 / 3) & (share < 3)).all()


@pytest.mark.parametrize("fit", ALL.values(), ids=ALL.keys())
def test_the_same_twice_and_nothing_later_is_read(fit: Fit, asked_of: tuple[Lives, Lives, Lives, Asked]) -> None:
    train, own, taught, asked = asked_of
    answer: Answer = fit(train, 0)
    level = answer(own, taught, asked).level
    assert np.array_equal(level, fit(train, 0)(own, taught, asked).level)
    at = int(np.median(asked.time))
    cut = {name: getattr(own, name).copy() for name in ("glucose_mg_dl", "bolus_units", "carbs_g")}
    cut["glucose_mg_dl"][:, at + 1 :] = 300.0
    cut["bolus_units"][:, at:], cut["carbs_g"][:, at:] = 9.0, 90.0
    rows = np.flatnonzero(asked.time <= at)
    after = answer(replace(own, **cut), taught, asked.take(rows, asked.life[rows])).level
    # A net adds up in another order when fewer are asked.
    assert after == pytest.approx(level[rows], abs=1e-3)


@pytest.mark.parametrize("fit", ALL.values(), ids=ALL.keys())
def test_a_plan_changes_no_other(fit: Fit, asked_of: tuple[Lives, Lives, Lives, Asked]) -> None:
    train, own, taught, asked = asked_of
    answer = fit(train, 0)
    level = answer(own, taught, asked).level
    dose = asked.dose_units.copy()
    dose[:, 2] = 50.0
    other = answer(own, taught, replace(asked, dose_units=dose)).level
    assert other[:, :2] == pytest.approx(level[:, :2], abs=1e-4)


def test_rows_to_learn_from_by_hand() -> None:
    lives = linear_world(2, 0, seed=3)
    # A dose half an hour after the meal of the second life: what came in an hour is not the meal's alone.
    bolus = lives.bolus_units.copy()
    bolus[1, EVERY + 6] = 1.0
    own = replace(lives, bolus_units=bolus)
    _, change = floors.training_rows(own, MINUTES)
    meals = sum(len(asked) for *_, asked, _ in floors.taught_meals(own, MINUTES))
    assert change.shape == (meals, 2)
    assert (~np.isfinite(change)).sum() == 2
    found = [pair for pair in floors.taught_meals(own, MINUTES) if 0 in pair[0].person]
    first, _, asked, moved = found[0]
    place = int(np.flatnonzero((asked.life == 0) & (asked.time == 2 * EVERY))[0])
    units, grams = first.bolus_units[0, 2 * EVERY], first.carbs_g[0, 2 * EVERY]
    assert moved[place] == pytest.approx(PER_GRAM * grams + PER_UNIT * units)


def test_features_by_hand() -> None:
    lives = linear_world(1, 0, seed=4)
    own, taught = lives.take(np.array([0])), lives.take(np.array([1])).first_meals(4)
    asked = questions(own).take(np.array([1]), np.array([0]))
    features = floors.features_of(own, taught, asked)[0]
    time = int(asked.time[0])
    assert features[0, : len(floors.BACK_MINUTES)] == pytest.approx(
        own.glucose_mg_dl[0, [time - minutes // 5 for minutes in floors.BACK_MINUTES]]
    )
    units = own.bolus_units[0]
    at = len(floors.BACK_MINUTES)
    expected = [units[time - hours * 12 : time].sum() for hours in floors.HOURS_TAKEN]
    assert features[0, at : at + len(expected)] == pytest.approx(expected)
    known = np.isfinite(taught.glucose_mg_dl[0])
    ratio = taught.bolus_units[0, known].sum() / taught.carbs_g[0, known].sum()
    reading = own.glucose_mg_dl[0, time]
    plan = [5.0, 60.0, 5.0, 60.0, 5.0 * reading / 100, 60 * ratio]
    assert features[2, -len(floors.PLAN_FEATURES) :] == pytest.approx(plan)
    assert (features[:, : -len(floors.PLAN_FEATURES)] == features[:1, : -len(floors.PLAN_FEATURES)]).all()


def test_nobody_known_has_habits_all_the_same() -> None:
    lives = linear_world(2, 0, seed=5)
    own, taught = lives.take(np.array([0, 2])), lives.take(np.array([1, 3])).first_meals(0)
    assert np.isfinite(floors.features_of(own, taught, questions(own))).all()


def test_without_lightgbm_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "lightgbm", None)
    with pytest.raises(ConfigError, match="LightGBM is not installed"):
        floors.lightgbm(MINUTES)
