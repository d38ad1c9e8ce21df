"""The table of alerts: what it prints follows from what was said, and its real days are days."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from hdt_fm.schema.recording import NS_PER_S, LabelTrack, Visit


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


def test_values_of_a_day_become_their_median(script):
    day = 86_400 * NS_PER_S
    times = np.array([10, 20, day + 5, 3 * day], dtype=np.int64)
    track = LabelTrack("resting_heart_rate", "event", times, times, np.array([60.0, 62, 70, 80]), unit="bpm")
    nights = script.nights_of(Visit(subject="s", recordings={}, labels={track.name: track}, covariates={}, source="x"))
    assert nights.values[:, 0].tolist() == [61, 70, 80]
    assert nights.on_calendar().values[2, 0] != nights.on_calendar().values[2, 0]
    assert script.nights_of(Visit(subject="s", recordings={}, labels={}, covariates={}, source="x")) is None
