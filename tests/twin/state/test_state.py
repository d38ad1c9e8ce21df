"""The state as two files: read back to the bit, refused where it is not what was written."""

import json
from dataclasses import replace

import numpy as np
import pytest

from hdt_fm.schema.errors import CheckpointError
from hdt_fm.schema.privacy import private_traces
from hdt_fm.schema.series import DAY_S, ForecastTask
from hdt_fm.twin.drift.cause import Proposal
from hdt_fm.twin.drift.streams import LEVEL
from hdt_fm.twin.forecast.outlook import OfPeople
from hdt_fm.twin.nights.night import Nights
from hdt_fm.twin.state.learned import Learned, Said
from hdt_fm.twin.state.state import (
    ARRAYS_NAME,
    FACTS_NAME,
    FORMAT,
    Reference,
    TwinState,
    bytes_kept,
    load_state,
    needed_s,
    save_state,
)
from hdt_fm.twin.state.tracks import Events, Track
from hdt_fm.twin.state.watched import Watched

TASK = ForecastTask("glucose", "mg/dL", 300.0, 10_800.0, (1800.0,), 1800.0, 7, float(DAY_S), ("bolus", "insulin_rate"))


@pytest.fixture
def state():
    people = OfPeople(levels=(0.1, 0.9), shift=(1.0,), score_spread=(9.0,))
    learned = Learned(width=3, horizons_s=TASK.horizons_s, people=people)
    for half_hour in range(5):
        learned.advance(1800.0 * half_hour, lambda times: np.full(len(times), 120.0))
        learned.tell(1800.0 * half_hour, Said(np.array([[100.0, 90.0, 110.0]]), np.arange(3) + half_hour / 7))
    watch = Watched(["bolus"])
    watch.begin(9.0)
    watch.close({LEVEL: 1 / 3}, {"bolus": 2})
    watch.proposal = Proposal("gain", 0, 0, factor=1.1, evidence=(("error at rest", 1 / 7),))
    dates = np.array(["2026-01-01", "2026-01-03"], dtype="datetime64[D]")
    return TwinState(
        reference=Reference("d1", "runs/x", TASK, "mean", 1.0, 2.0),
        learned=learned,
        salt="s",
        readings=Track(np.array([1.0, 301.5]), np.array([100, 101], dtype=np.float32)),
        step_s=300.0,
        recorded={"insulin_rate": Track(np.array([2.0]), np.array([0.5], dtype=np.float32))},
        events={"bolus": Events(np.array([3.0, 4.0]), np.array([2, 1], dtype=np.float32))},
        offset_s=3600,
        clock="device",
        source=("a", "b"),
        whose={"a": "f" * 64},
        learned_until_s=7200.0,
        taken={"new": 2},
        exposures={"light": {"bank": np.array([[1.5, 2.5]]), "until": np.array([9], dtype=np.int64)}},
        nights=Nights(dates, np.array([[60.0, np.nan], [61.0, 0.1]]), ("resting_heart_rate", "x"), ("", "band")),
        watch=watch,
    )


def test_all_of_it_comes_back(state, tmp_path):
    save_state(state, tmp_path)
    found = load_state(tmp_path)
    for name in ("reference", "salt", "step_s", "offset_s", "clock", "source", "whose", "learned_until_s", "taken"):
        assert getattr(found, name) == getattr(state, name), name
    np.testing.assert_array_equal(found.exposures["light"]["bank"], [[1.5, 2.5]])
    assert found.exposures["light"]["until"].dtype == np.int64
    assert found.nights.names == state.nights.names
    np.testing.assert_array_equal(found.nights.values, state.nights.values)
    assert found.nights.devices == ("", "band")
    assert found.watch.state() == state.watch.state()
    assert found.watch.proposal == state.watch.proposal
    (tmp_path / "again").mkdir()
    save_state(found, tmp_path / "again")
    for name in (FACTS_NAME, ARRAYS_NAME):
        assert (tmp_path / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    assert bytes_kept(found) == bytes_kept(state) < (tmp_path / ARRAYS_NAME).stat().st_size
    mine, theirs = (one.learned.corrected(Said(np.array([[99.0, 90, 110]]), np.ones(3))) for one in (state, found))
    np.testing.assert_array_equal(mine.quantiles, theirs.quantiles)


def test_nothing_private_is_in_it(state, tmp_path):
    save_state(state, tmp_path)
    assert not private_traces((tmp_path / FACTS_NAME).read_text(), dates=True)


def test_one_that_has_read_nothing(state, tmp_path):
    empty = TwinState(
        reference=state.reference, learned=Learned.of(state.learned.facts(), state.learned.arrays()), salt=""
    )
    save_state(empty, tmp_path)
    found = load_state(tmp_path)
    assert (len(found.readings), found.nights, found.learned_until_s) == (0, None, -np.inf)


def without_watch(state, tmp_path, **more):
    save_state(state, tmp_path)
    facts = json.loads((tmp_path / FACTS_NAME).read_text())
    del facts["watch"]
    (tmp_path / FACTS_NAME).write_text(json.dumps({**facts, **more}))
    return load_state(tmp_path)


def test_a_twin_that_was_written_before_there_was_a_watch_is_watched_from_now_on(state, tmp_path):
    late = replace(state, readings=Track(np.array([1.0, 2.5 * DAY_S]), np.array([100, 101], dtype=np.float32)))
    found = without_watch(late, tmp_path)
    assert (found.watch.first, found.watch.watch.days, found.watch.records) == (3, 0, ("bolus",))
    assert without_watch(replace(state, readings=Track.empty()), tmp_path).watch.first is None


@pytest.mark.parametrize("harm", [{"first": "soon"}, {"proposal": {"cause": "magic"}}, {"watch": {}}, {"proposal": 3}])
def test_a_harmed_watch_is_refused(state, tmp_path, harm):
    with pytest.raises(CheckpointError, match="cannot be read"):
        without_watch(state, tmp_path, watch={**state.watch.state(), **harm})


def test_a_later_format_is_refused(state, tmp_path):
    save_state(state, tmp_path)
    facts = json.loads((tmp_path / FACTS_NAME).read_text())
    (tmp_path / FACTS_NAME).write_text(json.dumps({**facts, "format": FORMAT + 1}))
    with pytest.raises(CheckpointError, match=f"later hdt_fm(.|\n)*got: format {FORMAT + 1}"):
        load_state(tmp_path)


@pytest.mark.parametrize("name", [FACTS_NAME, ARRAYS_NAME])
@pytest.mark.parametrize("how", ["missing", "short", "other"])
def test_files_that_are_not_what_was_written(state, tmp_path, name, how):
    save_state(state, tmp_path)
    path = tmp_path / name
    content = path.read_bytes()
    path.unlink()
    if how != "missing":
        path.write_bytes(content[: len(content) // 2] if how == "short" else b"[1]")
    with pytest.raises(CheckpointError, match=r"cannot be read|no twin's state"):
        load_state(tmp_path)


def test_arrays_of_another_twin(state, tmp_path):
    save_state(replace(state, nights=None), tmp_path)
    arrays = (tmp_path / ARRAYS_NAME).read_bytes()
    save_state(state, tmp_path)
    (tmp_path / ARRAYS_NAME).write_bytes(arrays)
    with pytest.raises(CheckpointError, match="written, together"):
        load_state(tmp_path)


def test_how_far_back_a_forecast_looks():
    # Seven windows of 26 h, a day apart, reach back 7 days and 2 h; with half an hour, an hour and two steps.
    assert needed_s(TASK, 93_600.0) == 6 * DAY_S + 93_600 + 1800 + 3600 + 600
    assert needed_s(replace(TASK, windows=0), 93_600.0) == 7 * DAY_S + 1800 + 3600 + 600
