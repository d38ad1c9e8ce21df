"""What truths taught: the own layer as a ridge, the interval as they came, and forecasts until a week past."""

import numpy as np
import pytest

from hdt_fm.metrics.events import EVENTS
from hdt_fm.schema.series import DAY_S
from hdt_fm.twin.forecast.outlook import OfPeople
from hdt_fm.twin.own_layer import OwnLayer
from hdt_fm.twin.state.learned import Learned, Said, weights_of, with_level

PEOPLE = OfPeople(levels=(0.1, 0.5, 0.9), shift=(0.0,), score_spread=(10.0,))
HORIZON_S = 3600.0


def new_one():
    return Learned(width=2, horizons_s=(HORIZON_S,), people=PEOPLE, events=EVENTS["glucose"])


def said(point):
    return Said(np.array([[point, point - 10, point, point + 10]]), np.array([1.0, 0.5]))


def always(truth):
    return lambda times_s: np.full(len(times_s), truth)


def test_weights_are_those_of_the_layer():
    generator = np.random.default_rng(0)
    layer, features = OwnLayer(width=3, horizons=2), generator.normal(size=(40, 3))
    layer.learn(features, generator.normal(size=(40, 2)))
    np.testing.assert_allclose(with_level(features) @ weights_of(layer).T, layer.correction(features), atol=1e-12)


def test_a_truth_moves_the_interval_at_once_and_the_answer_after_midnight():
    one, noon = new_one(), 100.5 * DAY_S
    one.advance(noon, always(np.nan))
    one.tell(noon, said(100.0))
    one.advance(noon + HORIZON_S - 1, always(150.0))
    assert one.corrected(said(100.0)).shift.tolist() == [0.0]
    one.advance(noon + HORIZON_S, always(150.0))
    # A miss widens by .05 * .8 spreads of 10, the first by 1.32 times that: .008 of .1 off the promise, 4 times.
    assert one.corrected(said(100.0)).shift.tolist() == pytest.approx([0.528])
    assert one.corrected(said(100.0)).quantiles[0].tolist() == pytest.approx([89.472, 100, 110.528])
    assert one.corrected(said(100.0)).added.tolist() == [0.0]
    one.advance(101.0 * DAY_S, always(np.nan))
    # A ridge of strength 10 on one row of (1, .5, 1) / sqrt(3): weights of 50 * row / (10 + row'row).
    row = np.array([1.0, 0.5, 1.0]) / np.sqrt(3)
    assert one.corrected(said(100.0)).added.tolist() == pytest.approx([50 * row @ row / (10 + row @ row)])


def test_the_day_begins_at_midnight_though_nothing_was_read_then():
    one, midnight = new_one(), 101.0 * DAY_S
    for now_s in (midnight - 2 * 3600.0, midnight - 1800.0):
        one.advance(now_s, always(130.0))
        one.tell(now_s, said(100.0))
    one.advance(midnight + 3600.0, always(130.0))
    # Both truths have come; the second one came after midnight and counts from the next day on.
    row = np.array([1.0, 0.5, 1.0]) / np.sqrt(3)
    assert one.layer.seen.tolist() == [2]
    assert one.corrected(said(100.0)).added.tolist() == pytest.approx([30 * row @ row / (10 + row @ row)])


def test_a_truth_that_never_came_teaches_nothing_and_is_not_waited_for():
    one, begin = new_one(), 100.0 * DAY_S
    for now_s in begin + 1800.0 * np.arange(6):
        one.advance(now_s, always(np.nan))
        one.tell(now_s, said(100.0))
    one.advance(begin + 10 * HORIZON_S, always(np.nan))
    one.advance(begin + 11 * HORIZON_S, always(500.0))
    one.forget(begin + 11 * HORIZON_S)
    assert (one.layer.seen.tolist(), one.shifts[0].shift, len(one.hidden)) == ([0], 0.0, 0)
    assert one.lately(begin + 11 * HORIZON_S)[0].forecasts == 0


def test_lately_is_a_week():
    one, begin = new_one(), 100.0 * DAY_S
    for hour in range(24 * 9):
        one.advance(begin + hour * 3600.0, always(190.0))
        one.tell(begin + hour * 3600.0, said(185.0 if hour % 2 else 100.0))
        one.forget(begin + hour * 3600.0)
    now_s = begin + (24 * 9 - 1) * 3600.0
    (lately,) = one.lately(now_s)
    assert lately.forecasts == 7 * 24
    assert lately.came == (0, 7 * 24)
    assert 0 < lately.expected[1] < 7 * 24
    assert len(one.time_s) == 7 * 24 + 1
    assert lately.mean_error == pytest.approx(np.abs(one.told["point"][:-1] - 190).mean())


def test_what_is_kept_goes_on_as_if_nothing_had_been():
    one, begin = new_one(), 100.0 * DAY_S
    generator = np.random.default_rng(1)
    draws = generator.normal(140, 30, size=(120, 2))

    def on(learned, hours):
        for hour in hours:
            truth, point = draws[hour]
            learned.advance(begin + hour * 3600.0, always(truth))
            learned.tell(begin + hour * 3600.0, Said(point + np.array([[0.0, -9, 1, 12]]), draws[hour] / 100))
            learned.forget(begin + hour * 3600.0)

    on(one, range(70))
    other = Learned.of(one.facts(), {name: array.copy() for name, array in one.arrays().items()})
    for each in (one, other):
        on(each, range(70, 120))
    mine, theirs = (each.arrays() for each in (one, other))
    assert mine.keys() == theirs.keys()
    for name, array in mine.items():
        np.testing.assert_array_equal(array, theirs[name], err_msg=name)
    assert one.facts() == other.facts()
