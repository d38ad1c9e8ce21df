"""Whether people do what a plan asks: usual, somewhat and far beyond, never done, and a size by hand."""

from functools import cache

import numpy as np
import pytest

from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.what_if import Support
from hdt_fm.twin.what_if.actions import FEATURES, Actions
from hdt_fm.twin.what_if.habits import BOLUS, Habits, learn_habits
from hdt_fm.twin.what_if.support import effective_size, support_of

USUAL = 50 / 12
MEAN = np.zeros(len(FEATURES))


def people(*, skipped: float = 0.15, alone: float = 0.1, within: float = 0.35, seed: int = 0) -> Actions:
    """40 people, 60 actions each: a unit for 12 g on the average; some meals without, some doses alone (1.6 U)."""
    generator = np.random.default_rng(seed)
    person = np.repeat(np.arange(40), 60)
    carbs = 50 * np.exp(0.5 * generator.normal(size=2400)) * (generator.uniform(size=2400) >= alone)
    usual = np.where(carbs > 0, carbs / 12, 1.6) * np.exp(0.2 * generator.normal(size=40)[person])
    bolus = usual * np.exp(within * generator.normal(size=2400))
    bolus = np.where((carbs > 0) & (generator.uniform(size=2400) < skipped), 0.0, bolus)
    moment = generator.normal(size=(2400, len(FEATURES)))
    return Actions(
        dose=np.stack([bolus, carbs], axis=1), moment=moment, person=person, day=person, life=person, time=person
    )


def rows_of(actions: Actions, rows: np.ndarray) -> Actions:
    return Actions(**{name: values[rows] for name, values in vars(actions).items()})


def like_most() -> Actions:
    """Sixty actions of somebody whose doses are those of most people."""
    some = people(seed=3)
    levels = [learned().own_level(BOLUS, rows_of(some, np.arange(60) + 60 * one))[0] for one in range(40)]
    return rows_of(some, np.arange(60) + 60 * int(np.argmin(np.abs(levels))))


@cache
def learned() -> Habits:
    return learn_habits(people())


@pytest.fixture
def habits() -> Habits:
    return learned()


def asked(habits: Habits, dose: float, carbs: float = 50.0, own: Actions | None = None, **changed: float) -> Support:
    """At the mean moment, but for what is changed, of somebody with 60 actions like most people's."""
    moment = MEAN.copy()
    for name, value in changed.items():
        moment[FEATURES.index(name)] = value
    own = like_most() if own is None else own
    return support_of(habits, own, moment, dose_units=dose, carbs_g=carbs)


def test_the_range_holds_nine_in_ten_and_its_edge_is_where_it_ends(habits):
    some = rows_of(people(), np.arange(0))
    found = asked(habits, USUAL, own=some)
    spread = np.sqrt(0.35**2 + 0.2**2)
    assert (found.verdict, found.widen) == ("inside", 1.0)
    assert [found.low, found.high] == pytest.approx(USUAL * np.exp([-1.645 * spread, 1.645 * spread]), rel=0.1)
    for dose, verdict in ((found.high * 0.99, "inside"), (found.high * 1.01, "thin"), (found.low * 1.01, "inside")):
        one = asked(habits, dose, own=some)
        assert one.verdict == verdict
        assert one.density == pytest.approx(np.exp(-(1.645**2) / 2), rel=0.15)


@pytest.mark.parametrize(("beyond", "verdict"), [(1.1, "thin"), (1.2, "thin"), (1.3, "outside")])
def test_somewhat_beyond_is_thin_and_far_beyond_is_outside(habits, beyond, verdict):
    high = asked(habits, USUAL).high
    found = asked(habits, beyond * high)
    assert (found.verdict, found.treatment) == (verdict, "bolus")
    # By 1 for every SD past the edge.
    spread, tails = habits.own_level(BOLUS, like_most())[1], habits.tails[BOLUS]
    assert found.widen == pytest.approx(1 + 1.645 * np.log(beyond) / (spread * (tails[2] - tails[1])), rel=1e-3)


def test_three_times_the_usual_is_outside(habits):
    assert asked(habits, 3 * USUAL).verdict == "outside"
    assert asked(habits, 3 * USUAL).density < 0.02
    assert asked(habits, USUAL, carbs=200.0).treatment == "carbs"
    assert asked(habits, 4 * USUAL, carbs=200.0).verdict == "outside"


def test_nothing_and_no_meal_are_always_inside_and_no_dose_where_people_skip(habits):
    assert asked(habits, 0.0, carbs=0.0).verdict == "inside"
    assert asked(habits, 0.0, carbs=0.0).density == 1.0
    skipped = asked(habits, 0.0)
    assert skipped.verdict == "inside"
    assert skipped.density == pytest.approx(0.15 / 0.85, abs=0.03)
    assert asked(habits, 1.6, carbs=0.0).verdict == "inside"
    for share, verdict in ((0.03, "thin"), (0.0, "outside")):
        found = asked(learn_habits(people(skipped=share)), 0.0)
        assert (found.verdict, found.treatment) == (verdict, "bolus")
    assert found.widen > 1


def test_a_dose_without_a_meal_that_nobody_takes_is_outside():
    found = asked(learn_habits(people(alone=0.0)), 1.6, carbs=0.0)
    assert (found.verdict, found.treatment) == ("outside", "bolus")
    assert asked(learn_habits(people(alone=0.0)), 0.0, carbs=0.0).verdict == "inside"


def test_little_lies_between_nothing_and_the_usual_only_where_people_take_none(habits):
    little = asked(habits, 0.3)
    assert (little.verdict, little.treatment) == ("thin", "bolus")
    assert little.widen == 3.0
    assert asked(learn_habits(people(skipped=0.0)), 0.3).verdict == "outside"


def test_an_own_habit_moves_the_range(habits):
    usual, double = like_most(), like_most()
    double.dose[:, BOLUS] *= 2
    low, high = asked(habits, USUAL, own=usual), asked(habits, USUAL, own=double)
    assert high.high / low.high == pytest.approx(2.0, rel=0.1)
    assert (low.verdict, asked(habits, 2.1 * USUAL, own=usual).verdict) == ("inside", "thin")
    assert asked(habits, 2.1 * USUAL, own=double).verdict == "inside"


def test_a_moment_far_from_those_of_training_people_is_thin(habits):
    assert asked(habits, USUAL, change=3.5).verdict == "inside"
    far = asked(habits, USUAL, change=5.0)
    assert far.verdict == "thin"
    assert far.widen == pytest.approx(2.0, abs=0.15)
    assert asked(habits, USUAL, glucose=float("nan"), change=float("nan")).verdict == "inside"


def test_a_habit_is_never_taken_for_narrower_than_it_can_be():
    """People who all take exactly the same: 15 % are a spread of nothing."""
    exact = learn_habits(people(within=0.001))
    own = rows_of(people(within=0.001, seed=3), np.arange(60))
    usual = asked(exact, USUAL, own=own)
    middle = np.sqrt(usual.low * usual.high)
    assert usual.high / middle == pytest.approx(np.exp(1.645 * 0.15), rel=0.01)
    assert asked(exact, middle * 1.2, own=own).verdict == "inside"


def test_the_effective_size_by_hand(habits):
    """Three the same and at the plan; one whose mean square is a half has half the weight; others have none."""
    plan = np.array([USUAL, 50.0])
    own = rows_of(people(), np.zeros(6, dtype=np.int64))
    own.dose[:] = plan
    own.moment[:] = MEAN
    assert effective_size(habits, own, MEAN, plan) == pytest.approx(6.0)
    # Six features and two doses: one off by two SDs alone is 4 / 8.
    own.moment[3, 0] += 2 * habits.scale[0]
    own.dose[4] = [0.0, 50.0]
    own.dose[5] = [USUAL * np.exp(9 * np.sqrt(habits.within[BOLUS])), 50.0]
    assert effective_size(habits, own, MEAN, plan) == pytest.approx(3.5**2 / 3.25)
    assert effective_size(habits, own, MEAN, np.array([0.0, 50.0])) == pytest.approx(1.0)
    assert effective_size(habits, own, MEAN, np.zeros(2)) == 0.0
    unknown = MEAN.copy()
    unknown[0] = np.nan
    assert effective_size(habits, own, unknown, plan) == pytest.approx(4.0)
    assert support_of(habits, own, MEAN, dose_units=USUAL, carbs_g=50.0).effective_size == pytest.approx(3.5**2 / 3.25)


@pytest.mark.parametrize(("dose", "carbs"), [(-1.0, 50.0), (2.0, float("nan")), (float("inf"), 0.0)])
def test_amounts_that_cannot_be_are_refused(habits, dose, carbs):
    with pytest.raises(ConfigError, match=r"(?s)support_of.*finite amounts of 0 or more"):
        asked(habits, dose, carbs=carbs)
