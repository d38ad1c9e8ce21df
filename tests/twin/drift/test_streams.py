"""A day's numbers by hand."""

import json

import numpy as np
import pytest

from hdt_fm.twin.drift.streams import ACTED, CARBS, INSULIN, LEVEL, OUTSIDE, REST, SIZE, SWING, DaySums, StateDistance


def a_day(sums: DaySums) -> None:
    sums.read(np.concatenate([[100.0, np.nan, 110.0], np.tile([120.0, 118.0], 12)]))
    errors = np.array([4.0, -2.0, 4.0, 2.0, 2.0, 2.0, -10.0, np.nan, -6.0, -8.0, -8.0, -8.0, -8.0])
    acted = np.arange(13) >= 6
    sums.missed(errors, np.abs(errors) > 7, acted)
    sums.took(np.array([4.0, 2.5]), np.array([45.0]))


def test_a_day_by_hand():
    sums = DaySums()
    a_day(sums)
    day = sums.close()
    assert day[REST] == pytest.approx(2.0)
    assert day[ACTED] == pytest.approx(-8.0)
    assert day[SIZE] == pytest.approx(np.log((16 + 48) / 12))
    assert day[OUTSIDE] == pytest.approx(5 / 12)
    assert day[LEVEL] == pytest.approx(np.log(100 * 110 * (120 * 118.0) ** 12) / 26)
    assert day[INSULIN] == pytest.approx(np.log(6.5))
    assert day[CARBS] == pytest.approx(np.log(45))
    # From 110 to 120 and then 23 steps of 2; none over the gap.
    assert day[SWING] == pytest.approx(np.log((10 + 46) / 24))


def test_a_day_of_too_little_is_unknown_and_the_next_begins_at_none():
    sums = DaySums()
    a_day(sums)
    sums.close()
    sums.read(np.array([100.0]))
    assert all(np.isnan(value) for value in sums.close().values())


def test_a_day_can_be_cut_and_written_down():
    whole, parts = DaySums(), DaySums()
    values, errors = 1 + np.arange(60.0) ** 1.5, np.linspace(-3, 5, 40)
    acted, outside = np.arange(40) % 3 == 0, np.abs(errors) > 4
    whole.read(values)
    whole.missed(errors, outside, acted)
    whole.took(np.array([1.0, 4.0]), np.array([30.0, 12.0]))
    for cut in (slice(0, 17), slice(17, 60)):
        parts.read(values[cut])
        parts.missed(errors[cut], outside[cut], acted[cut])
        parts.took(np.array([4.0 if cut.start else 1.0]), np.array([12.0 if cut.start else 30.0]))
        kept = json.loads(json.dumps(parts.state()))
        parts = DaySums()
        parts.restore(kept)
    assert parts.close() == pytest.approx(whole.close())
    empty = DaySums()
    empty.restore(json.loads(json.dumps(DaySums().state())))
    assert np.isnan(empty.close()[LEVEL])


def test_distances_of_states_are_in_the_own_spread():
    draw = np.random.default_rng(0)
    days = draw.normal(size=(40, 5)) * np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    one, told = StateDistance(width=5), []
    for day in days:
        told.append(one.add(day))
    assert np.isnan(told[:14]).all()
    past = days[:28]
    by_hand = np.log(np.mean((days[30] - past.mean(axis=0)) ** 2 / past.var(axis=0, ddof=1)))
    assert told[30] == pytest.approx(by_hand, abs=1e-6)
    assert np.isnan(one.add(np.full(5, np.nan)))
    other = StateDistance(width=5)
    other.restore(json.loads(json.dumps(one.state())))
    assert other.add(days[0]) == one.add(days[0])
