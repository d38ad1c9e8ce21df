"""The meal law against closed forms and hand numbers; numbers of people against those that made the readings."""

import numpy as np
import pytest

from hdt_fm.layers import meal_law
from hdt_fm.layers.meal_courses import Missed, boards, courses, factual, meals_known, own_errors
from hdt_fm.layers.own_numbers import OwnNumbers, Shown, common_numbers, own_numbers
from hdt_fm.schema.lives import Asked, Lives

FIRST = np.array([meal_law.START[name] for name in meal_law.NUMBERS])


def numbers(rows: int, **changed: float) -> np.ndarray:
    out = np.tile(FIRST, (rows, 1))
    for name, value in changed.items():
        out[:, meal_law.NUMBERS.index(name)] = value
    return out


def lives(rows: int = 2, steps: int = 300) -> Lives:
    generator = np.random.default_rng(0)
    carbs = np.zeros((rows, steps))
    carbs[:, 40::80] = generator.uniform(20, 60, size=carbs[:, 40::80].shape)
    bolus = np.where(carbs > 0, carbs / 12, 0.0)
    own = numbers(rows)
    glucose = meal_law.play(own, bolus.T, carbs.T)[:-1].T
    person = np.arange(rows)
    return Lives(
        person=person, glucose_mg_dl=glucose, bolus_units=bolus, carbs_g=carbs, basal_units_per_hour=np.ones(rows)
    )


def test_at_rest_nothing_moves() -> None:
    level = meal_law.play(numbers(2), np.zeros((50, 2)), np.zeros((50, 2)))
    assert level == pytest.approx(np.full((51, 2), np.exp(FIRST[0])), abs=1e-9)


def test_what_is_eaten_raises_by_its_gain_where_nothing_fades() -> None:
    """Without a way back and with tissue cut off, all that is absorbed stays: grams times gain."""
    own = numbers(1, fades=-30.0, exchange=-30.0, gain=np.log(2.5), shown=np.log(1.0))
    grams = np.zeros((4000, 1))
    grams[0] = 40
    level = meal_law.play(own, np.zeros_like(grams), grams)
    assert level[-1, 0] - level[0, 0] == pytest.approx(100.0, rel=1e-3)


def test_the_way_back_halves_at_its_rate() -> None:
    """Blood alone: what is too much is left by a factor of 1 - rate a step."""
    own = numbers(1, exchange=-30.0, fades=np.log(0.01), shown=np.log(3.0))
    start = meal_law.moved(meal_law.at_rest(own), np.array([50.0]))
    level = meal_law.play(own, np.zeros((20, 1)), np.zeros((20, 1)), start=start)
    assert level[20, 0] - np.exp(FIRST[0]) == pytest.approx(50 * 0.95**20, rel=1e-3)


def test_insulin_acts_in_all_on_the_liver() -> None:
    """Two delays move action in time and lose none of it: units x liver, per minute of a stage, summed."""
    own = numbers(1, fades=-30.0, exchange=-30.0, liver=np.log(15.0))
    units = np.zeros((6000, 1))
    units[0] = 3
    level = meal_law.play(own, units, np.zeros_like(units))
    assert level[0, 0] - level[-1, 0] == pytest.approx(45.0, rel=1e-3)


def test_uptake_grows_with_glucose() -> None:
    own = np.repeat(numbers(1), 2, axis=0)
    start = meal_law.moved(meal_law.at_rest(own), np.array([0.0, 100.0]))
    units = np.zeros((24, 2))
    none = meal_law.play(own, units, units, start=start)
    given = units.copy()
    given[0] = 2
    effect = (meal_law.play(own, given, units, start=start) - none)[-1]
    assert effect[1] < 1.5 * effect[0] < 0


def test_no_step_depends_on_later_ones_nor_on_other_rows() -> None:
    generator = np.random.default_rng(1)
    units, grams = generator.uniform(0, 1, (30, 3)), generator.uniform(0, 5, (30, 3))
    own = numbers(3) + generator.normal(0, 0.1, (3, len(FIRST)))
    whole = meal_law.play(own, units, grams)
    units[20:], grams[20:] = 9.0, 90.0
    assert np.array_equal(meal_law.play(own, units, grams)[:21], whole[:21])
    assert np.array_equal(meal_law.play(own[1:2], units[:, 1:2], grams[:, 1:2])[:21], whole[:21, 1:2])


def test_a_course_from_the_board_is_the_life_itself() -> None:
    told = lives()
    own = numbers(2)
    board = boards(own, told)
    meals = meals_known(told, 24)
    assert len(meals.life) == 2 * len(range(40, 276, 80))
    found = factual(own, told, board, meals, (12, 24), 1.0)
    assert found.missed == pytest.approx(0, abs=1e-3)
    assert (found.effects[:, 0] < 0).all()
    assert (found.effects[:, 1] > 0).all()
    asked = Asked(
        life=meals.life,
        time=meals.time,
        dose_units=told.bolus_units[meals.life, meals.time][:, None] * np.array([1.0, 0.0]),
        carbs_g=told.carbs_g[meals.life, meals.time][:, None] * np.array([1.0, 1.0]),
        contrasts=((0, 1),),
        minutes=(60, 120),
    )
    level = courses(own, told, board, asked.plans, 1.0)
    assert level[:, 0] - level[:, 1] == pytest.approx(found.effects[:, 0], abs=1e-3)


def test_a_surprise_moves_the_start_by_its_share() -> None:
    told = lives(1)
    own = numbers(1)
    higher = Lives(**{**vars(told), "glucose_mg_dl": told.glucose_mg_dl + 20})
    asked = Asked(
        life=np.array([0]),
        time=np.array([120]),
        dose_units=np.zeros((1, 1)),
        carbs_g=np.zeros((1, 1)),
        contrasts=(),
        minutes=(5,),
    )
    plain, moved = (courses(own, some, boards(own, some), asked.plans, 0.5)[0, 0, 0] for some in (told, higher))
    assert moved - plain == pytest.approx(10, abs=0.6)


def test_errors_of_people_by_hand() -> None:
    """Two people whose doses do a tenth more and a tenth less than foretold."""
    generator = np.random.default_rng(2)
    effects, person = generator.normal(0, 30, size=(200, 2, 1)), np.repeat([0, 1], 100)
    wrong = np.where(person == 0, 0.1, -0.1)
    found = own_errors(Missed((wrong * effects[:, 0, 0])[:, None], effects, effects.sum(axis=1)), person)
    assert found[:, 0] == pytest.approx([0.01, 0.0], abs=1e-6)
    noise = generator.normal(0, 10, size=(200, 1))
    assert own_errors(Missed(noise, effects, effects.sum(axis=1)), person).max() < 0.002


def _line(own: np.ndarray, doses: np.ndarray) -> np.ndarray:
    """A law for tests: level = a + b dose."""
    return own[:, 0] + own[:, 1] * doses[0]


def test_numbers_of_a_line_are_those_of_bayesian_regression() -> None:
    generator = np.random.default_rng(3)
    people, steps, noise = 60, 80, 0.5
    true = np.array([2.0, -1.0]) + generator.normal(size=(people, 2)) * np.array([0.5, 0.3])
    doses = generator.normal(size=(1, people, steps))
    level = true[:, :1] + true[:, 1:] * doses[0] + noise * generator.normal(size=(people, steps))
    seen = Shown(np.arange(people), doses, level)
    traits = np.ones((people, 1))
    common, fitted = common_numbers(_line, seen, traits, np.zeros(2), memory=0.0)
    assert common.by_trait[0] == pytest.approx([2.0, -1.0], abs=0.2)
    assert np.sqrt(np.diagonal(common.spread)) == pytest.approx([0.5, 0.3], abs=0.12)
    assert common.noise == pytest.approx(noise**2, rel=0.1)
    # What is missed is told anew at each step, so a reading says what one says.
    assert common.repeats == pytest.approx(1.0, abs=0.5)
    few = Shown(seen.person, doses, np.where(np.arange(steps) < 6, level, np.nan))
    found = own_numbers(_line, common, few, traits)
    for person in range(0, people, 17):
        # The first reading has none before it, so it does not count.
        rows = np.stack([np.ones(5), doses[0, person, 1:6]], axis=1)
        prior, weight = np.linalg.inv(common.spread), common.noise * common.repeats
        doubt = np.linalg.inv(rows.T @ rows / weight + prior)
        mean = doubt @ (rows.T @ level[person, 1:6] / weight + prior @ common.by_trait[0])
        assert found.mean[person] == pytest.approx(mean, abs=1e-4)
        assert found.doubt[person] == pytest.approx(doubt, abs=1e-4)
    assert isinstance(fitted, OwnNumbers)


def test_who_showed_nothing_is_like_the_others() -> None:
    generator = np.random.default_rng(4)
    doses = generator.normal(size=(1, 10, 30))
    seen = Shown(np.arange(10), doses, doses[0] + generator.normal(size=(10, 30)))
    common, _ = common_numbers(_line, seen, np.ones((10, 1)), np.zeros(2), memory=0.0)
    nothing = Shown(np.arange(1), doses[:, :1], np.full((1, 30), np.nan))
    found = own_numbers(_line, common, nothing, np.ones((1, 1)))
    assert np.array_equal(found.mean[0], common.by_trait[0])
    assert np.array_equal(found.doubt[0], common.spread)


def test_what_is_wrong_all_day_is_no_news_each_step() -> None:
    generator = np.random.default_rng(5)
    doses = generator.normal(size=(1, 8, 288 * 6))
    daily = np.repeat(generator.normal(size=(8, 6)), 288, axis=1)
    seen = Shown(np.arange(8), doses, doses[0] + daily + 0.1 * generator.normal(size=daily.shape))
    common, _ = common_numbers(_line, seen, np.ones((8, 1)), np.zeros(2), memory=0.0)
    assert common.repeats > 50


def test_a_life_without_a_usable_action_misses_nothing() -> None:
    told, own = lives(), numbers(2)
    none = meals_known(told, 300)
    assert not len(none.life)
    found = factual(own, told, boards(own, told), none, (12, 24), 1.0)
    assert (found.missed.shape, found.effects.shape, found.whole.shape) == ((0, 2), (0, 2, 2), (0, 2))
