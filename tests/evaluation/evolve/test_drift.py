"""How drift is judged, by hand."""

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from hdt_fm.evaluation.evolve.drift import NEVER_DAYS, Alarms, alarm_rows, coverage_rows, error_rows, named_rows
from hdt_fm.metrics.conformal import online_shift
from hdt_fm.schema.series import Series
from hdt_fm.simulation.glucose_drift import KINDS, World
from hdt_fm.twin.drift.streams import CARBS, DaySums

INF, REPO = np.inf, Path(__file__).resolve().parents[3]


def value(rows, model, metric, what=None):
    (one,) = [row for row in rows if (row.model, row.metric) == (model, metric) and what in (None, row.what)]
    return one


def test_alarms_by_hand():
    well = np.array([INF, 28.0 + 73.0 - 1.0, INF, INF])  # the second on the 73rd watched day
    changed = {"gain": np.array([60.0, 44.0, INF, 30.0])}
    rows = alarm_rows(
        "still", [Alarms("a", "ours", well, changed)], {"gain": np.array([50, 42, 45, 40])}, watched=(28, 28 + 146)
    )
    false = value(rows, "a", "false alarms a year")
    assert false.value == pytest.approx(1 / ((3 * 146 + 73) / 365.25))
    assert false.n == 4
    # The fourth alarmed before its onset; delays are 11, 3 and never.
    soon = value(rows, "a", "found within 14 days", "still, gain")
    assert (soon.value, soon.n) == (pytest.approx(2 / 3), 3)
    assert value(rows, "a", "median delay").value == 11


def test_never_found_counts_as_late():
    alarms = Alarms("a", "baseline", np.full(3, INF), {"gain": np.full(3, INF)})
    rows = alarm_rows("still", [alarms], {"gain": np.full(3, 40)}, watched=(28, 90))
    assert value(rows, "a", "median delay").value == NEVER_DAYS
    assert value(rows, "a", "false alarms a year").value == 0


def test_only_early_alarms_leave_no_row():
    alarms = Alarms("a", "baseline", np.full(3, INF), {"gain": np.full(3, 30.0)})
    rows = alarm_rows("still", [alarms], {"gain": np.full(3, 40)}, watched=(28, 90))
    assert [row.metric for row in rows] == ["false alarms a year"]


def test_the_share_of_right_names():
    rows = named_rows(
        "still", {"gain": ["gain", "lost", "gain"], "dose": []}, {"gain": "gain", "dose": "lost"}, model="a"
    )
    assert [(row.what, row.value, row.n) for row in rows] == [("still, gain", pytest.approx(2 / 3), 3)]


def test_errors_are_over_the_same_origins_and_people_weigh_the_same():
    first = np.array([[3.0, 4.0, np.nan], [1.0, 1.0, 1.0]])
    second = np.array([[6.0, np.nan, 5.0], [2.0, 2.0, 2.0]])
    inside = np.array([[True, True, True], [True, False, True]])
    rows = error_rows("x", {"a": ("ours", first), "b": ("baseline", second)}, inside)
    assert value(rows, "a", "RMSE").value == pytest.approx((3 + 1) / 2)
    assert value(rows, "b", "RMSE").value == pytest.approx((6 + 2) / 2)


def test_who_has_no_origin_does_not_count():
    inside = np.array([[True, True], [False, False]])
    (row,) = error_rows("x", {"a": ("baseline", np.array([[3.0, 3.0], [9.0, 9.0]]))}, inside)
    assert (row.value, row.n) == (3.0, 1)


def test_coverage_by_day_and_width_by_hand():
    since = np.array([[-1, -1, 0, 0, 1, 20]])
    missed = np.array([[5.0, -20.0, 9.0, np.nan, -11.0, 0.0]])
    half = np.array([[10.0, 10.0, 10.0, 99.0, 12.0, 1.0]])
    rows = coverage_rows("x", {"a": ("ours", half)}, missed, since)
    told = {row.metric: row.value for row in rows}
    assert told == {
        "80 % interval covers, before": 0.5,
        "its width, before": 20.0,
        "80 % interval covers, day 1": 1.0,
        "its width, day 1": 20.0,
        "80 % interval covers, day 2": 1.0,
        "its width, day 2": 24.0,
    }


def test_a_rate_of_few_has_the_exact_poisson_interval():
    """Three in 1.5 years: .62 and 8.77 expected events have tails of 2.5 % (any table of Poisson limits)."""
    lived = np.array([28 + 200, 28 + 365, 28 + 1000, 20])
    well = np.array([28.0 + 49, 28.0 + 99, 28.0 + 398.875, INF])
    rows = alarm_rows("real", [Alarms("a", "ours", well, {})], {}, watched=(28, lived), poisson=True)
    (row,) = rows
    years = (50 + 100 + 399.875) / 365.25
    assert (row.value, row.n) == (pytest.approx(3 / years), 3)  # the last one was never watched
    assert (row.low * years, row.high * years) == pytest.approx((0.6187, 8.7673), abs=1e-3)
    none = Alarms("a", "ours", np.full(4, INF), {})
    (row,) = alarm_rows("real", [none], {}, watched=(28, lived), poisson=True)
    assert row.low == 0
    assert row.high == pytest.approx(-np.log(0.025) / ((200 + 365 + 1000) / 365.25))


def test_lives_of_one_person_weigh_as_one():
    changed = {"gain": np.array([50.0, INF, INF, 41.0])}
    person = {"gain": np.array([7, 7, 7, 9])}
    onset = {"gain": np.full(4, 40)}
    rows = alarm_rows("x", [Alarms("a", "ours", np.full(2, INF), changed)], onset, watched=(28, 90), person=person)
    soon = value(rows, "a", "found within 14 days")
    assert (soon.value, soon.n) == (pytest.approx((1 / 3 + 1) / 2), 2)
    missed = np.array([[2.0, 2.0], [4.0, 4.0], [9.0, 9.0]])
    (row,) = error_rows("x", {"a": ("ours", missed)}, np.ones((3, 2), dtype=bool), person=np.array([1, 1, 5]))
    assert (row.value, row.n) == (pytest.approx((3 + 9) / 2), 2)
    windows = {"later": (1.0, np.inf)}
    since = np.tile([0, 1], (3, 1))
    half = np.full((3, 2), 3.0)
    rows = coverage_rows("x", {"a": ("ours", half)}, missed, since, person=np.array([1, 1, 5]), windows=windows)
    assert [(row.metric, row.value) for row in rows] == [
        ("80 % interval covers, later", pytest.approx((0.5 + 0) / 2)),
        ("its width, later", 6.0),
    ]


@pytest.fixture(scope="module")
def scripts() -> Iterator[SimpleNamespace]:
    """scripts/evolve_drift*.py, which import one another."""
    folder = str(REPO / "scripts")
    sys.path.insert(0, folder)
    try:
        names = ("lives", "after", "rules", "real")
        yield SimpleNamespace(**{name: import_module(f"evolve_drift_{name}") for name in names})
    finally:
        sys.path.remove(folder)


def test_an_own_layer_learns_from_no_truth_that_has_not_come(scripts):
    draw = np.random.default_rng(0)
    rows, missed = draw.normal(size=(5 * 48, 3)), draw.normal(size=(5 * 48, 2))
    day = np.arange(5 * 48) // 48
    other = missed.copy()
    # Asked at 22:00 and later on the third day, a truth two hours on has not come by midnight.
    other[3 * 48 - 4 :] += 50
    first, second = (scripts.after.followed(rows, one, day, 1) for one in (missed, other))
    assert np.array_equal(first[: 4 * 48], second[: 4 * 48])
    assert not np.allclose(first[4 * 48 :], second[4 * 48 :])
    assert not first[:96].any()  # nothing before the second day, and nothing is known on it


def test_intervals_are_those_of_the_twin(scripts):
    missed = np.random.default_rng(1).normal(size=(2, 300)) * 20
    missed[0, 40:60] = np.nan
    start, spread = np.array([30.0, 20.0]), np.array([15.0, 12.0])
    for haste in (0.0, 4.0):
        found = scripts.after.half_widths(missed, 1, start, spread, haste=haste)
        for life, errors in enumerate(missed):
            point = np.zeros(300)
            how = {"horizon_s": 7200.0, "start": start[life], "spread": spread[life], "coverage": 0.8, "haste": haste}
            by_rule = online_shift(1800.0 * np.arange(300), point, point, errors, **how)
            assert found[life] == pytest.approx(by_rule)


def test_what_is_left_of_a_dose_is_not_of_the_same_reading(scripts):
    amounts = np.array([[0.0, 2.0, 0.0, 0.0]])
    assert scripts.lives.leaky(amounts, 5.0, 5.0)[0] == pytest.approx([0, 0, 2, 2 / np.e])


def test_a_short_gap_is_bridged_and_who_asks_at_its_edge_is_told_of_nothing_later(scripts):
    table = np.array([[np.nan, 100.0, np.nan, np.nan, 130.0, np.nan, np.nan, np.nan, np.nan, 90.0, np.nan]])
    found = scripts.lives.bridged(table, 3)[0]
    assert found[1:5] == pytest.approx([100, 110, 120, 130])
    assert np.isnan(found[[0, 5, 6, 7, 8, 10]]).all()


@pytest.fixture(scope="module")
def world() -> World:
    """Two lives of five days every 15 minutes, with gaps, doses and meals; the second eats nothing."""
    draw = np.random.default_rng(5)
    shape = (2, 5 * 96)
    cgm = 140 + 40 * np.sin(np.arange(shape[1]) / 96 * 2 * np.pi) + draw.normal(0, 8, shape)
    cgm[0, 200:230] = np.nan
    cgm[:, draw.random(shape[1]) < 0.05] = np.nan
    bolus = np.where(draw.random(shape) < 0.05, draw.uniform(1, 8, shape), 0.0)
    carbs = np.where(draw.random(shape) < 0.04, draw.uniform(10, 60, shape), 0.0) * np.array([[1.0], [0.0]])
    person, size = np.arange(2), np.array([0.5, 0.8])
    return World(person, np.full(2, "well"), cgm, cgm, bolus, carbs, size, np.array([3, 3]))


def test_streams_of_all_lives_at_once_are_those_of_the_twin(scripts, world):
    lives, clock = scripts.lives, scripts.lives.COARSE
    ridge = lives.Ridge(world, clock)
    found, means = lives.day_streams(world, ridge)
    rows, at = lives.features(world, clock), clock.origins(world)
    errors = (lives.truths(world, world.cgm, clock) - ridge.answer(rows))[..., 0]
    taken = (world.bolus > 0) | (world.carbs > 0)
    for life in range(2):
        for day in range(4):
            sums, span = DaySums(), slice((day + 1) * 96, (day + 2) * 96)
            come = np.flatnonzero((at + 4 >= span.start) & (at + 4 < span.stop))
            acted = np.array([taken[life, max(at[one] - 1 - 16 + 1, 0) : at[one]].any() for one in come])
            sums.read(world.cgm[life, span])
            sums.missed(errors[life, come], np.abs(errors[life, come]) > ridge.half[0], acted)
            sums.took(world.bolus[life, span], world.carbs[life, span])
            theirs = sums.close()
            mine = {name: float(one[life, day]) for name, one in found.items()}
            assert mine == pytest.approx(theirs, nan_ok=True)
    assert np.isnan(found[CARBS][1]).all()
    assert means.shape == (2, 4, rows.shape[-1])


def test_who_knows_the_world_weighs_as_the_closed_form_says(scripts):
    """Independent days of one stream, a known step: delta x (mean after - mean before) / v - delta^2 / 2v."""
    draw, delta = np.random.default_rng(3), 1.3
    rules = scripts.rules
    knows = rules.Knowing(draw.normal(size=(3, 40, 1)), np.full((rules.AGES, 1), delta))
    knows.together = np.zeros((40, 1, 1))
    knows.together[0] = 1.0 - 1e-3  # with what it adds itself: a variance of 1
    days = draw.normal(size=(2, 36, 1))
    found = knows.heights(days, 30)
    for life in range(2):
        own = days[life, :36, 0]
        ratios = [0.0]
        for age in range(1, 36 - 14 + 1):
            after, before = own[-age:].mean(), own[:-age].mean()
            v = 1 / age + 1 / (36 - age)
            ratios.append(delta * (after - before) / v - delta**2 / (2 * v))
        assert found[life, -1] == pytest.approx(max(ratios))


def test_amounts_stand_in_the_column_after_whose_reading_they_were_taken(scripts):
    shown = np.full(8, 120.0, dtype=np.float32)
    one = Series(shown, np.ones(8, bool), 900.0, 1800.0, subject=0, group=0)
    amounts, known = np.zeros(24, dtype=np.float32), np.ones(24, dtype=bool)
    # Sums of 5 minutes that end at 0:30 (a reading), 0:35, 0:45 and 1:00; the last is not known.
    amounts[[0, 1, 3, 6]], known[6] = (1, 2, 4, 9), False
    given = [Series(amounts, known, 300.0, 1800.0, subject=0, group=0)]
    found = scripts.real._amounts(one, given)
    # Two columns lie between midnight and the first reading, at 0:30.
    assert found.tolist() == [0, 1, 6, 0, 0, 0, 0, 0, 0, 0]
    assert np.isnan(scripts.real._from_midnight(one)[:2]).all()


def test_what_is_put_into_a_record_begins_on_its_day_and_changes_nothing_before(scripts):
    real, draw = scripts.real, np.random.default_rng(7)
    shape = (1, 60 * 96)
    cgm = 120 + draw.normal(0, 10, shape)
    bolus = np.where(draw.random(shape) < 0.05, 3.0, 0.0)
    world = World(np.array([4]), np.array(["well"]), cgm, cgm, bolus, np.zeros(shape), np.ones(1), np.array([30]))
    whole = real.Records(world, (("dose",),))
    gain, lost = (real.changed(whole, kind) for kind in KINDS[:3:2])
    assert gain.world.onset.tolist() == [30]  # one more, three weeks later, would not be followed for two weeks
    at = 30 * 96
    assert np.array_equal(gain.world.cgm[0, :at], cgm[0, :at])
    assert gain.world.cgm[0, at : at + 96] == pytest.approx(1.15 * cgm[0, at : at + 96])
    assert np.array_equal(gain.world.right[0, at : at + 96], cgm[0, at : at + 96])
    assert np.array_equal(lost.world.bolus[0, :at], bolus[0, :at])
    assert not lost.world.bolus[0, at:].any()
    # Nobody can lose meals that were never written down.
    assert not real._could(whole, 0, 29, KINDS[3])
