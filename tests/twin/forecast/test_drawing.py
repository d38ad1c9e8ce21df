"""What a figure of a forecast spans and where its ticks stand, by hand."""

import pytest

from hdt_fm.twin.forecast.drawing import (
    AREA,
    HEIGHT,
    WIDTH,
    Frame,
    edges_of,
    frame_of,
    middle_of,
    pairs_of,
    stretches,
    time_ticks,
    time_words,
    value_ticks,
)
from hdt_fm.twin.forecast.told import CLOCKS, CLOCKS_UNDER_AXIS


def told(**other):
    """A record with what is drawn of it."""
    ahead = [
        {"min": 30.0, "point": 120.0, "quantiles": [90.0, 118.0, 150.0]},
        {"min": 60.0, "point": 130.0, "quantiles": [80.0, 128.0, 170.0]},
    ]
    readings = [{"min": minute, "value": 100.0 - minute} for minute in (-120.0, -105.0, -30.0, 0.0)]
    newest = {"time": "2026-03-05T14:40", "value": 100.0}
    return {"ahead": ahead, "readings": readings, "newest": newest, "events": [], "clock": "local", **other}


def test_everything_drawn_is_inside():
    frame = frame_of(told())
    assert (frame.first, frame.last) == (-120, 60)
    assert (frame.low, frame.high) == pytest.approx((80 - 0.07 * 140, 220 + 0.07 * 140))
    wider = frame_of(told(events=[{"threshold": 40.0}]))
    assert wider.low < 40 < 220 < wider.high
    assert (frame.x(-120.0), frame.x(60.0)) == (AREA.left, AREA.right)
    assert (frame.y(frame.high), frame.y(frame.low)) == (AREA.top, AREA.bottom)
    assert AREA.right < WIDTH
    assert AREA.bottom < HEIGHT


def test_lines_begin_at_the_newest_reading():
    assert pairs_of((0.1, 0.5, 0.9)) == [(0, 2)]
    assert edges_of(told(), 2) == [(0, 100), (30, 150), (60, 170)]
    assert middle_of(told()) == [(0, 100), (30, 120), (60, 130)]


def test_readings_far_apart_are_not_joined():
    # 75 minutes between the second and the third.
    assert [[minute for minute, _ in one] for one in stretches(told()["readings"])] == [[-120, -105], [-30, 0]]


def test_times_are_those_of_the_clock_or_counted_from_now():
    frame = Frame(-120.0, 60.0, 0.0, 1.0)
    assert time_ticks(told(), frame) == [
        (-100, "13:00"), (-70, "13:30"), (-40, "14:00"), (-10, "14:30"), (20, "15:00"), (50, "15:30"),
    ]  # fmt: skip
    undated = told(newest={"time": None, "value": 100.0})
    assert [at for _, at in time_ticks(undated, frame)] == ["-2 h", "-1.5 h", "-1 h", "-0.5 h", "now", "+0.5 h", "+1 h"]
    late = told(newest={"time": "2026-03-05T00:20", "value": 100.0})
    assert time_ticks(late, Frame(-60.0, 120.0, 0.0, 1.0))[:3] == [(-50, "23:30"), (-20, "00:00"), (10, "00:30")]


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (50.0, 200.0, (50, 75, 100, 125, 150, 175, 200)),
        (62.3, 187.7, (80, 100, 120, 140, 160, 180)),
        (30.0, 370.0, (50, 100, 150, 200, 250, 300, 350)),
        (4.1, 9.9, (5, 6, 7, 8, 9)),
    ],
)
def test_values_are_round(low, high, ticks):
    assert value_ticks(Frame(-60.0, 60.0, low, high)) == ticks


def test_every_clock_has_its_words():
    assert set(CLOCKS_UNDER_AXIS) == set(CLOCKS)
    assert time_words(told(clock="utc")) == "UTC"
    assert time_words(told(clock=None)) == "from the newest reading"
