"""Another head for a person: as if it had read what is kept, or all of it; the person's own stays."""

from dataclasses import replace

import numpy as np
import pytest

from hdt_fm.schema.errors import ConfigError, RecordingError
from hdt_fm.schema.series import DAY_S
from hdt_fm.twin.drift.cause import Proposal
from hdt_fm.twin.state.answer import Answers, forecast
from hdt_fm.twin.state.move import before, kept_of, moved
from hdt_fm.twin.state.state import TwinState
from hdt_fm.twin.state.stream import Window, absorb
from hdt_fm.twin.state.tracks import Events, Stretch
from hdt_fm.twin.state.watched import watch_for
from tests.twin.state.test_stream import BEGIN_S, TASK, head, new_state, part, record, same

__all__ = ["record"]


def other_head(series, given, moments):
    """Told the same, says something else, by features of another meaning."""
    said = head(series, given, moments)
    return Answers(said.answer + 4.0, np.roll(said.hidden, 1, axis=1) * 0.8)


def of_other(**more) -> TwinState:
    return replace(new_state(digest="other", **more), watch=watch_for(TASK))


def read(window, ask, **more):
    state = replace(new_state(**more), watch=watch_for(TASK))
    absorb(state, window, ask)
    return state


def test_with_the_whole_export_it_is_as_if_the_head_had_always_been_the_other(record):
    old = read(record, head)
    kept_s = float(old.readings.times_s[0])
    assert kept_s > BEGIN_S + 2 * DAY_S
    state, found = moved(old, of_other(), other_head, earlier=record)
    always = read(record, other_head, digest="other")
    same(forecast(state, other_head), forecast(always, other_head))
    np.testing.assert_allclose(state.learned.layer.squares, always.learned.layer.squares, rtol=1e-9)
    assert state.learned.layer.seen.tolist() == always.learned.layer.seen.tolist()
    assert state.watch.state() == always.watch.state()
    assert found.readings.new == len(old.readings)
    assert found.forecasts == absorb(new_state(), record, other_head).forecasts


def test_with_what_is_kept_alone_it_has_read_that_and_no_more(record):
    old = read(record, head)
    state, _ = moved(old, of_other(), other_head)
    anew = read(part(record, float(old.readings.times_s[0]) - 1, np.inf), other_head, digest="other")
    same(forecast(state, other_head), forecast(anew, other_head))
    assert state.learned.layer.seen.sum() < old.learned.layer.seen.sum()


def test_it_goes_on_as_any_twin(record):
    edge = BEGIN_S + 10 * DAY_S
    old = read(part(record, -np.inf, edge), head)
    state, _ = moved(old, of_other(), other_head, earlier=record)
    absorb(state, part(record, edge - 3600, np.inf), other_head)
    same(forecast(state, other_head), forecast(read(record, other_head), other_head))


def test_the_persons_own_stays_and_the_old_state_is_not_touched(record):
    old = read(record, head)
    old.exposures = {"temperature": {"total": np.ones(3)}}
    old.whose, old.taken, old.source = {"clarity": "digest"}, {"new": 9}, ("clarity",)
    squares, weights = old.learned.layer.squares.copy(), old.learned.weights.copy()
    state, _ = moved(old, of_other(), other_head)
    assert state.reference.digest == "other"
    for name in ("exposures", "whose", "taken", "source", "salt", "nights", "offset_s", "clock", "step_s"):
        assert getattr(state, name) is getattr(old, name)
    assert old.reference.digest == "d"
    np.testing.assert_array_equal(old.learned.layer.squares, squares)
    np.testing.assert_array_equal(old.learned.weights, weights)


def test_what_is_known_of_devices_goes_along_and_an_earlier_export_asks_about_none(record):
    old = read(replace(part(record, BEGIN_S + 6 * DAY_S, np.inf), devices=("G7 of Ann",)), head)
    watch = old.watch.watch
    watch.wears("another")
    watch.answered(accepted=False)
    fresh = replace(of_other(), salt="of a new twin")
    state, _ = moved(old, fresh, other_head, earlier=replace(record, devices=("G6",)))
    assert state.watch.proposal is None
    assert state.watch.watch.device == "another"
    later = Window((Stretch(np.array([record.end_s + 900.0]), np.array([120.0], dtype=np.float32), 900.0),))
    absorb(state, replace(later, devices=("G7 of Ann",)), other_head)
    assert state.watch.proposal is None  # it was said that both are one
    later = Window((Stretch(np.array([record.end_s + 1800.0]), np.array([120.0], dtype=np.float32), 900.0),))
    absorb(state, replace(later, devices=("G6",)), other_head)
    assert state.watch.proposal.cause == "device"


def test_somebody_of_whom_nothing_was_read_moves_as_well():
    state, found = moved(replace(new_state(), watch=watch_for(TASK)), of_other(), other_head)
    assert (len(state.readings), found.readings.new, state.reference.digest) == (0, 0, "other")


def test_what_lies_before_a_moment():
    window = Window(
        readings=(Stretch(np.arange(4.0), np.arange(4, dtype=np.float32), 1.0),),
        recorded={"insulin_rate": (Stretch(np.arange(4.0), np.ones(4, dtype=np.float32), 1.0),)},
        events={"bolus": Events(np.array([0.5, 2.0, 2.5]), np.ones(3, dtype=np.float32))},
    )
    cut = before(window, 2.0)
    assert cut.readings[0].times_s.tolist() == [0.0, 1.0]
    assert cut.recorded["insulin_rate"][0].times_s.tolist() == [0.0, 1.0]
    assert cut.events["bolus"].times_s.tolist() == [0.5]
    assert kept_of(new_state()).readings == ()


def test_another_signal_a_finer_step_and_an_open_proposal_are_refused(record):
    old = read(record, head)
    heart = replace(TASK, modality="heart_rate", unit="bpm")
    with pytest.raises(RecordingError, match="another signal"):
        moved(old, of_other(task=heart), other_head)
    with pytest.raises(RecordingError, match="further apart"):
        moved(old, of_other(task=replace(TASK, step_s=60.0)), other_head)
    old.watch.proposal = Proposal("gain", 2, 1, factor=1.15, evidence=())
    with pytest.raises(ConfigError, match="A proposal waits"):
        moved(old, of_other(), other_head)
