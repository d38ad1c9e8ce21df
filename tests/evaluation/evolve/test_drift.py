"""How drift is judged, by hand."""

import importlib.util
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from hdt_fm.evaluation.evolve.drift import NEVER_DAYS, Alarms, alarm_rows, coverage_rows, error_rows, named_rows
from hdt_fm.metrics.conformal import online_shift

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


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """scripts/evolve_drift.py, imported as the module that it is."""
    spec = importlib.util.spec_from_file_location("evolve_drift", REPO / "scripts" / "evolve_drift.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_an_own_layer_learns_from_no_truth_that_has_not_come(script):
    draw = np.random.default_rng(0)
    rows, missed = draw.normal(size=(5 * 48, 3)), draw.normal(size=(5 * 48, 2))
    day = np.arange(5 * 48) // 48
    other = missed.copy()
    # Asked at 22:00 and later on the third day, a truth two hours on has not come by midnight.
    other[3 * 48 - 4 :] += 50
    first, second = (script.followed(rows, one, day, 1) for one in (missed, other))
    assert np.array_equal(first[: 4 * 48], second[: 4 * 48])
    assert not np.allclose(first[4 * 48 :], second[4 * 48 :])
    assert not first[:96].any()  # nothing before the second day, and nothing is known on it


def test_intervals_are_those_of_the_twin(script):
    missed = np.random.default_rng(1).normal(size=(2, 300)) * 20
    missed[0, 40:60] = np.nan
    ridge = SimpleNamespace(half=np.array([20.0, 30.0]), scale=np.array([12.0, 15.0]))
    found = script.half_widths(missed, 1, ridge, haste=0.0)
    for life, errors in enumerate(missed):
        point = np.zeros(300)
        by_rule = online_shift(
            1800.0 * np.arange(300), point, point, errors, horizon_s=7200.0, start=30.0, spread=15.0, coverage=0.8
        )
        assert found[life] == pytest.approx(by_rule)


def test_what_is_left_of_a_dose_is_not_of_the_same_reading(script):
    amounts = np.array([[0.0, 2.0, 0.0, 0.0]])
    assert script.leaky(amounts, 5.0)[0] == pytest.approx([0, 0, 2, 2 / np.e])
