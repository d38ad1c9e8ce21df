"""Origins: what is known there, what is scored, and that nothing later is seen."""

import numpy as np
import pytest

from hdt_fm.schema.errors import ConfigError, RecordingError
from hdt_fm.schema.series import Series
from hdt_fm.signal.moments import moments_of, places_of

STEP = 300.0
START = 1_700_006_400.0  # midnight


def series(values, observed=None, *, subject=0, group=0, start=START):
    values = np.asarray(values, dtype=np.float32)
    seen = np.ones(len(values), bool) if observed is None else np.asarray(observed, bool)
    return Series(values, seen, STEP, start, subject, group)


def ramp(count=200):
    return np.arange(count, dtype=np.float32) + 100


def test_origins_lie_on_the_half_hour_and_targets_are_measured_ahead():
    found = moments_of([series(ramp())], context_s=3600.0, horizons_s=[1800.0, 3600.0])
    assert (found.time_s % 1800 == 0).all()
    ahead, known = found.last[:, None] + np.array([6, 12]), np.isfinite(found.target)
    assert np.allclose(found.target[known], ahead[known])
    assert (~known).sum() == 1  # the last origin has a reading half an hour ahead, and none an hour ahead
    assert np.allclose(found.context[:, -1], found.last)
    assert np.allclose(np.diff(found.context, axis=1), 1)
    assert np.allclose(found.clock_s, found.time_s - START)


def test_what_was_not_measured_is_never_a_target():
    seen = np.ones(200, bool)
    seen[60:70] = False
    found = moments_of([series(ramp(), seen)], context_s=3600.0, horizons_s=[1800.0])
    asked = found.place + 6
    assert not np.isin(asked, np.arange(60, 70)).any()
    assert np.isfinite(found.target).all()


def test_a_short_gap_is_a_line_and_a_long_one_unknown():
    seen = np.ones(200, bool)
    seen[40:44] = False
    seen[80:95] = False
    found = moments_of([series(ramp(), seen)], context_s=7200.0, horizons_s=[1800.0], least_known=0.3)
    of = dict(zip(found.place.tolist(), found.context, strict=True))
    after_short = next(context for place, context in of.items() if 46 <= place < 60)
    assert np.isfinite(after_short).all()
    after_long = next(context for place, context in of.items() if 96 <= place < 103)
    assert np.isnan(after_long).sum() == 15


def test_a_line_that_ends_after_now_is_not_known_yet():
    seen = np.ones(200, bool)
    seen[53:57] = False  # an origin at place 54 sees the reading of 52, and not that of 57
    jump = ramp()
    jump[57:] += 500
    found = moments_of([series(jump, seen)], context_s=3600.0, horizons_s=[1800.0])
    row = int(np.flatnonzero(found.place == 54)[0])
    assert found.last[row] == jump[52]
    assert (found.context[row, -3:] == jump[52]).all()


def test_nothing_later_changes_what_is_known():
    generator = np.random.default_rng(0)
    values, seen = generator.normal(150, 30, 400), generator.random(400) > 0.2
    one = moments_of([series(values, seen)], context_s=3600.0, horizons_s=[1800.0])
    other = values.copy()
    other[200:] += 1000
    two = moments_of([series(other, seen)], context_s=3600.0, horizons_s=[1800.0])
    early = one.place < 200
    assert early.sum() > 10
    assert np.array_equal(one.context[early], two.context[early], equal_nan=True)
    assert np.array_equal(one.last[early], two.last[early])


def test_an_old_reading_is_no_origin():
    seen = np.ones(200, bool)
    seen[60:100] = False
    found = moments_of([series(ramp(), seen)], context_s=3600.0, horizons_s=[1800.0])
    assert not np.isin(found.place, np.arange(63, 100)).any()


def test_series_that_do_not_fit_are_refused():
    with pytest.raises(ConfigError, match="step"):
        moments_of([series(ramp())], context_s=3600.0, horizons_s=[1000.0])
    other = Series(ramp(), np.ones(200, bool), 900.0, START, 1, 1)
    with pytest.raises(ConfigError, match="several steps"):
        moments_of(
            [series(ramp()), other],
            context_s=3600.0,
            horizons_s=[1800.0],
        )
    with pytest.raises(ConfigError, match="No moment"):
        moments_of([series(ramp(10))], context_s=3600.0, horizons_s=[1800.0])
    with pytest.raises(RecordingError, match="no number"):
        series([1.0, np.nan])


def test_those_who_are_asked_now_need_no_future_and_start_at_their_newest_reading():
    seen = np.ones(200, bool)
    seen[193:] = False
    one = series(ramp(), seen)
    scored = moments_of([one], context_s=3600.0, horizons_s=[1800.0])
    now = moments_of([one], context_s=3600.0, horizons_s=[1800.0], scored=False, to_newest=True)
    assert now.place[-1] == 192
    assert (np.diff(now.place) == 6).all()
    assert np.isnan(now.target[-1]).all()
    assert scored.place[-1] <= 186
    assert now.last[-1] == 292


def test_places_lie_on_the_clock_or_count_back_from_the_newest_reading():
    late = series(ramp(50), start=START + 700)
    places = places_of(late, 1800.0)
    assert np.abs((late.start_s + places * STEP) % 1800).max() <= STEP
    assert places_of(late, 1800.0, to_newest=True)[-1] == 49
    nothing = series(ramp(5), np.zeros(5, bool))
    assert len(places_of(nothing, 1800.0, to_newest=True)) == 0


def test_some_origins_are_the_same_origins():
    found = moments_of([series(ramp()), series(ramp() + 5, subject=1, group=1)], context_s=3600.0, horizons_s=[1800.0])
    some = found.rows(np.array([3, 1]))
    assert len(some) == 2
    assert some.place.tolist() == found.place[[3, 1]].tolist()
    assert np.array_equal(some.context, found.context[[3, 1]])
    assert (some.step_s, some.horizons_s) == (found.step_s, found.horizons_s)
