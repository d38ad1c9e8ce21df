"""What is kept of readings and treatments: each once, in order, on the grid that training had."""

import numpy as np
import pytest

from hdt_fm.schema.recording import Channel, LabelTrack, Recording, Visit
from hdt_fm.schema.series import DAY_S
from hdt_fm.signal.coarsen import coarsen
from hdt_fm.signal.given import amounts_given
from hdt_fm.twin.state.tracks import Counts, Events, Grid, Stretch, Track

WHO = "s" + 32 * "0"


def stretch(times, values=None, step_s=300.0):
    values = 100.0 + np.arange(len(times)) if values is None else values
    return Stretch(np.asarray(times, dtype=np.float64), np.asarray(values, dtype=np.float32), step_s)


def track(times, values=None):
    one = stretch(times, values)
    return Track(one.times_s, one.values)


def test_only_what_is_newer_is_taken_and_all_is_counted():
    kept = track([3000, 3300, 3600, 4500], [100, 110, 120, 130])
    # Older than all; known, 100 s off; known with another value; in the gap; known; new.
    came = stretch([2400, 3400, 3600, 4050, 4500, 4800], [90, 110, 190, 125, 131, 140])
    found, counts = kept.absorb(came)
    assert counts == Counts(new=1, known=2, differing=1, late=1, before=1)
    assert found.times_s.tolist() == [3000, 3300, 3600, 4500, 4800]
    assert found.values.tolist() == [100, 110, 120, 130, 140]


def test_an_empty_track_takes_all_and_a_full_one_nothing_twice():
    came = stretch(np.arange(20) * 300.0)
    found, counts = Track.empty().absorb(came)
    assert counts == Counts(new=20)
    again, counts = found.absorb(came)
    assert (counts, len(again)) == (Counts(known=20), 20)
    assert found.since(1500.0).times_s[0] == 1500.0


@pytest.mark.parametrize(("off_s", "new"), [(149.0, 0), (-149.0, 0), (151.0, 1)])
def test_half_a_step_parts_two_readings(off_s, new):
    assert track([600.0]).absorb(stretch([600.0 + off_s]))[1].new == new


def test_a_value_that_went_through_another_unit_is_the_same():
    mmol = np.round(np.array([72.0, 140.0, 250.0]) / 18.0156, 1) * 18.0156
    kept = track([0, 300, 600], [72, 140, 250])
    assert kept.absorb(stretch([0, 300, 600], mmol))[1] == Counts(known=3)


def test_events_are_known_by_time_and_amount_and_late_ones_are_taken():
    kept = Events(np.array([1000.0, 2000.0]), np.array([4.0, 30.0], dtype=np.float32))
    came = Events(np.array([500.0, 1000.0, 1000.0, 1500.0, 2000.0]), np.array([1, 4, 4, 2, 31], dtype=np.float32))
    found, counts = kept.absorb(came, from_s=600.0)
    # Two alike at one time are two; another amount at a known time is another entry.
    assert counts == Counts(new=3, known=1, before=1)
    assert found.times_s.tolist() == [1000, 1000, 1500, 2000, 2000]
    assert sorted(found.amounts.tolist()) == [2, 4, 4, 30, 31]
    assert found.absorb(came, from_s=600.0)[1] == Counts(known=4, before=1)


@pytest.mark.parametrize("how", ["newest", "mean"])
@pytest.mark.parametrize("per", [1, 3])
def test_the_grid_is_that_of_training(how, per):
    generator = np.random.default_rng(per)
    values = generator.uniform(60, 250, 40 * per).astype(np.float32)
    observed = generator.random(len(values)) < 0.7
    observed[[0, -1]] = True
    seen = np.flatnonzero(observed)
    step_s = 900.0 / per
    # Whole steps from the first sample, with room behind the last as `coarsen` ends before it.
    wide = np.concatenate([values, np.zeros(per, np.float32)])[None]
    there = np.concatenate([observed, np.zeros(per, np.bool_)])
    wanted, known = coarsen(np.where(there, wide, 0), there, 1 / step_s, 1 / 900.0, how)
    (found,) = Grid(900.0, phase_s=7.0).series(Track(7.0 + seen * step_s, values[seen]), how=how)
    assert found.start_s == 7.0
    np.testing.assert_array_equal(found.observed, known[: len(found)])
    np.testing.assert_allclose(found.values[found.observed], wanted[0, : len(found)][found.observed], rtol=1e-6)


def test_two_days_without_a_reading_part_the_series():
    times = np.concatenate([np.arange(5) * 300.0, 2 * DAY_S + 2400.0 + np.arange(3) * 300.0])
    first, second = Grid(300.0, offset_s=3600.0).series(track(times))
    assert (len(first), len(second)) == (5, 3)
    assert second.start_s == 2 * DAY_S + 2400.0
    assert second.utc_offset_s == 3600.0
    assert len(Grid(300.0).series(track(times), apart_s=np.inf)) == 1
    assert Grid(300.0).series(Track.empty()) == ()


def test_amounts_are_those_of_a_visit():
    at = np.array([600, 610, 4000, 4 * DAY_S], dtype=np.int64)
    doses = np.array([2.0, 1.0, 5.0, 3.0])
    readings = Recording(
        modality="glucose",
        channels=(Channel("cgm", "mg/dL"),),
        sampling_rate_hz=1 / 300,
        start_ns=0,
        values=np.full((1, 5 * 288), 100.0, dtype=np.float32),
        observed=np.ones(5 * 288, dtype=np.bool_),
        subject=WHO,
        device="cgm",
        body_site="arm",
    )
    label = LabelTrack("bolus", "event", at * 10**9, at * 10**9, doses, unit="U")
    wanted = amounts_given(Visit(WHO, {"glucose": readings}, {"bolus": label}, source="x"), "bolus", 1 / 300)
    events = Events(at.astype(np.float64), doses.astype(np.float32))
    (found,) = Grid(300.0).given(events, until_s=5.0 * DAY_S - 1)
    first = round(found.start_s / 300)
    np.testing.assert_array_equal(found.values, wanted.values[0, first : first + len(found)])
    np.testing.assert_array_equal(found.observed, wanted.observed[first : first + len(found)])
    assert not wanted.observed[:first].any()
    # Of what is taken later nothing is known yet.
    (now,) = Grid(300.0).given(events, until_s=700.0)
    assert now.values.tolist() == [2.0]
    assert Grid(300.0).given(Events.empty(), until_s=700.0) == ()
