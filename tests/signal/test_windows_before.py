"""Raw windows before an origin: by hand, and nothing that comes later."""

import numpy as np

from hdt_fm.schema.series import Series
from hdt_fm.signal.moments import moments_of
from hdt_fm.signal.own_past import windows_before

START = 1_700_006_400.0  # midnight
DAY = 86_400.0


def one(values, observed=None, step_s=300.0):
    values = np.asarray(values, dtype=np.float32)
    seen = np.ones(len(values), bool) if observed is None else observed
    return Series(values, seen, step_s, START, 0, 0)


def asked(series):
    return moments_of([series], context_s=3600.0, horizons_s=[1800.0])


def test_points_are_means_from_the_newest_reading():
    series = one(np.arange(288.0 * 3))
    moments = asked(series)
    found = windows_before(moments, [series], windows=2, apart_s=DAY, span_s=7200.0)
    assert found.shape == (len(moments), 2, 16)
    row = int(np.flatnonzero(moments.place == 300)[0])
    # Eight quarters of an hour up to now: their middles are 1, 4, 7, ... readings old; a day before, 288 less.
    assert found[row, 1, :8].tolist() == [-22.0, -19.0, -16.0, -13.0, -10.0, -7.0, -4.0, -1.0]
    early = found[row, 0]
    # The series began 12 readings before that moment of yesterday: the older half is not known.
    assert early[8:].tolist() == [0, 0, 0, 1, 1, 1, 1, 1]
    assert early[4:8].tolist() == [-298.0, -295.0, -292.0, -289.0]
    assert early[:3].tolist() == [0, 0, 0]


def test_a_window_without_a_reading_is_unknown():
    series = one(np.arange(400.0))
    moments = asked(series)
    found = windows_before(moments, [series], windows=2, apart_s=DAY, span_s=7200.0)
    before = moments.place < 288
    assert np.isnan(found[before, 0]).all()
    assert np.isfinite(found[:, 1]).all()


def test_later_readings_change_nothing():
    values = np.random.default_rng(0).normal(150, 20, 800)
    other = values.copy()
    other[501:] += 300
    series, later = one(values), one(other)
    moments = asked(series)
    early = moments.place <= 500
    first, second = (windows_before(asked(s), [s], windows=3, apart_s=DAY, span_s=DAY) for s in (series, later))
    assert np.array_equal(first[early], second[early], equal_nan=True)


def test_a_step_of_a_quarter_of_an_hour_is_read_as_it_is():
    series = one(np.arange(200.0), step_s=900.0)
    moments = asked(series)
    found = windows_before(moments, [series], windows=1, apart_s=DAY, span_s=3600.0)
    assert found[0, 0, :4].tolist() == [-3.0, -2.0, -1.0, 0.0]
