"""What a head said -> what is told: the person's own interval, chances, how the last forecasts did."""

from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hdt_fm.metrics.events import EVENTS, Event
from hdt_fm.schema.errors import ConfigError, ShapeError
from hdt_fm.schema.series import DAY_S as WHOLE_DAY_S
from hdt_fm.signal.moments import Moments
from hdt_fm.twin.forecast.outlook import LATELY_S, OfPeople, moved, outlook

LEVELS = (0.1, 0.3, 0.5, 0.9)
HALF_HOUR, DAY_S = 1800.0, float(WHOLE_DAY_S)


def moments_of(truths, last=None, horizons_s=(HALF_HOUR,), every_s=HALF_HOUR):
    """Origins every half hour from 1970 on; `truths` is (origin, horizon)."""
    target = np.asarray(truths, dtype=np.float64).reshape(len(truths), len(horizons_s))
    count = len(target)
    time_s = np.arange(count) * every_s
    newest = np.full(count, 100.0) if last is None else np.asarray(last, dtype=np.float64)
    zeros = np.zeros(count, dtype=np.int64)
    return Moments(
        series=zeros,
        place=np.arange(count),
        context=np.repeat(newest[:, None], 2, axis=1),
        target=target,
        last=newest,
        group=zeros,
        subject=zeros,
        clock_s=time_s % DAY_S,
        time_s=time_s,
        step_s=900.0,
        every_s=every_s,
        horizons_s=tuple(horizons_s),
    )


def people(shift=(2.0,), spread=(10.0,), levels=LEVELS):
    return OfPeople(levels, tuple(shift), tuple(spread))


def always(count, mean_and_levels=(100.0, 90.0, 96.0, 100.0, 110.0), horizons=1):
    return np.tile(np.asarray(mean_and_levels), (count, horizons, 1))


def drawn(count=60, seed=0):
    """Two horizons, truths with holes."""
    draws = np.random.default_rng(seed)
    last = 140 + np.cumsum(draws.normal(0, 6, count))
    truths = last[:, None] + draws.normal(0, [15, 25], (count, 2))
    truths[draws.random((count, 2)) < 0.1] = np.nan
    steps = draws.uniform(3, 8, (count, 2, 4)).cumsum(-1) - 12
    said = np.concatenate([last[:, None, None] + draws.normal(0, 3, (count, 2, 1)), last[:, None, None] + steps], -1)
    return moments_of(truths, last, (HALF_HOUR, 2 * HALF_HOUR)), said


def test_by_hand():
    # The first truth lies 20 above the interval: +.05 * .8 * 10; the second inside: -.05 * .2 * 10; the third is open.
    moments = moments_of([130.0, 105.0, 1000.0])
    found = outlook(moments, always(3), people(), readings_s=5400.0, age_s=60.0)
    (one,) = found.ahead
    assert (found.now_s, found.age_s, found.reading) == (3600.0, 60.0, 100.0)
    assert (one.horizon_s, one.time_s, one.point) == (1800.0, 5400.0, 100.0)
    # The share of misses is .008 and then .00592 off the promise: 4 times that over .1 is added to the pace.
    shift = 2 + 0.4 * 1.32 - 0.1 * 1.2368
    assert one.shift == pytest.approx(shift)
    assert (one.low, one.high) == pytest.approx((90 - shift, 110 + shift))
    assert one.quantiles[1:3] == pytest.approx((96 - shift / 2, 100.0))
    assert one.lately.forecasts == 2
    assert one.lately.held == 0.5
    assert one.lately.mean_error == pytest.approx((30 + 5) / 2)
    assert not found.learned


@pytest.mark.parametrize("now", [0, 1, 17, 40, -1])
def test_nothing_later_changes_an_answer(now):
    moments, said = drawn()
    found = outlook(
        moments, said, people((2.0, 3.0), (10.0, 12.0)), readings_s=DAY_S, events=EVENTS["glucose"], now=now
    )
    upto = range(len(moments))[now] + 1
    wild, target = said.copy(), moments.target.copy()
    wild[upto:] = 7.0
    for column, horizon_s in enumerate(moments.horizons_s):
        # Of earlier origins too what has not come true yet.
        target[moments.time_s + horizon_s > moments.time_s[upto - 1], column] = 7.0
    other = replace(moments, target=target, last=np.where(np.arange(60) < upto, moments.last, 7.0))
    again = outlook(other, wild, people((2.0, 3.0), (10.0, 12.0)), readings_s=DAY_S, events=EVENTS["glucose"], now=now)
    np.testing.assert_equal(asdict(again), asdict(found))
    names = ("series", "place", "context", "target", "last", "group", "subject", "clock_s", "time_s")
    short = replace(other, **{name: getattr(other, name)[:upto] for name in names})
    shorter = outlook(short, said[:upto], people((2.0, 3.0), (10.0, 12.0)), readings_s=DAY_S, events=EVENTS["glucose"])
    np.testing.assert_equal(asdict(shorter), asdict(found))


def test_an_interval_that_missed_is_wider_and_one_that_held_is_narrower():
    width = {}
    for name, off in (("missed", 300.0), ("held", 1.0)):
        moments = moments_of(100 + off * np.where(np.arange(40) % 2, 1, -1))
        (one,) = outlook(moments, always(40), people(), readings_s=DAY_S).ahead
        width[name], held = one.high - one.low, one.lately.held
        assert held == 0.0 if name == "missed" else held == 1.0
    assert width["held"] < 24.0 < width["missed"]


def test_in_the_long_run_the_interval_holds_as_often_as_promised():
    draws = np.random.default_rng(3)
    for spread in (3.0, 40.0):
        moments = moments_of(100 + draws.normal(0, spread, 1500))
        (one,) = outlook(moments, always(1500), people(), readings_s=DAY_S).ahead
        assert one.lately.forecasts == LATELY_S / HALF_HOUR
        assert one.lately.held == pytest.approx(0.8, abs=0.03)


def test_chances_are_those_of_the_quantiles_that_are_told():
    events = (Event("low", 96.0, below=True), Event("high", 110.0, below=False))
    (one,) = outlook(moments_of([np.nan]), always(1), people((0.0,)), readings_s=0.0, events=events).ahead
    assert one.chances == pytest.approx((0.3, 0.1))
    (one,) = outlook(moments_of([np.nan]), always(1), people((5.0,)), readings_s=0.0, events=events).ahead
    assert one.low == 85.0
    at_the_ends = (Event("low", one.low, below=True), Event("high", one.high, below=False))
    (one,) = outlook(moments_of([np.nan]), always(1), people((5.0,)), readings_s=0.0, events=at_the_ends).ahead
    assert one.chances == pytest.approx((0.1, 0.1))


def test_how_often_an_event_should_have_come_and_did():
    events = (Event("low", 96.0, below=True),)
    truths = [95.0, 97.0, np.nan, 90.0, 200.0]
    (one,) = outlook(moments_of(truths), always(5), people((0.0,), (1e-9,)), readings_s=0.0, events=events).ahead
    assert one.lately.forecasts == 3
    assert one.lately.expected == pytest.approx((0.9,))
    assert one.lately.came == (2,)


def test_only_the_last_days_say_how_forecasts_do():
    count = 2 * round(LATELY_S / HALF_HOUR)
    truths = np.where(np.arange(count) < count // 2, 500.0, 100.0)
    (one,) = outlook(moments_of(truths), always(count), people(), readings_s=DAY_S).ahead
    # Forecasts that came true in the week; the last one is open, the earlier half is too old but for the edge.
    assert one.lately.forecasts == count // 2
    assert one.lately.mean_error <= 400 / (count // 2)


@given(
    st.lists(st.floats(-50, 50), min_size=4, max_size=4),
    st.floats(-200, 200),
)
def test_moved_quantiles_never_cross_and_a_widened_interval_keeps_its_middle(values, shift):
    quantiles = np.sort(np.array([values]), axis=1)
    found = moved(quantiles, LEVELS, np.array([shift]))[0]
    assert np.all(np.diff(found) >= 0)
    if shift >= 0:
        np.testing.assert_allclose(found - quantiles[0], shift * np.array([-1, -0.5, 0, 1]), atol=1e-9)
    else:
        assert found[-1] - found[0] <= quantiles[0, -1] - quantiles[0, 0] + 1e-9


def test_nothing_beyond_what_a_body_can_have_is_told():
    (one,) = outlook(moments_of([np.nan]), always(1), people((95.0,)), readings_s=0.0, plausible=(20.0, 150.0)).ahead
    assert (one.low, one.high) == (20.0, 150.0)


@pytest.mark.parametrize(("readings_s", "learned"), [(DAY_S - 1, False), (DAY_S, True)])
def test_when_the_interval_is_the_persons_own(readings_s, learned):
    assert outlook(moments_of([np.nan]), always(1), people(), readings_s=readings_s).learned is learned


def test_nobody_has_forecasts_that_came_true_at_first():
    (one,) = outlook(moments_of([110.0]), always(1), people(), readings_s=0.0).ahead
    assert one.lately.forecasts == 0
    assert np.isnan(one.lately.held)


def test_what_does_not_go_together_is_refused():
    moments = moments_of([1.0, 2.0])
    with pytest.raises(ShapeError, match="does not go with"):
        outlook(moments, always(3), people(), readings_s=0.0)
    with pytest.raises(ShapeError, match="rise in time"):
        outlook(replace(moments, time_s=moments.time_s[::-1].copy()), always(2), people(), readings_s=0.0)
    for levels in ((0.2, 0.5, 0.8), (0.1, 0.9, 0.5), (0.5,)):
        with pytest.raises(ConfigError, match=r"0\.1 to 0\.9"):
            people(levels=levels)
