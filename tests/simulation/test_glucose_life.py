"""Sensor, habits, closed loop, rollouts and the cohort: by hand numbers, by replay in the open loop, bit for bit."""

import importlib.util
import json
import sys

import numpy as np
import pytest

from hdt_fm.schema.errors import ConfigError, ShapeError, UnitError
from hdt_fm.simulation.glucose_cohort import WhatIfCohort, what_if_cohort
from hdt_fm.simulation.glucose_habits import READINGS_PER_DAY, Days, Policy, draw_days
from hdt_fm.simulation.glucose_life import History, MealStates, live
from hdt_fm.simulation.glucose_rollouts import MealPlans, rollouts
from hdt_fm.simulation.glucose_run import simulate
from hdt_fm.simulation.glucose_sensor import in_range, sensor_error
from hdt_fm.simulation.virtual_people import AGES, VirtualPeople, draw_people

DAYS = 3


@pytest.fixture(scope="module")
def runs() -> VirtualPeople:
    """Five runs of three people."""
    return draw_people(dict.fromkeys(AGES, 1), seed=6).take(np.array([0, 0, 1, 2, 2]))


REPLICATE = np.array([0, 1, 0, 0, 1])


@pytest.fixture(scope="module")
def days(runs) -> Days:
    return draw_days(runs, REPLICATE, days=DAYS, seed=6)


@pytest.fixture(scope="module")
def lived(runs, days) -> tuple[History, MealStates]:
    return live(runs, days, Policy(), replicate=REPLICATE, keep=np.ones(days.carbs_g.shape, dtype=np.bool_))


@pytest.fixture(scope="module")
def cohort() -> WhatIfCohort:
    return what_if_cohort(seed=2, train_per_age=2, test_per_age=1, replicates=2, days=2)


def by_minute(table: np.ndarray, upto: int | None = None) -> np.ndarray:
    """(run, reading) as (run, minute), the amount in the first minute of its five."""
    minutes = np.zeros((table.shape[0], table.shape[1] * 5))
    minutes[:, ::5] = table
    return minutes[:, :upto]


def test_the_sensor_errs_as_said():
    noise = sensor_error([np.random.default_rng([7, run]) for run in range(40)], 2000)
    assert noise.shape == (40, 2000)
    assert abs(noise.std() - 6.0) < 0.2
    assert abs(noise[:, 0].std() - 6.0) < 1.5, "the first reading errs as much as later ones"
    for lag in (1, 5):
        correlation = np.mean(noise[:, lag:] * noise[:, :-lag]) / np.mean(noise**2)
        assert abs(correlation - 0.9**lag) < 0.03
    alone = sensor_error([np.random.default_rng([7, 3])], 2000)
    np.testing.assert_array_equal(alone[0], noise[3])
    np.testing.assert_array_equal(sensor_error([np.random.default_rng(1)], 5, sd_mg_dl=0.0), np.zeros((1, 5)))


def test_what_is_shown_lies_in_the_sensors_range():
    np.testing.assert_array_equal(in_range(np.array([0.0, 39.0, 40.5, 400.0, 401.0])), [39, 39, 40.5, 400, 400])


@pytest.mark.parametrize("settings", [{"sd_mg_dl": -1.0}, {"memory": 1.0}, {"memory": -0.1}])
def test_a_sensor_that_cannot_be_is_refused(settings):
    with pytest.raises(ConfigError, match="err so"):
        sensor_error([np.random.default_rng(0)], 5, **settings)


def test_a_dose_by_hand():
    """60 g at 12 g/U are 5 U; 180 is 60 above 120, at 30 per U 2 U more; ends of the clip; the limit of 20 U."""
    policy = Policy(confounding=1.0)
    counted, ratio, correction = np.array([60.0, 60, 60, 60, 240]), np.full(5, 12.0), np.full(5, 30.0)
    reading = np.array([120.0, 180, 39, 400, 120])
    expected = [5, 7, 5 - 81 / 30, 5 + 8, 20]
    np.testing.assert_allclose(policy.recommend(counted, reading, ratio, correction), expected)
    np.testing.assert_allclose(Policy(confounding=0.0).recommend(counted, reading, ratio, correction), [5, 5, 5, 5, 20])
    low = Policy(confounding=3.0).recommend(counted[:1], reading[2:3], ratio[:1], correction[:1])
    np.testing.assert_array_equal(low, 0.0)
    spread, luck = np.array([0.0, 1.0, -1.0, 5.0, 0.0]), np.array([0.5, 0.15, 0.16, 0.9, 0.149])
    given = policy.give(np.array([5.0, 5, 5, 10, 5]), spread, luck)
    np.testing.assert_allclose(given, [5, 5 * np.exp(0.3), 5 * np.exp(-0.3), 20, 0])


@pytest.mark.parametrize(
    "settings",
    [
        {"confounding": -1.0},
        {"skipped": 1.5},
        {"dose_spread": np.nan},
        {"least_correction": 1.0},
        {"most_units": 0.0},
        {"most_units": 2000.0},
    ],
)
def test_a_policy_that_cannot_be_is_refused(settings):
    with pytest.raises(ConfigError, match="doses so"):
        Policy(**settings)


def test_meals_are_as_people_eat(runs):
    days = draw_days(runs, REPLICATE, days=60, seed=1)
    carbs = days.carbs_g.reshape(5, 60, READINGS_PER_DAY)
    count = (carbs > 0).sum(axis=2)
    assert set(np.unique(count)) <= {2, 3, 4}  # two meals may fall on one reading
    assert abs(count.mean() - 3.5) < 0.1
    a_day = carbs.sum(axis=2).mean(axis=1) / np.sqrt(runs.people.bw)
    assert ((a_day > 16) & (a_day < 32)).all()
    hours = np.flatnonzero(carbs.sum(axis=(0, 1))) / 12
    assert hours.min() >= 6
    assert hours.max() <= 20
    assert (days.eats == (days.carbs_g > 0)).all()


def test_chance_rests_on_seed_person_and_replicate(runs, days):
    order = np.array([3, 1])
    some = draw_days(runs.take(order), REPLICATE[order], days=DAYS, seed=6)
    for name in vars(days):
        np.testing.assert_array_equal(getattr(some, name), getattr(days, name)[order])
        assert not np.array_equal(getattr(days, name)[0], getattr(days, name)[1]), "two replicates are one life"
        assert not np.array_equal(getattr(draw_days(runs, REPLICATE, days=DAYS, seed=7), name), getattr(days, name)), (
            "the seed does nothing"
        )


def test_days_that_cannot_be_are_refused(runs, days):
    for settings in ({"days": 0, "seed": 0}, {"days": 1, "seed": -1}):
        with pytest.raises(ConfigError, match="cannot be drawn"):
            draw_days(runs, REPLICATE, **settings)
    with pytest.raises(ConfigError, match="cannot be drawn"):
        draw_days(runs, REPLICATE[:2], days=1, seed=0)
    with pytest.raises(ShapeError, match="other runs"):
        live(runs.take(np.array([0])), days, Policy())


def test_a_life_replayed_in_the_open_loop_is_the_same(runs, lived):
    history, _ = lived
    run = simulate(runs.people, by_minute(history.carbs_g), by_minute(history.bolus_units))
    np.testing.assert_array_equal(run.tissue_mg_dl[:, :-1], history.tissue_mg_dl)
    np.testing.assert_array_equal(run.plasma_mg_dl[:, :-1], history.plasma_mg_dl)


def test_doses_rest_on_what_the_sensor_showed(runs, days, lived):
    history, _ = lived
    np.testing.assert_array_equal(history.cgm_mg_dl, in_range(history.tissue_mg_dl + days.sensor_error_mg_dl))
    policy, at = Policy(), days.eats
    row = np.nonzero(at)[0]
    expected = policy.recommend(
        history.counted_g[at],
        history.cgm_mg_dl[at],
        runs.carbs_g_per_unit[row],
        runs.correction_mg_dl_per_unit[row],
    )
    np.testing.assert_array_equal(history.recommended_units[at], expected)
    np.testing.assert_array_equal(history.bolus_units[at], policy.give(expected, days.spread[at], days.luck[at]))
    assert not history.bolus_units[~at].any()
    assert not history.recommended_units[~at].any()
    np.testing.assert_array_equal(history.basal_units_per_hour[:, -1], runs.people.basal_units_per_hour)
    assert history.codes == runs.codes
    np.testing.assert_array_equal(history.replicate, REPLICATE)


def test_arms_share_all_chance_and_are_one_until_they_dose_differently(runs, days):
    arms = [live(runs, days, Policy(confounding=c), replicate=REPLICATE)[0] for c in (0.0, 1.0, 3.0)]
    first = np.argmax(arms[0].bolus_units != arms[2].bolus_units, axis=1)
    assert (first > 0).all()
    for arm in arms[1:]:
        np.testing.assert_array_equal(arm.carbs_g, arms[0].carbs_g)
        np.testing.assert_array_equal(arm.counted_g, arms[0].counted_g)
        differs = np.argmax(arm.bolus_units != arms[0].bolus_units, axis=1)
        for run, upto in enumerate(differs):
            np.testing.assert_array_equal(arm.cgm_mg_dl[run, : upto + 1], arms[0].cgm_mg_dl[run, : upto + 1])
            assert (arm.cgm_mg_dl[run, upto + 1 :] != arms[0].cgm_mg_dl[run, upto + 1 :]).any()


def test_confounding_and_positivity_are_what_the_policy_says():
    runs = draw_people({"adult": 6}, seed=8).take(np.repeat(np.arange(6), 10))
    days = draw_days(runs, np.tile(np.arange(10), 6), days=1, seed=8)
    ratio = runs.carbs_g_per_unit[:, None]

    def correlation(policy: Policy) -> float:
        """Of the reading with what was given for each counted gram."""
        history, _ = live(runs, days, policy)
        given = history.bolus_units > 0
        per_gram = (history.bolus_units * ratio)[given] / history.counted_g[given]
        return float(np.corrcoef(history.cgm_mg_dl[given], per_gram)[0, 1])

    found = [correlation(Policy(confounding=c)) for c in (0.0, 1.0, 3.0)]
    assert abs(found[0]) < 0.2
    assert found[0] + 0.2 < found[1] < found[2]
    # Without noise and skipping, a dose is what was counted, and nothing is left to learn from.
    history, _ = live(runs, days, Policy(confounding=0.0, count_error=0.0, dose_spread=0.0, skipped=0.0))
    np.testing.assert_allclose(history.bolus_units, np.minimum(history.carbs_g / ratio, 20.0))
    skipping, _ = live(runs, days, Policy(confounding=0.0, skipped=0.5))
    assert abs((skipping.bolus_units[days.eats] == 0).mean() - 0.5) < 0.1


def test_kept_meals_are_in_order_and_as_in_the_history(lived):
    history, meals = lived
    run, reading = np.nonzero(history.carbs_g > 0)
    np.testing.assert_array_equal(meals.run, run)
    np.testing.assert_array_equal(meals.reading, reading)
    np.testing.assert_array_equal(meals.carbs_g, history.carbs_g[run, reading])
    np.testing.assert_array_equal(meals.recommended_units, history.recommended_units[run, reading])
    assert len(meals) == len(meals.state) == len(run) > 5 * 3 * 2


def test_a_rollout_of_what_happened_is_what_happened(runs, days):
    """With doses as recommended, the plan 1 by 1 is the history until the next meal, bit for bit."""
    policy = Policy(dose_spread=0.0, skipped=0.0)
    history, meals = live(runs, days, policy, keep=np.ones(days.carbs_g.shape, dtype=np.bool_))
    answers = rollouts(runs, meals)
    plan, followed = answers.plans.index(1.0), 0
    for meal in range(len(meals)):
        run, at = meals.run[meal], meals.reading[meal]
        later = np.flatnonzero(history.carbs_g[run, at + 1 :])
        until = min(48, int(later[0]) + 1 if len(later) else 48, history.tissue_mg_dl.shape[1] - at - 1)
        factual = in_range(history.tissue_mg_dl[run, at : at + until + 1])
        np.testing.assert_array_equal(answers.glucose_mg_dl[meal, plan, : until + 1], factual)
        followed += until
    assert followed > 20 * len(meals)


def test_rollouts_start_as_one_and_differ_by_their_plans(runs, lived):
    _, meals = lived
    answers = rollouts(runs, meals)
    plans = answers.plans
    assert answers.glucose_mg_dl.shape == (len(meals), 8, 49)
    np.testing.assert_array_equal(answers.minute, np.arange(0, 241, 5))
    assert (answers.glucose_mg_dl[:, :, 0] == answers.glucose_mg_dl[:, :1, 0]).all()
    np.testing.assert_allclose(answers.dose_units[:, 3], 1.5 * meals.recommended_units)
    np.testing.assert_allclose(answers.carbs_g[:, 4], 0.5 * meals.carbs_g)
    dosed = meals.recommended_units > 0.5
    assert dosed.sum() > 20
    assert (answers.effect(plans.index(1.0), plans.index(0.5), 120)[dosed] < 0).mean() > 0.95
    assert (answers.effect(plans.index(1.0), plans.index(1.0, 0.5), 120) > 0).mean() > 0.95
    # Doses in order, unless the clip hides it.
    order = answers.glucose_mg_dl[dosed][:, :4, 24]
    assert (np.diff(order, axis=1) <= 0).all()


def test_the_clipped_share_counts_what_was_cut(runs, lived):
    _, meals = lived
    answers = rollouts(runs, meals, MealPlans(dose=(4.0, 1.0), carbs=(0.0, 1.0)))
    assert answers.glucose_mg_dl.min() == 39.0
    at_the_ends = ((answers.glucose_mg_dl == 39.0) | (answers.glucose_mg_dl == 400.0)).mean(axis=(0, 2))
    np.testing.assert_allclose(answers.clipped_share, at_the_ends)
    assert answers.clipped_share[0] > 0.2 > answers.clipped_share[1]


def test_a_later_bolus_works_later(runs, lived):
    _, meals = lived
    now, later = (
        rollouts(runs, meals, MealPlans(dose=(1.0,), carbs=(1.0,), bolus_after_minutes=wait)) for wait in (0, 60)
    )
    np.testing.assert_array_equal(
        later.glucose_mg_dl[:, 0, :13],
        rollouts(runs, meals, MealPlans(dose=(0.0,), carbs=(1.0,))).glucose_mg_dl[:, 0, :13],
    )
    two_hours = slice(13, 25)  # after that, the earlier dose has worn off first
    assert (later.glucose_mg_dl[:, :, two_hours] >= now.glucose_mg_dl[:, :, two_hours]).all()
    assert (later.glucose_mg_dl[:, :, two_hours] > now.glucose_mg_dl[:, :, two_hours]).mean() > 0.9


def test_plans_that_cannot_be_are_refused(runs, lived):
    _, meals = lived
    for settings in (
        {"dose": (1.0,), "carbs": (1.0, 0.5)},
        {"dose": (), "carbs": ()},
        {"dose": (-1.0,), "carbs": (1.0,)},
    ):
        with pytest.raises(ConfigError, match="no plans"):
            MealPlans(**settings)
    with pytest.raises(ConfigError, match="past"):
        MealPlans(bolus_after_minutes=-10)
    with pytest.raises(UnitError, match="anybody takes"):
        rollouts(runs, meals, MealPlans(dose=(1000.0,), carbs=(1.0,)))
    with pytest.raises(ConfigError, match="so long"):
        rollouts(runs, meals, minutes=7)
    with pytest.raises(ConfigError, match="so long"):
        rollouts(runs, meals, MealPlans(bolus_after_minutes=60), minutes=60)
    with pytest.raises(ConfigError, match="No plan"):
        MealPlans().index(0.7)
    answers = rollouts(runs, meals, MealPlans(dose=(1.0,), carbs=(1.0,)), minutes=10)
    with pytest.raises(ConfigError, match="not kept"):
        answers.effect(0, 0, 15)


def test_no_meal_kept_is_no_answer(runs, days):
    _, meals = live(runs, days, Policy())
    answers = rollouts(runs, meals)
    assert len(meals) == 0
    assert answers.glucose_mg_dl.shape == (0, 8, 49)
    np.testing.assert_array_equal(answers.clipped_share, np.zeros(8))


def test_nobody_of_the_cohort_is_on_both_sides(cohort):
    assert len(cohort.train_people) == 6
    assert len(cohort.test_people) == 3
    assert not set(cohort.train.codes) & set(cohort.test.codes)
    assert set(cohort.train.codes) == set(cohort.train_people.codes)
    assert set(cohort.test.codes) == set(cohort.test_people.codes)
    assert cohort.train.cgm_mg_dl.shape == (12, 2 * READINGS_PER_DAY)
    pairs = list(zip(cohort.test.codes, cohort.test.replicate.tolist(), strict=True))
    assert len(set(pairs)) == len(pairs) == 6


def test_answers_point_into_the_test_history(cohort):
    answers, test = cohort.answers, cohort.test
    assert answers.reading.min() >= READINGS_PER_DAY, "the first day is history"
    run, reading = np.nonzero((test.carbs_g > 0) & (np.arange(2 * READINGS_PER_DAY) >= READINGS_PER_DAY))
    np.testing.assert_array_equal(answers.run, run)
    np.testing.assert_array_equal(answers.reading, reading)
    np.testing.assert_array_equal(answers.carbs_g[:, 0], test.carbs_g[run, reading])
    np.testing.assert_array_equal(answers.dose_units[:, 2], test.recommended_units[run, reading])
    np.testing.assert_array_equal(answers.glucose_mg_dl[:, 0, 0], in_range(test.tissue_mg_dl[run, reading]))
    assert 0 <= test.clipped_share < 0.2


def test_a_cohort_is_its_seed(cohort):
    sizes = {"train_per_age": 2, "test_per_age": 1, "replicates": 2, "days": 2}
    again, other = what_if_cohort(seed=2, **sizes), what_if_cohort(seed=3, **sizes)
    np.testing.assert_array_equal(again.train.cgm_mg_dl, cohort.train.cgm_mg_dl)
    np.testing.assert_array_equal(again.answers.glucose_mg_dl, cohort.answers.glucose_mg_dl)
    assert not np.array_equal(other.train.cgm_mg_dl, cohort.train.cgm_mg_dl)
    arm = what_if_cohort(seed=2, policy=Policy(confounding=3.0), **sizes)
    np.testing.assert_array_equal(arm.test.carbs_g, cohort.test.carbs_g)
    assert not np.array_equal(arm.test.bolus_units, cohort.test.bolus_units)


@pytest.mark.parametrize("change", [{"days": 1}, {"test_per_age": 0}, {"train_per_age": 0}, {"replicates": 0}])
def test_a_cohort_with_nothing_to_ask_is_refused(change):
    with pytest.raises(ConfigError, match="nothing to ask"):
        what_if_cohort(seed=0, **change)


def test_the_benchmark_prints_what_it_measured(repo, monkeypatch, tmp_path, capsys):
    monkeypatch.syspath_prepend(str(repo / "scripts"))
    spec = importlib.util.spec_from_file_location("bench_simulation", repo / "scripts" / "bench_simulation.py")
    bench = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bench)
    monkeypatch.setattr(bench.glucose_peer, "folder", lambda: None)
    monkeypatch.setattr(bench, "MINUTES", 240)
    monkeypatch.setattr(bench, "MEALS", ((30, 50.0),))
    monkeypatch.setattr(sys, "argv", ["bench_simulation.py", "--quick", "--json", str(tmp_path / "rows.json")])
    bench.main()
    rows = {row["what"]: row for row in json.loads((tmp_path / "rows.json").read_text())}
    printed = capsys.readouterr().out
    assert "not installed" in printed
    assert all(what in printed for what in rows)
    assert rows["open loop, 120 people"]["value"] > rows["open loop, 30 people"]["value"] > 0
    assert 0 < rows["error to steps of 1/16 min"]["value"] < 0.1
