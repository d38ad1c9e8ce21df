"""A person's own events up to now: shares, hours since, the same time of earlier days; and nothing of the future."""

import numpy as np
import pytest

from hdt_fm.schema.series import Series
from hdt_fm.signal.moments import moments_of
from hdt_fm.signal.own_events import own_events

STEP = 300.0
DAY = 288
START = 1_700_006_400.0  # midnight


def low(values):
    return values < 70


def told(values, seen=None, horizons_s=(1800.0, 3600.0)):
    seen = np.ones(len(values), bool) if seen is None else seen
    one = Series(np.asarray(values, dtype=np.float32), seen, STEP, START, 0, 0)
    moments = moments_of([one], context_s=3600.0, horizons_s=horizons_s)
    found = own_events(moments, [one], [low])
    assert found.shape == (len(moments), 5 + len(horizons_s))
    return moments.place, found


def test_shares_and_hours_since_by_hand():
    values = np.full(9 * DAY, 100.0)
    values[2 * DAY : 2 * DAY + 36] = 60  # three hours of the third day
    place, found = told(values)
    at = dict(zip(place.tolist(), found, strict=True))
    assert at[3 * DAY - 6][:4].tolist() == pytest.approx(
        [36 / DAY, 36 / (3 * DAY - 5), 36 / (3 * DAY - 5), 36 / (3 * DAY - 5)]
    )
    assert at[8 * DAY][:4].tolist() == pytest.approx([0, 0, 36 / (7 * DAY), 36 / (8 * DAY + 1)])
    assert at[2 * DAY + 42][4] == pytest.approx(np.log1p(7 * STEP / 3600))
    assert at[DAY][4] == pytest.approx(np.log1p(7 * 24))  # none so far
    assert at[2 * DAY + 30][4] == 0


def test_the_same_time_of_days_before():
    values = np.full(8 * DAY, 100.0)
    values[2 * DAY + 103] = values[4 * DAY + 110] = 60
    place, found = told(values)
    at = dict(zip(place.tolist(), found, strict=True))
    origin = 5 * DAY + 102  # spans to 108 and to 114; five whole days lie before
    assert at[origin][5:].tolist() == pytest.approx([1 / 5, 2 / 5])
    assert at[origin + 6][5:].tolist() == pytest.approx([1 / 5, 1 / 5])
    assert np.isnan(at[102 + 0][5:]).all()


def test_a_day_that_was_not_read_does_not_count():
    values, seen = np.full(4 * DAY, 100.0), np.ones(4 * DAY, bool)
    values[DAY + 103] = 60
    seen[2 * DAY + 90 : 2 * DAY + 130] = False
    place, found = told(values, seen)
    at = dict(zip(place.tolist(), found, strict=True))
    assert at[3 * DAY + 102][5:].tolist() == pytest.approx([1 / 2, 1 / 2])


def test_of_a_few_readings_a_share_says_nothing():
    place, found = told(np.full(DAY, 100.0))
    early = (place + 1) * STEP < 6 * 3600
    assert early.any()
    assert np.isnan(found[early, :4]).all()
    assert (found[~early, :4] == 0).all()


def test_nothing_later_changes_what_is_told():
    generator = np.random.default_rng(0)
    values, seen = generator.normal(90, 25, 6 * DAY), generator.random(6 * DAY) > 0.2
    place, one = told(values, seen)
    other = values.copy()
    other[3 * DAY :] = 60
    places, two = told(other, seen)
    assert np.array_equal(place, places)
    early = place < 3 * DAY
    assert np.array_equal(one[early], two[early], equal_nan=True)
    assert not np.array_equal(one[~early], two[~early], equal_nan=True)
