"""Intervals that hold: hand numbers, and the promise on people who are unlike those who set it."""

import json

import numpy as np
import pytest

from hdt_fm.metrics.conformal import RATE, OnlineShift, online_shift, scores_of, split_shift
from hdt_fm.schema.errors import ConfigError, ShapeError


def test_scores_are_distances_outside_positive():
    low, high, truth = np.zeros(4), np.full(4, 10.0), np.array([-3.0, 2.0, 9.0, 14.0])
    assert scores_of(low, high, truth).tolist() == [3.0, -2.0, -1.0, 4.0]


def test_a_split_shift_covers_each_person_alike():
    person = np.repeat([0, 1], [1000, 10])
    truth = np.where(person == 0, 0.0, 100.0)
    assert split_shift(np.zeros(1010), np.zeros(1010), truth, person, 0.8) == 100.0


def test_a_split_shift_of_nothing_known_is_none():
    nothing = np.full(3, np.nan)
    assert split_shift(np.zeros(3), np.ones(3), nothing, np.zeros(3, dtype=np.int64), 0.8) == 0.0


def shift_of(truth, *, half_width=1.0, horizon_s=3600.0, start=0.0, coverage=0.8):
    low, high = np.full(len(truth), -half_width), np.full(len(truth), half_width)
    time_s = 1800.0 * np.arange(len(truth))
    return online_shift(time_s, low, high, truth, horizon_s=horizon_s, start=start, spread=1.0, coverage=coverage)


def test_a_truth_is_known_only_when_it_has_come():
    shift = shift_of(np.full(6, 1e6))  # always missed
    assert shift[:2].tolist() == [0.0, 0.0]
    assert np.diff(shift[1:]) == pytest.approx(np.full(4, RATE * 0.8))


def test_a_hit_narrows_and_an_unknown_truth_teaches_nothing():
    shift = shift_of(np.array([0.0, np.nan, 0.0, 0.0, 0.0]))
    assert shift == pytest.approx([0, 0, -0.2 * RATE, -0.2 * RATE, -0.4 * RATE])


def test_later_truths_change_nothing_before():
    truth = np.random.default_rng(0).normal(0, 3, 200)
    other = truth.copy()
    other[100:] *= 50
    # What came true at 100 is known two places later.
    assert np.array_equal(shift_of(truth)[:102], shift_of(other)[:102])


@pytest.mark.parametrize("wildness", [0.3, 1.0, 5.0])
def test_the_share_comes_right_for_anyone(wildness):
    truth = np.random.default_rng(1).normal(0, wildness, 8000)
    shift = shift_of(truth, half_width=1.28)
    inside = np.abs(truth) <= 1.28 + shift
    assert inside[1000:].mean() == pytest.approx(0.8, abs=0.02)


def as_it_was(time_s, low, high, truth, *, horizon_s, start, spread, coverage):
    """The rule as one loop over all origins, before it could be followed one at a time."""
    out = np.full(len(time_s), start)
    step, score = RATE * max(spread, 1e-9), scores_of(low, high, truth)
    shift, told = start, 0
    for place, now in enumerate(time_s):
        while told < place and time_s[told] + horizon_s <= now:
            if np.isfinite(truth[told]):
                shift += step * (coverage if score[told] > out[told] else coverage - 1)
            told += 1
        out[place] = shift
    return out


def a_person(seed: int, kind: type = np.float64):
    """Irregular origins, ends of any width, a fifth of the truths unknown."""
    draw = np.random.default_rng(seed)
    time_s = np.cumsum(draw.choice([0.0, 300.0, 900.0, 20_000.0], 400))
    middle, half = draw.normal(0, 2, 400), draw.uniform(0, 3, 400)
    truth = np.where(draw.uniform(size=400) < 0.2, np.nan, draw.normal(0, 2, 400))
    return time_s, (middle - half).astype(kind), (middle + half).astype(kind), truth.astype(kind)


@pytest.mark.parametrize("kind", [np.float64, np.float32])
@pytest.mark.parametrize("seed", range(5))
def test_the_rule_is_the_one_loop_to_the_last_bit(seed, kind):
    how = {"horizon_s": 3600.0, "start": 0.3, "spread": 1.7, "coverage": 0.8}
    assert np.array_equal(online_shift(*a_person(seed, kind), **how), as_it_was(*a_person(seed, kind), **how))


def streamed(steps, *, kept_every: int | None = None, **how):
    """As a twin follows: on a grid, each reading when it comes; through a file's text now and then."""
    shift, out = OnlineShift(**how), []
    for place, (now, low, high, reading) in enumerate(steps):
        shift.came(now, reading)
        out.append(shift.at(now))
        shift.told(now, low, high)
        if kept_every and place % kept_every == 0:
            shift = OnlineShift.of_state(json.loads(json.dumps(shift.state())))
    return np.array(out), shift


@pytest.mark.parametrize("kept_every", [None, 7])
def test_one_at_a_time_is_all_at_once(kept_every):
    draw = np.random.default_rng(3)
    readings = np.where(draw.uniform(size=500) < 0.2, np.nan, draw.normal(0, 2, 500))
    time_s, low, high = 300.0 * np.arange(500), draw.normal(-1, 0.3, 500), draw.normal(1, 0.3, 500)
    truth = np.concatenate([readings[12:], np.full(12, np.nan)])  # an hour later
    how = {"horizon_s": 3600.0, "start": 0.1, "spread": 2.0, "coverage": 0.8}
    found, shift = streamed(zip(time_s, low, high, readings, strict=True), kept_every=kept_every, **how)
    assert np.array_equal(found, as_it_was(time_s, low, high, truth, **how))
    assert len(shift.state()["open"]) == 12


def test_a_reading_near_the_end_of_the_horizon_counts_once_and_a_late_one_never():
    shift = OnlineShift(horizon_s=3600.0, start=0.0, spread=1.0, coverage=0.8, within_s=150.0)
    shift.told(0.0, -1.0, 1.0)
    shift.came(3449.0, 50.0)
    assert shift.at(3449.0) == 0.0  # too early to be its truth
    shift.came(3460.0, 50.0)
    shift.came(3600.0, 0.0)
    assert shift.at(3600.0) == pytest.approx(RATE * 0.8)
    shift.told(4000.0, -1.0, 1.0)
    shift.came(7751.0, 50.0)
    assert shift.at(7751.0) == pytest.approx(RATE * 0.8)
    assert shift.state()["open"] == []


def test_what_makes_no_interval_speaks():
    with pytest.raises(ConfigError, match=r"coverage 1\.5"):
        OnlineShift(horizon_s=60.0, start=0.0, spread=1.0, coverage=1.5)
    shift = OnlineShift(horizon_s=60.0, start=0.0, spread=1.0, coverage=0.8)
    shift.told(10.0, 0.0, 1.0)
    with pytest.raises(ShapeError, match="older than the one before"):
        shift.told(9.0, 0.0, 1.0)


@pytest.mark.parametrize(
    "harm", [{"spread": None}, {"open": [[0.0, 1.0]]}, {"open": 3}, {"shift": "wide"}, {"rate": {}}, {"shift": np.nan}]
)
def test_a_state_that_was_harmed_speaks_and_tells_no_value(harm):
    kept = OnlineShift(horizon_s=60.0, start=0.123456, spread=1.0, coverage=0.8).state()
    with pytest.raises(ConfigError, match="cannot be read") as told:
        OnlineShift.of_state(kept | harm)
    assert not any(value in str(told.value) for value in ("0.123456", "wide"))


def test_a_state_that_lacks_a_name_says_which():
    kept = OnlineShift(horizon_s=60.0, start=0.0, spread=1.0, coverage=0.8).state()
    del kept["rate"]
    with pytest.raises(ConfigError, match="KeyError at 'rate'"):
        OnlineShift.of_state(kept)


def test_all_at_once_hurries_as_one_at_a_time():
    time_s, low, high, truth = a_person(4)
    how = {"horizon_s": 3600.0, "start": 0.3, "spread": 1.7, "coverage": 0.8, "haste": 4.0}
    shift, out = OnlineShift(**how), []
    told = 0
    for place, now in enumerate(time_s):
        while shift.due(now):
            shift.settle(truth[told])
            told += 1
        out.append(shift.shift)
        shift.told(now, low[place], high[place])
    found = online_shift(time_s, low, high, truth, **how)
    assert np.array_equal(found, out)
    assert not np.allclose(found, online_shift(time_s, low, high, truth, **(how | {"haste": 0.0})))


def test_haste_is_in_proportion_to_how_far_hits_are_off():
    slow, fast = (OnlineShift(horizon_s=60.0, start=0.0, spread=1.0, coverage=0.8, haste=one) for one in (0.0, 6.0))
    off, shift = 0.0, 0.0
    for place, truth in enumerate([50.0, 0.0, 50.0, 50.0]):
        for one in (slow, fast):
            one.told(100.0 * place, -1.0, 1.0)
            one.came(100.0 * place + 60.0, truth)
        step = 0.8 if truth else -0.2
        off = 0.99 * off + 0.01 * step
        shift += RATE * (1 + 6 * abs(off) / 0.1) * step
    assert slow.shift == pytest.approx(RATE * (3 * 0.8 - 0.2))
    assert fast.shift == pytest.approx(shift)
    assert OnlineShift.of_state(json.loads(json.dumps(fast.state()))).state() == fast.state()


def held(haste: float) -> np.ndarray:
    """Hits, (person, day), of half-hourly answers whose errors are twice as large from the eighth day on."""
    draw = np.random.default_rng(5)
    hits = np.empty((10, 16, 48))
    for person in hits:
        shift = OnlineShift(horizon_s=3600.0, start=1.28, spread=0.6, coverage=0.8, haste=haste)
        truth = draw.normal(size=16 * 48) * np.where(np.arange(16 * 48) < 7 * 48, 1.0, 2.0)
        moved = np.empty(len(truth))
        for place in range(len(truth)):
            shift.came(1800.0 * place, truth[place - 2] if place > 1 else np.nan)
            moved[place] = shift.at(1800.0 * place)
            shift.told(1800.0 * place, 0.0, 0.0)
        person[:] = (np.abs(truth) <= moved).reshape(16, 48)
    return hits.mean(axis=2)


def test_haste_brings_the_promise_back_days_sooner_and_keeps_it_where_nothing_changed():
    slow, fast = held(0.0).mean(axis=0), held(6.0).mean(axis=0)
    assert slow[:7].mean() == pytest.approx(0.8, abs=0.015)
    assert fast[:7].mean() == pytest.approx(0.8, abs=0.015)
    assert slow[7] < 0.65
    assert slow[8] < fast[8] - 0.05
    assert fast[9:12].mean() == pytest.approx(0.8, abs=0.02)
    assert slow[9:12].mean() < 0.78
