"""The head on people whom its own law made: it finds what doses do there, knows how well, and reads nothing later."""

from dataclasses import replace

import numpy as np
import pytest

from hdt_fm.heads.meal_response import MealResponse
from hdt_fm.layers import meal_law
from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.lives import Asked, Lives

DAYS, MINUTES = 4, (60, 120)
FIRST = np.array([meal_law.START[name] for name in meal_law.NUMBERS])


def world(people: int, first: int, seed: int, differ: float = 0.7) -> tuple[Lives, np.ndarray]:
    """Two lives of each; people differ in what insulin and meals do, and a sensor errs by 3 mg/dL."""
    generator = np.random.default_rng(seed)
    own = np.tile(FIRST, (people, 1))
    for name in ("uptake", "liver", "gain"):
        own[:, meal_law.NUMBERS.index(name)] += differ * generator.normal(size=people)
    own = np.repeat(own, 2, axis=0)
    carbs = np.zeros((len(own), DAYS * 288))
    carbs[:, 90::70] = generator.uniform(20, 60, size=carbs[:, 90::70].shape)
    bolus = carbs / 12 * np.exp(0.4 * generator.normal(size=carbs.shape))
    glucose = meal_law.play(own, bolus.T, carbs.T)[:-1].T + 3 * generator.normal(size=carbs.shape)
    person = np.repeat(np.arange(people), 2) + first
    basal = np.repeat(generator.uniform(0.5, 1.5, people), 2)
    made = Lives(person=person, glucose_mg_dl=glucose, bolus_units=bolus, carbs_g=carbs, basal_units_per_hour=basal)
    return made, own


def questions(lives: Lives) -> Asked:
    life, time = np.nonzero(lives.carbs_g[:, :-48] > 0)
    dose, carbs = lives.bolus_units[life, time][:, None], lives.carbs_g[life, time][:, None]
    return Asked(
        life=life,
        time=time,
        dose_units=dose * np.array([1.0, 0.0, 1.0]),
        carbs_g=carbs * np.array([1.0, 1.0, 0.5]),
        contrasts=((0, 1), (0, 2), (2, 1)),
        minutes=MINUTES,
    )


@pytest.fixture(scope="module")
def learned() -> MealResponse:
    lives, _ = world(8, 0, seed=0)
    model = MealResponse(minutes=MINUTES)
    model.learn(lives.take(np.arange(0, 16, 2)), lives.take(np.arange(1, 16, 2)))
    return model


@pytest.fixture(scope="module")
def asked_of() -> tuple[Lives, Lives, Asked, np.ndarray]:
    lives, own = world(4, 8, seed=1)
    mine, other = lives.take(np.arange(0, 8, 2)), lives.take(np.arange(1, 8, 2))
    asked = questions(mine)
    numbers = own[::2][asked.life]
    board = meal_law.play(own[::2], mine.bolus_units.T, mine.carbs_g.T, every_state=True)[asked.time, :, asked.life].T
    truth = []
    for plan in range(3):
        units, grams = np.zeros((24, len(asked))), np.zeros((24, len(asked)))
        units[0], grams[0] = asked.dose_units[:, plan], asked.carbs_g[:, plan]
        truth.append(meal_law.play(numbers, units, grams, start=board)[[12, 24]].T)
    return mine, other, asked, np.stack(truth, axis=1).clip(39, 400)


def test_effects_are_found_from_what_was_shown(
    learned: MealResponse, asked_of: tuple[Lives, Lives, Asked, np.ndarray]
) -> None:
    mine, other, asked, truth = asked_of
    missed = []
    for meals in (0, 99):
        level = learned.answer(mine, other.first_meals(meals), asked).level
        effect, true = level[:, 0] - level[:, 1], truth[:, 0] - truth[:, 1]
        missed.append(float(np.sqrt(np.mean(np.square(effect - true)) / np.mean(np.square(true)))))
    assert missed[1] < 0.2
    assert missed[1] < 0.7 * missed[0]


def test_intervals_hold_effects_and_are_wider_where_less_was_shown(
    learned: MealResponse, asked_of: tuple[Lives, Lives, Asked, np.ndarray]
) -> None:
    mine, other, asked, truth = asked_of
    effects = np.stack([truth[:, plan] - truth[:, against] for plan, against in asked.contrasts], axis=1)
    many, none = (learned.answer(mine, other.first_meals(meals), asked) for meals in (99, 0))
    assert many.low is not None
    assert many.high is not None
    assert none.low is not None
    assert none.high is not None
    assert ((many.low <= effects) & (effects <= many.high)).mean() > 0.75
    assert (none.high - none.low).mean() > 1.5 * (many.high - many.low).mean()


def test_nothing_after_the_moment_is_read(
    learned: MealResponse, asked_of: tuple[Lives, Lives, Asked, np.ndarray]
) -> None:
    mine, other, asked, _ = asked_of
    first = asked.take(rows := np.flatnonzero(asked.time < 400), asked.life[rows])
    before = learned.answer(mine, other, first)
    cut = {}
    for name in ("glucose_mg_dl", "bolus_units", "carbs_g"):
        cut[name] = getattr(mine, name).copy()
        cut[name][:, first.time.max() + 1 :] = 77.0
    # At the moment itself the dose and the meal are the plan's.
    last = first.take(rows := np.flatnonzero(first.time == first.time.max()), first.life[rows])
    for name in ("bolus_units", "carbs_g"):
        cut[name][:, first.time.max()] = 55.0
    after = learned.answer(replace(mine, **cut), other, last)
    kept = np.flatnonzero(first.time == first.time.max())
    assert np.array_equal(after.level, before.level[kept])


def test_a_minute_asked_changes_no_earlier_one_and_a_plan_no_other(
    learned: MealResponse, asked_of: tuple[Lives, Lives, Asked, np.ndarray]
) -> None:
    mine, other, asked, _ = asked_of
    whole = learned.answer(mine, other, asked)
    alone = replace(asked, dose_units=asked.dose_units[:, 1:2], carbs_g=asked.carbs_g[:, 1:2], contrasts=((0, 0),))
    single = learned.answer(mine, other, alone)
    assert np.array_equal(single.level[:, 0], whole.level[:, 1])
    # A plan against itself has no effect, surely.
    assert single.low is not None
    assert single.high is not None
    assert (single.low == 0).all()
    assert (single.high == 0).all()


def test_what_asked_people_do_changes_nothing_that_was_learned(learned: MealResponse) -> None:
    lives, _ = world(8, 0, seed=0)
    again = MealResponse(minutes=MINUTES)
    again.learn(lives.take(np.arange(0, 16, 2)), lives.take(np.arange(1, 16, 2)))
    assert np.array_equal(again.learned[0].by_trait, learned.learned[0].by_trait)
    assert np.array_equal(again.learned[1].effect_sd, learned.learned[1].effect_sd)


def test_where_doses_follow_something_slow_and_unseen_changes_are_believed(
    learned: MealResponse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is high for an unseen reason takes more, so that levels say that insulin does little."""
    told, own = world(8, 0, seed=3)
    wave = 100 * np.sin(2 * np.pi * np.arange(told.glucose_mg_dl.shape[1]) / 400)
    corrected = told.bolus_units * np.exp(wave / 60)
    alone = replace(told, bolus_units=corrected, glucose_mg_dl=meal_law.play(own, corrected.T, told.carbs_g.T)[:-1].T)
    lives = replace(alone, glucose_mg_dl=alone.glucose_mg_dl + wave)
    first, second = (lives.take(np.arange(half, 16, 2)) for half in (0, 1))
    found, levels = MealResponse(minutes=MINUTES), MealResponse(minutes=MINUTES)
    found.learn(first, second)
    monkeypatch.setattr("hdt_fm.heads.meal_response.MEMORIES", (0.9, 0.9))
    levels.learn(first, second)
    assert found.learned[0].memory > levels.learned[0].memory
    assert levels.learned[0].memory == learned.learned[0].memory
    asked = questions(first)
    of_dose = [(some := model.answer(first, second, asked).level)[:, 0] - some[:, 1] for model in (found, levels)]
    # Neither undoes it all: in truth the dose takes 51 mg/dL.
    less, least = (float(-effect[:, 1].mean()) for effect in of_dose)
    assert less > 1.5 * least > 0


def test_readings_at_the_ends_teach_no_number(learned: MealResponse) -> None:
    _, other = world(2, 8, seed=2)[0], world(2, 8, seed=2)[0].take(np.arange(0, 4, 2))
    low = other.glucose_mg_dl.copy()
    low[:, 500:] = np.nan
    at_end = low.copy()
    at_end[:, 500:] = 400.0
    people = np.array([8, 9])
    first, second = (learned.own(replace(other, glucose_mg_dl=some), people) for some in (low, at_end))
    assert np.array_equal(first.mean, second.mean)


def test_minutes_near_each_other_have_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    lives, _ = world(8, 0, seed=0)
    squares = []
    for near in (30, 0):
        monkeypatch.setattr("hdt_fm.heads.meal_response.NEAR_MINUTES", near)
        model = MealResponse(minutes=(15, 30, 45, 60, 120))
        model.learn(lives.take(np.arange(0, 16, 2)), lives.take(np.arange(1, 16, 2)))
        squares.append(np.square(model.learned[1].effect_sd))
    found, each = squares
    wanted = [each[:, :3], each[:, :4], each[:, :4], each[:, 1:4], each[:, 4:]]
    assert found == pytest.approx(np.stack([some.mean(axis=1) for some in wanted], axis=1))
    assert not np.allclose(each[:, 0], each[:, 3])


def test_refusals(learned: MealResponse, asked_of: tuple[Lives, Lives, Asked, np.ndarray]) -> None:
    mine, other, asked, _ = asked_of
    with pytest.raises(ConfigError, match="Nothing was learned"):
        MealResponse(minutes=MINUTES).answer(mine, other, asked)
    with pytest.raises(ConfigError, match="Other minutes"):
        learned.answer(mine, other, replace(asked, minutes=(60,)))
    with pytest.raises(ConfigError, match="no life to learn from"):
        learned.answer(mine, other.take(np.array([0])), asked)
    with pytest.raises(ConfigError, match="Nobody knows these"):
        MealResponse(minutes=MINUTES).learn(mine.take(np.array([0])), mine)
    hungry = replace(mine, bolus_units=0 * mine.carbs_g, carbs_g=0 * mine.carbs_g)
    with pytest.raises(ConfigError, match="Trust cannot be learned"):
        MealResponse(minutes=MINUTES).learn(mine, hungry)
