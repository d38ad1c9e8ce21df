"""Habits: what was planted is found, another implementation agrees, and nothing of a single person is kept."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from hdt_fm.schema.errors import CheckpointError, ConfigError
from hdt_fm.twin.what_if.actions import FEATURES, Actions
from hdt_fm.twin.what_if.habits import BOLUS, CARBS, COLUMNS, Habits, _logistic, learn_habits

GLUCOSE, MEAL, SIZE = 1, COLUMNS - 2, COLUMNS - 1


def people(
    count: int = 40, each: int = 60, seed: int = 0, *, between: float = 0.3, within: float = 0.35, skipped: float = 0.15
) -> Actions:
    """Doses go with the meal and, by half a logarithm an SD, with glucose; so many meals have none; a tenth is a dose
    alone."""
    generator = np.random.default_rng(seed)
    size = count * each
    person = np.repeat(np.arange(count), each)
    moment = generator.normal(size=(size, len(FEATURES)))
    moment[:, 2:4] = 0.0
    carbs = 50 * np.exp(0.5 * generator.normal(size=size)) * (generator.uniform(size=size) < 0.9)
    own = between * generator.normal(size=count)[person]
    meal = np.where(carbs > 0, np.log(np.maximum(carbs, 1) / 12), 0.5)
    bolus = np.exp(meal + 0.5 * moment[:, 0] + own + within * generator.normal(size=size))
    bolus = np.where((carbs > 0) & (generator.uniform(size=size) < skipped), 0.0, bolus)
    return Actions(
        dose=np.stack([bolus, carbs], axis=1),
        moment=moment,
        person=person,
        day=person * 99 + np.tile(np.arange(each) // 4, count),
        life=person,
        time=np.tile(np.arange(each) * 60, count),
    )


def test_what_was_planted_is_found():
    found = learn_habits(people())
    assert found.level[BOLUS, GLUCOSE] == pytest.approx(0.5, abs=0.03)
    assert found.level[BOLUS, SIZE] == pytest.approx(1.0, abs=0.04)
    assert np.sqrt(found.within) == pytest.approx([0.35, 0.5], abs=0.02)
    assert np.sqrt(found.between[BOLUS]) == pytest.approx(0.3, abs=0.08)
    assert found.between[CARBS] < 0.01
    assert found.tails == pytest.approx(np.array([[-1.645, 0.0, 1.645]] * 2), abs=0.12)
    moment, grams = np.zeros((1, len(FEATURES))), np.array([50.0])
    assert found.chance(BOLUS, moment, grams)[0] == pytest.approx(0.85, abs=0.02)
    assert found.chance(CARBS, moment, grams)[0] == pytest.approx(0.9, abs=0.02)
    assert np.exp(found.expected(BOLUS, moment, grams)[0]) == pytest.approx(50 / 12, rel=0.12)
    assert np.exp(found.expected(BOLUS, moment, 0 * grams)[0]) == pytest.approx(np.exp(0.5), rel=0.15)


def test_nine_in_ten_doses_of_people_never_seen_lie_in_their_range():
    """After 30 own actions; doses that a floor cuts at the bottom have a long tail there and a short one above."""
    for cut in (0.0, 3.0):
        some, new = people(seed=1), people(seed=2)
        for one in (some, new):
            one.dose[:, BOLUS] = np.where(one.dose[:, BOLUS] > 0, np.maximum(one.dose[:, BOLUS] - cut, 0.2), 0.0)
        habits, inside = learn_habits(some), []
        for person in range(40):
            first = np.flatnonzero((new.person == person) & (np.arange(len(new)) % 60 < 30))
            rest = np.flatnonzero((new.person == person) & (np.arange(len(new)) % 60 >= 30) & (new.dose[:, BOLUS] > 0))
            higher, spread = habits.own_level(BOLUS, rows_of(new, first))
            expected = habits.expected(BOLUS, new.moment[rest], new.dose[rest, CARBS]) + higher
            off = (np.log(new.dose[rest, BOLUS]) - expected) / spread
            inside.append(np.mean((off > habits.tails[BOLUS, 0]) & (off < habits.tails[BOLUS, 2])))
        assert 0.87 <= np.mean(inside) <= 0.93


def rows_of(actions: Actions, rows: np.ndarray) -> Actions:
    return Actions(**{name: values[rows] for name, values in vars(actions).items()})


def test_a_person_stands_between_people_and_their_own_doses():
    """Normal-normal by hand: (between * sum) / (n * between + within), and the doubt that is left."""
    some = people()
    habits = learn_habits(some)
    between, within = habits.between[BOLUS], habits.within[BOLUS]
    none = rows_of(some, np.arange(0))
    assert habits.own_level(BOLUS, none) == pytest.approx((0.0, np.sqrt(within + between)))
    for count in (1, 5):
        rows = np.flatnonzero(some.dose[:, BOLUS] > 0)[:count]
        own = rows_of(some, rows)
        expected = habits.expected(BOLUS, own.moment, own.dose[:, CARBS])
        own.dose[:, BOLUS] = np.exp(expected + 1.0)
        doubt = 1 / (1 / between + count / within)
        wanted = (doubt * count / within, np.sqrt(within + doubt))
        assert habits.own_level(BOLUS, own) == pytest.approx(wanted)


def test_chances_are_those_of_another_implementation():
    generator = np.random.default_rng(0)
    table = np.column_stack([np.ones(300), generator.normal(size=(300, 3))])
    yes = generator.uniform(size=300) < 1 / (1 + np.exp(-(table @ np.array([1.0, 0.7, 0.0, -2.0]))))
    rows = np.concatenate([table[:, 1:], np.zeros((2, 3))])
    weight = np.concatenate([np.ones(300), [0.5, 0.5]])
    other = LogisticRegression(C=1.0, tol=1e-10).fit(rows, np.concatenate([yes, [1, 0]]), sample_weight=weight)
    assert _logistic(table, yes) == pytest.approx(np.concatenate([other.intercept_, other.coef_[0]]), abs=1e-4)


def test_what_all_do_is_no_certainty():
    """Of n that all do, half a no is one in 2 (n + 1)."""
    found = _logistic(np.ones((99, 1)), np.ones(99, dtype=bool))
    assert 1 / (1 + np.exp(found[0])) == pytest.approx(0.5 / 100)


def test_unknown_readings_stand_at_the_mean():
    some = people()
    some.moment[::3, 0] = np.nan
    some.moment[::3, 1] = np.nan
    found = learn_habits(some)
    assert np.isfinite(np.concatenate([one.reshape(-1) for one in found.arrays().values()])).all()
    moment, grams = np.zeros((2, len(FEATURES))), np.full(2, 50.0)
    moment[1, :2] = np.nan
    assert found.level[BOLUS, GLUCOSE] == pytest.approx(0.5, abs=0.04)
    assert np.diff(found.expected(BOLUS, moment, grams))[0] == pytest.approx(0.0, abs=0.15)


def test_habits_go_into_a_checkpoint_and_come_back():
    found = learn_habits(people())
    arrays = found.arrays()
    back = Habits.of(arrays)
    assert all(np.array_equal(arrays[name], back.arrays()[name]) for name in arrays)
    # As many numbers from three people as from forty: none is a person's.
    few = learn_habits(people(count=3)).arrays()
    assert {name: one.shape for name, one in arrays.items()} == {name: one.shape for name, one in few.items()}
    assert sum(one.size for one in arrays.values()) < 80


def test_arrays_of_something_else_are_refused():
    arrays = learn_habits(people()).arrays()
    with pytest.raises(CheckpointError, match=r"(?s)Habits.level.*nothing.*same features"):
        Habits.of({name: one for name, one in arrays.items() if name != "level"})
    with pytest.raises(CheckpointError, match=r"(?s)Habits.center.*\(6,\).*\(7,\)"):
        Habits.of({**arrays, "center": np.zeros(7)})


@pytest.mark.parametrize(("count", "each"), [(2, 60), (10, 4)])
def test_too_few_people_or_actions_are_no_habit(count, each):
    with pytest.raises(ConfigError, match=f"(?s)3 people and 50.*{count} people, {count * each}.*more training people"):
        learn_habits(people(count=count, each=each))


def test_a_treatment_that_nobody_takes_is_learned_as_such():
    some = people()
    some.dose[:, BOLUS] = 0.0
    some = rows_of(some, np.flatnonzero(some.dose[:, CARBS] > 0))
    found = learn_habits(some)
    assert found.chance(BOLUS, np.zeros((1, len(FEATURES))), np.array([50.0]))[0] < 0.01
