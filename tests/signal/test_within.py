"""What happened within a span: by hand, with gaps, at ends, and against a plain loop."""

from itertools import pairwise

import numpy as np
import pytest

from hdt_fm.schema.series import Series
from hdt_fm.signal.moments import moments_of
from hdt_fm.signal.within import happened_within, next_places

STEP = 300.0
START = 1_700_006_400.0  # midnight
PLACE = 60  # an origin; half an hour ahead is place 66, an hour 72


def low(values):
    return values < 70


def high(values):
    return values > 180


def told(values, unread=(), *, happenings=(low,), horizons_s=(1800.0, 3600.0), **more):
    """What is told at `PLACE`."""
    seen = np.ones(len(values), bool)
    seen[list(unread)] = False
    one = Series(np.asarray(values, dtype=np.float32), seen, STEP, START, 0, 0)
    moments = moments_of([one], context_s=3600.0, horizons_s=horizons_s)
    found = happened_within(moments, [one], happenings, **more)
    assert found.shape == (len(moments), len(horizons_s), len(happenings))
    return found[moments.place == PLACE][0]


def level(count=120):
    return np.full(count, 100.0)


@pytest.mark.parametrize(
    ("place", "wanted"),
    [(PLACE + 1, [1, 1]), (PLACE + 6, [1, 1]), (PLACE + 7, [0, 1]), (PLACE + 12, [0, 1]), (PLACE + 13, [0, 0])],
)
def test_a_reading_counts_after_now_and_up_to_the_horizon(place, wanted):
    values = level()
    values[place] = 60
    assert told(values)[:, 0].tolist() == wanted


def test_what_was_there_before_now_is_over_and_what_is_there_now_is_not_asked():
    values = level()
    values[PLACE - 1] = 60
    assert told(values)[:, 0].tolist() == [0, 0]
    values[PLACE] = 60
    assert np.isnan(told(values)).all()
    # The newest reading is ten minutes old, and it is low.
    assert np.isnan(told(values, [PLACE, PLACE - 1])).sum() == 0
    assert np.isnan(told(values, [PLACE + 1])).all()
    values[PLACE], values[PLACE - 2] = 100, 60
    assert np.isnan(told(values, [PLACE, PLACE - 1])).all()


def test_each_happening_is_told_beside_the_others():
    values = level()
    values[PLACE + 3], values[PLACE + 9] = 60, 200
    assert told(values, happenings=(low, high, low)).tolist() == [[1, 0, 1], [1, 1, 1]]


def test_a_third_may_be_missing_and_no_more():
    assert told(level(), [61, 63])[:, 0].tolist() == [0, 0]  # 4 of 6, 10 of 12
    found = told(level(), [61, 63, 65])[:, 0]  # 3 of 6, 9 of 12
    assert np.isnan(found[0])
    assert found[1] == 0
    assert told(level(), [61, 63, 65], least_seen=0.5)[:, 0].tolist() == [0, 0]


def test_no_gap_may_be_longer_than_a_short_one():
    """From the reading before it to the one after it: nine steps are 45 minutes."""

    def two_hours(unread, **more):
        return told(level(), unread, horizons_s=(300.0, 7200.0), least_seen=0.5, **more)[1].item()

    assert two_hours(range(64, 72)) == 0
    assert np.isnan(two_hours(range(64, 73)))
    # Counted from now at the one end, and to the horizon (place 84) at the other.
    assert two_hours(range(62, 69)) == 0
    assert two_hours([*range(61, 69), PLACE]) == 0
    assert np.isnan(two_hours(range(62, 71)))
    assert two_hours(range(76, 85)) == 0
    assert np.isnan(two_hours(range(75, 85)))
    assert np.isnan(two_hours(range(76, 85), longest_gap_s=2400.0))
    assert two_hours(range(64, 73), longest_gap_s=3000.0) == 0


def test_what_was_seen_counts_whatever_is_missing_and_what_was_not_read_never():
    values = level()
    values[62] = 60
    assert told(values, range(63, 72))[:, 0].tolist() == [1, 1]
    values[62], values[66] = 100, 60
    assert told(values, [66])[:, 0].tolist() == [0, 0]


def test_after_the_last_reading_nothing_is_told():
    found = told(level(PLACE + 10))[:, 0]
    assert found.tolist() == [0, 0]  # 9 of 12 were read
    found = told(level(PLACE + 8))[:, 0]
    assert found[0] == 0
    assert np.isnan(found[1])


def test_it_is_what_a_plain_loop_says():
    generator = np.random.default_rng(0)
    people = [
        Series(
            generator.normal(110, 30, 400).astype(np.float32), generator.random(400) > 0.25, STEP, START, person, person
        )
        for person in range(3)
    ]
    moments = moments_of(people, context_s=3600.0, horizons_s=(1800.0, 3600.0, 7200.0))
    found = happened_within(moments, people, (low, high), longest_gap_s=1200.0)
    kinds = set()
    for row in range(len(moments)):
        one, now = people[moments.series[row]], int(moments.place[row])
        for column, steps in enumerate((6, 12, 24)):
            there = [place for place in range(now + 1, now + steps + 1) if place < len(one) and one.observed[place]]
            ends = [now, *there, now + steps]
            gap = max(b - a for a, b in pairwise(ends))
            for event, happening in enumerate((low, high)):
                came = any(happening(one.values[place]) for place in there)
                known = came or (3 * len(there) >= 2 * steps and gap <= 4)
                wanted = float(came) if known and not happening(moments.last[row]) else np.nan
                kinds.add(str(wanted))
                assert np.array_equal(found[row, column, event], wanted, equal_nan=True)
    assert kinds == {"0.0", "1.0", "nan"}


def test_what_is_waited_for_is_the_next_reading_that_has_it():
    values, seen = level(), np.ones(120, bool)
    values[[70, 71, 90]] = 60
    seen[71] = False
    one = Series(values.astype(np.float32), seen, STEP, START, 0, 0)
    moments = moments_of([one, one], context_s=3600.0, horizons_s=(1800.0,))
    found = next_places(moments, [one, one], low, longest_s=3600.0)
    of = dict(zip(moments.place[moments.series == 1].tolist(), found[moments.series == 1].tolist(), strict=True))
    assert (of[54], of[60], of[66], of[72], of[78], of[84], of[90]) == (-1, 70, 70, -1, 90, 90, -1)
    assert found[moments.series == 0].tolist() == list(of.values())
    told_of = happened_within(moments, [one, one], [low], longest_gap_s=1e9, least_seen=0.0)[:, 0, 0]
    near = next_places(moments, [one, one], low, longest_s=1800.0) >= 0
    asked = np.isfinite(told_of)
    assert np.array_equal(near[asked], told_of[asked] == 1)
