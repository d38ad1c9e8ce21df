"""Windows of real doses and meals, what is told in them and how it is scored: by hand, and with models that know."""

from dataclasses import replace

import numpy as np
import pytest

from hdt_fm.evaluation import what_if_real_floors as floors
from hdt_fm.evaluation.what_if_floors import boosted
from hdt_fm.evaluation.what_if_real import BEFORE_STEPS, Heard, RealModel, hear, usual_doses
from hdt_fm.evaluation.what_if_real_marks import median_known, own_marks, rank_correlation, slope_score, slope_sums
from hdt_fm.evaluation.what_if_real_scores import OWED, table_of
from hdt_fm.evaluation.what_if_windows import LATER_GRAMS, LATER_UNITS, Windows, questions, readings_at, windows_of
from hdt_fm.schema.errors import ConfigError, ShapeError
from hdt_fm.schema.lives import Lives

MINUTES = (60, 120)
DAYS, PEOPLE = 4, 6
FALL, RISE = 20.0, 3.0


def lives_with(doses, meals, size=288, glucose=None, lives=1):
    units, grams = np.zeros((lives, size)), np.zeros((lives, size))
    for (life, time), amount in doses.items():
        units[life, time] = amount
    for (life, time), amount in meals.items():
        grams[life, time] = amount
    return Lives(
        person=np.zeros(lives, dtype=np.int64),
        glucose_mg_dl=np.full((lives, size), 120.0) if glucose is None else glucose,
        bolus_units=units,
        carbs_g=grams,
        basal_units_per_hour=np.full(lives, 0.5),
    )


@pytest.fixture(scope="module")
def linear_world() -> Lives:
    """Two lives of each: an hour after a unit glucose is `FALL` lower for good, after a gram `RISE` higher, noise of 2.

    Doses are meals' by a ratio of each person's own, with much chance.
    """
    generator, size = np.random.default_rng(0), 288 * DAYS
    lives = 2 * PEOPLE
    person = np.repeat(np.arange(PEOPLE) + 10, 2)
    units, grams = np.zeros((lives, size)), np.zeros((lives, size))
    for life in range(lives):
        times = np.arange(20, size - 40, 40) + generator.integers(0, 5, len(range(20, size - 40, 40)))
        grams[life, times] = generator.uniform(10, 60, len(times))
        units[life, times] = grams[life, times] / (5 + person[life]) * generator.lognormal(0, 0.4, len(times))
    moved = RISE * grams - FALL * units
    # What was moved is back after three hours, so that lives stay where they are.
    shift = np.cumsum(np.roll(moved, 12, axis=1) - np.roll(moved, 36, axis=1), axis=1)
    return Lives(
        person=person,
        glucose_mg_dl=300.0 + shift + generator.normal(0, 2, shift.shape),
        bolus_units=units,
        carbs_g=grams,
        basal_units_per_hour=np.full(lives, 0.8),
    )


def truth(own: Lives, taught: Lives, windows: Windows) -> np.ndarray:
    """The linear world, told what is taken."""
    reading = readings_at(own, windows.life, windows.time)
    moved = RISE * windows.grams - FALL * windows.units
    return np.stack([reading + moved[:, : step - 11].sum(axis=1) for step in windows.steps], axis=1)


def test_a_window_begins_with_the_newest_reading_before_an_action_that_nothing_came_before():
    glucose = np.full((1, 288), np.nan)
    glucose[0, ::3] = np.arange(96.0)
    # 30: reading there. 34 is within half an hour of it. 43: newest reading two steps before. 70 stands alone too.
    lives = lives_with({(0, 30): 2.0, (0, 34): 1.0, (0, 70): 3.0}, {(0, 43): 40.0}, glucose=glucose)
    found = windows_of(lives, MINUTES)
    assert found.time.tolist() == [30, 42, 69]
    units, grams = found.first
    assert units.tolist() == [3.0, 0.0, 3.0]
    assert grams.tolist() == [0.0, 40.0, 0.0]
    assert found.grams[0, 13] == 40.0
    assert found.steps == (12, 24)
    glucose[0, 66:72] = np.nan
    assert windows_of(replace(lives, glucose_mg_dl=glucose), MINUTES).time.tolist() == [30, 42]


def test_near_the_end_of_a_life_nothing_is_taken_and_no_reading_is_known():
    lives = lives_with({(0, 280): 2.0}, {})
    found = windows_of(lives, MINUTES)
    assert found.units.shape == (1, 36)
    assert found.units.sum() == 2.0
    assert readings_at(lives, np.array([0, 0]), np.array([280, 288])) == pytest.approx([120, np.nan], nan_ok=True)
    assert np.isnan(readings_at(lives, np.array([0]), np.array([-1]))).all()


def test_alone_is_the_action_and_nothing_later():
    lives = lives_with({(0, 30): 2.0, (0, 35): 1.0, (0, 60): 4.0}, {(0, 33): 10.0})
    found = windows_of(lives, MINUTES)
    assert len(found) == 2
    assert found.alone.units[0].sum() == 3.0
    assert found.alone.grams[0].sum() == 10.0
    assert found.units[0].sum() == 7.0


def test_what_is_told_in_place_of_what_was_taken():
    doses = {(life, 30 + 60 * place): 1.0 + place + 10 * life for life in range(4) for place in range(4)}
    lives = replace(lives_with(doses, {}, lives=4), person=np.array([0, 0, 1, 1]))
    windows = windows_of(lives, MINUTES)
    person = lives.person[windows.life]
    found = questions(windows, person, seed=0)
    assert found["told"] is windows
    assert not found["nothing"].units.any()
    other = found["another day"].units[:, 0]
    for row in range(len(windows)):
        theirs = (person == person[row]) & (windows.life != windows.life[row])
        assert other[row] in windows.units[theirs, 0]
    assert found["other times"].units.sum(axis=1) == pytest.approx(windows.units.sum(axis=1))
    assert not np.array_equal(found["other times"].units, windows.units)
    assert np.array_equal(found["not the action"].units, windows.units - windows.alone.units)
    assert (found["more insulin"].units - windows.units).sum(axis=1).tolist() == [1.0] * len(windows)
    assert (found["more food"].grams - windows.grams)[:, 0].tolist() == [10.0] * len(windows)
    for minute, step in zip(MINUTES, windows.steps, strict=True):
        later = found[f"after {minute}"]
        assert np.array_equal(later.units[:, :step], windows.units[:, :step])
        assert (later.units - windows.units)[:, step] == pytest.approx(LATER_UNITS)
        assert (later.grams - windows.grams)[:, step] == pytest.approx(LATER_GRAMS)


def test_nobody_is_asked_about_who_taught_and_first_lives_teach_about_later_ones(linear_world):
    seen = []

    def learn(train, seed):
        def tell(own, taught, windows):
            assert not np.isin(own.person, train.person).any()
            assert np.array_equal(np.unique(own.person), np.unique(taught.person))
            for life in range(len(own)):
                assert not any(np.array_equal(own.glucose_mg_dl[life], other) for other in taught.glucose_mg_dl)
            seen.extend(np.unique(own.person))
            return np.repeat(own.person[windows.life][:, None].astype(float), 2, axis=1)

        return tell

    heard = hear(linear_world, {"who": RealModel(learn, "ours", takes_plan=False)}, MINUTES, folds=3, seed=1)
    assert sorted(seen) == [10, 11, 12, 13, 14, 15]
    assert np.array_equal(heard.level["who"]["told"][:, 0], heard.person)
    later = linear_world.take(np.arange(1, 2 * PEOPLE, 2))
    assert np.array_equal(heard.lives.glucose_mg_dl, later.glucose_mg_dl)
    row = 3
    life, time = heard.windows.life[row], heard.windows.time[row]
    assert heard.came[row, 1] == later.glucose_mg_dl[life, time + 24]
    assert heard.before[row] == later.glucose_mg_dl[life, time - BEFORE_STEPS + 12]


def test_answers_that_do_not_fit_and_lonely_lives_are_refused(linear_world):
    def nan(train, seed):
        return lambda own, taught, windows: np.full((len(windows), 2), np.nan)

    with pytest.raises(ShapeError, match="does not fit"):
        hear(linear_world, {"nan": RealModel(nan, "ours")}, MINUTES, folds=3, seed=0)
    with pytest.raises(ConfigError, match="single life"):
        hear(linear_world.take(np.arange(3)), {"nan": RealModel(nan, "ours")}, MINUTES, folds=2, seed=0)


def models(count=40):
    def learned(regress, beside):
        return floors.learner(MINUTES, regress, lambda train, seed: beside)

    return {
        "last value": RealModel(floors.last_value, "baseline", takes_plan=False),
        "ridge, told nothing": RealModel(learned(floors.linear, floors.nothing_beside), "baseline", takes_plan=False),
        "ridge, told the action": RealModel(learned(floors.linear, floors.action_beside), "baseline"),
        OWED[0]: RealModel(learned(floors.linear, floors.planned), "baseline"),
        OWED[1]: RealModel(learned(boosted(count, leaf=floors.LEAF), floors.planned), "baseline"),
        "truth": RealModel(lambda train, seed: truth, "ours"),
    }


@pytest.fixture(scope="module")
def heard(linear_world) -> Heard:
    return hear(linear_world, models(), MINUTES, folds=3, seed=0)


@pytest.fixture(scope="module")
def table(heard):
    roles = {name: one.role for name, one in models().items()}
    return table_of("a linear world", [heard], roles, headline="truth", folds=3, draws=50)


def test_who_knows_the_truth_misses_noise_alone_and_placebos_harm_it(table, heard):
    # Two readings with noise of 2 each.
    assert table.find("truth", "RMSE", "after an action, 60 min").value == pytest.approx(np.sqrt(8), rel=0.1)
    assert table.find("truth", "MAE", "after an action, 60 min").value == pytest.approx(
        np.sqrt(8) * np.sqrt(2 / np.pi), rel=0.1
    )
    last = table.find("last value", "RMSE", "after an action, 60 min").value
    off = np.square(heard.came[:, 0] - readings_at(heard.lives, heard.windows.life, heard.windows.time))
    by_hand = np.mean([np.sqrt(np.nanmean(off[heard.person == one])) for one in np.unique(heard.person)])
    assert last == pytest.approx(by_hand)
    for what in ("told what was taken on another day, 60 min", "told the same at other times, 60 min"):
        assert table.find("truth", "RMSE more than when told what was taken", what).value > 10


def test_what_is_taken_after_the_minute_asked_changes_nothing(table):
    rows = [row for row in table.rows if row.metric == "largest change of an answer"]
    assert {row.model for row in rows} == {"ridge, told the action", *OWED, "truth"}
    assert all(row.value == 0.0 for row in rows)


def test_who_reads_what_is_taken_later_is_found_out(heard):
    moved = heard.level["truth"]["after 120"].copy()
    moved[4, 1] += 7.0
    level = {**heard.level, "truth": {**heard.level["truth"], "after 120": moved}}
    roles = {name: one.role for name, one in models().items()}
    table = table_of("a leak", [replace(heard, level=level)], roles, headline="truth", folds=3, draws=20)
    found = table.find("truth", "largest change of an answer")
    assert found.value == pytest.approx(7.0 / PEOPLE)


def test_the_effect_of_a_unit_is_found_by_who_is_told(table):
    # A ridge draws both towards nothing.
    for model, near in (("truth", 1e-9), (OWED[0], 0.35)):
        assert table.find(model, "effect", "1 U more, 120 min").value == pytest.approx(-FALL, rel=near)
        assert table.find(model, "effect", "10 g more, 120 min").value == pytest.approx(10 * RISE, rel=near)
        assert table.find(model, "people with the right sign", "1 U more, 120 min").value == 1.0
    # It is told that whoever takes more eats more: grams that cancel a unit.
    found = table.find("truth", "median ratio", "grams that 1 U cancels, 120 min, and own meals").value
    assert found == pytest.approx(np.median([FALL / RISE / (5 + person) for person in range(10, 16)]), rel=0.15)
    known = "goes with 1 U of the action, 60 min"
    assert table.find("truth", "in the record after", known).value == pytest.approx(-FALL, abs=1.0)
    assert table.find("truth", "by the model", known).value == pytest.approx(-FALL)
    # Who took more had not seen anything: nothing of the action is found before it.
    assert table.find("truth", "in the record before", known).value == pytest.approx(0.0, abs=1.0)


def test_a_reason_to_act_shows_before_the_action(linear_world):
    """Doses that go with how glucose had risen: after them the truth is found no more, before them something is."""
    units = linear_world.bolus_units.copy()
    life, time = np.nonzero(units)
    back = np.maximum(time - 12, 0)
    rising = linear_world.glucose_mg_dl.copy()
    for one, at, was in zip(life, time, back, strict=True):
        rising[one, was:at] += 5 * units[one, at]
    lives = replace(linear_world, glucose_mg_dl=rising)
    roles = {name: one.role for name, one in models().items()}
    table = table_of(
        "reasons", [hear(lives, models(5), MINUTES, folds=2, seed=0)], roles, headline="truth", folds=2, draws=20
    )
    found = table.find("truth", "in the record before", "goes with 1 U of the action, 60 min")
    assert found.value == pytest.approx(5.0, abs=1.0)
    assert found.low > 2.0


def test_slopes_of_two_treatments_by_least_squares():
    generator = np.random.default_rng(0)
    taken, person = generator.normal(size=(90, 2)) @ np.array([[1.0, 0.6], [0.0, 1.0]]), np.repeat(np.arange(3), 30)
    left = taken @ np.array([-3.0, 7.0]) + 100.0 * person + generator.normal(0, 0.1, 90)
    left[5] = np.nan
    sums = slope_sums(left, taken, person)
    known = np.isfinite(left)
    table = np.column_stack([taken, np.eye(3)[person]])[known]
    want = np.linalg.lstsq(table, left[known], rcond=None)[0]
    assert slope_score(sums, 0).over(np.ones((1, 3)))[0] == pytest.approx(want[0])
    assert slope_score(sums, 1).over(np.ones((1, 3)))[0] == pytest.approx(want[1])
    only = person == 1
    twice = np.polyfit(taken[only, 0], left[only] - 7.0 * taken[only, 1], 1)[0]
    assert slope_score(sums, 0).over(np.array([[0.0, 2.0, 0.0]]))[0] == pytest.approx(twice, abs=0.05)


def test_ranks_and_medians_over_people():
    pairs = np.array([[1.0, 10.0], [2.0, 30.0], [3.0, 20.0], [np.nan, 5.0]])
    assert rank_correlation(pairs).over(np.ones((1, 4)))[0] == pytest.approx(0.5)
    assert rank_correlation(pairs).people == 3
    assert np.isnan(rank_correlation(pairs).over(np.array([[4.0, 0, 0, 0]]))[0])
    assert median_known(np.array([np.nan, 3.0, 1.0, 2.0])).over(np.ones((1, 4)))[0] == 2.0
    assert np.isnan(median_known(np.full(2, np.nan)).over(np.ones((1, 2)))).all()


def test_what_a_record_implies():
    doses = {(0, 40 * place): 2.0 for place in range(1, 7)} | {(1, 40 * place): 1.5 for place in range(1, 7)}
    meals = {(0, 40 * place): 24.0 for place in range(1, 7)}
    glucose = np.full((2, 288), 200.0)
    lives = replace(lives_with(doses, meals, glucose=glucose, lives=2), person=np.array([3, 5]))
    windows = windows_of(lives, MINUTES)
    rule, corrections, ratio = own_marks(
        lives, windows, np.searchsorted([3, 5], lives.person[windows.life]), np.array([3, 5])
    )
    assert rule == pytest.approx([1700 / (12 + 12), 1700 / (9 + 12)])
    assert corrections == pytest.approx([np.nan, (200 - 110) / 1.5], nan_ok=True)
    assert ratio == pytest.approx([12.0, np.nan], nan_ok=True)


def test_a_dose_beyond_what_others_take_is_outside(linear_world):
    train, own = linear_world.take(np.arange(8)), linear_world.take(np.arange(8, 12))
    windows = windows_of(own, MINUTES)
    plain = usual_doses(train, own, windows)
    assert 0.7 < np.nanmean(plain) < 0.99
    assert np.nanmean(usual_doses(train, own, windows.told(10 * windows.units, windows.grams))[:, 0]) < 0.1
    assert np.isnan(usual_doses(train, own, windows.told(0 * windows.units, windows.grams))[:, 0]).all()


def test_the_table_owes_its_floors(heard):
    fewer = replace(heard, level={name: some for name, some in heard.level.items() if name != OWED[1]})
    with pytest.raises(ValueError, match="LightGBM, told all"):
        table_of("x", [fewer], {name: one.role for name, one in models().items()}, headline="truth", folds=3, draws=5)
