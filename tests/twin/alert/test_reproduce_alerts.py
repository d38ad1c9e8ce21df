"""The table of alerts: what it prints follows from what was said, and its real days are days."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from hdt_fm.schema.recording import NS_PER_S, LabelTrack, Visit
from hdt_fm.twin.nights.night import Nights


@pytest.fixture(scope="module")
def script(repo: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("reproduce_alerts", repo / "scripts" / "reproduce_alerts.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_scores_by_hand(script):
    """Two people: one false episode at night 50 and found two nights early; nothing."""
    cohort = script.cohort_of("plain", 2.0, 2, 0)
    alert = np.zeros((2, script.NIGHTS), dtype=bool)
    alert[0, [50, 51, script.ONSET - 2]] = True
    judged = np.tile(np.arange(script.NIGHTS) >= 28, (2, 1))
    rows = list(script.scores([script.Watched(cohort, alert, judged, ~judged)], "two", "by hand"))
    found = {row["metric"]: row["value"] for row in rows}
    nights = script.ONSET - 4 - 28 + script.NIGHTS - script.ONSET - 29
    assert found["false episodes"] == pytest.approx(1 / (2 * nights / 365.25))
    assert found["found by onset"] == 0.5
    assert found["median lead of those found"] == 2


def test_people_differ_by_seed_and_world_and_not_by_call(script):
    first, again, other = (script.cohort_of("life", 2.0, 2, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.values, again.values)
    assert not np.allclose(np.nan_to_num(first.values), np.nan_to_num(other.values))


def test_the_oracle_row_keeps_its_budget(script):
    cohort = script.cohort_of("plain", 2.0, 60, 3).only("resting_heart_rate")
    rows = {row["metric"]: row for row in script.scores([script.bound(cohort, 2.0, 4.0)], "sixty", "oracle")}
    assert rows["false episodes"]["low"] <= 4.0 <= rows["false episodes"]["high"]
    assert rows["found by onset"]["value"] > 0.85


def test_a_rate_with_its_poisson_interval(script):
    """As printed tables have it: 26 is 16.98 to 38.10, none 0 to 3.69."""
    assert script.a_year(26, 36_525) == pytest.approx((0.26, 0.1698, 0.3810), abs=1e-4)
    assert script.a_year(0, 36_525) == pytest.approx((0, 0, 0.0369), abs=1e-4)


def test_who_has_somebody_elses_nights_counts_once(script):
    generator = np.random.default_rng(0)
    dates, bpm = np.datetime64("2026-01-01", "D") + np.arange(60), generator.normal(60, 2, 60).round(3)

    def person(begin, end, more=0.0):
        return Nights(dates[begin:end], bpm[begin:end, None] + more, ("resting_heart_rate",))

    steps = Nights(dates, bpm[:, None], ("steps",))
    assert script.held_twice([person(0, 60), person(10, 40), person(0, 60, 1.0), steps]) == {1}
    # Fifteen common nights prove nothing; of two with the same nights the later one stays.
    assert script.held_twice([person(0, 60), person(5, 20)]) == set()
    assert script.held_twice([person(0, 30), person(0, 30)]) == {0}


@pytest.mark.real
def test_the_rate_on_real_nights(script, real_data):
    """The README's table; whoever changes the method renews it."""
    rows = {(row["what"], row["metric"]): row for row in script.lifesnaps(real_data / "lifesnaps_daily")}
    assert rows["lifesnaps_daily", "people whose nights somebody else has too"]["value"] == 2
    for signals, judged, alerts in (("resting heart rate", 1996, 14), ("all indicators", 2276, 18)):
        what = f"lifesnaps_daily, all people, {signals}"
        assert rows[what, "nights judged"]["value"] == judged
        assert rows[what, "alerts"]["value"] == alerts
        assert rows[what, "alerts a year, budget 2"]["low"] < 2


def test_values_of_a_day_become_their_median(script):
    day = 86_400 * NS_PER_S
    times = np.array([10, 20, day + 5, 3 * day], dtype=np.int64)
    track = LabelTrack("resting_heart_rate", "event", times, times, np.array([60.0, 62, 70, 80]), unit="bpm")
    nights = script.nights_of(Visit(subject="s", recordings={}, labels={track.name: track}, covariates={}, source="x"))
    assert nights.values[:, 0].tolist() == [61, 70, 80]
    assert nights.on_calendar().values[2, 0] != nights.on_calendar().values[2, 0]
    assert script.nights_of(Visit(subject="s", recordings={}, labels={}, covariates={}, source="x")) is None
