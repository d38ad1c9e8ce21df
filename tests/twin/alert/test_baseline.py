"""The baseline against hand numbers, and what must not move it."""

import numpy as np
import pytest

from hdt_fm.twin.alert.baseline import MEMORY, MEMORY_NIGHTS, WINSOR, Baseline, fit, quantiles


def days_of(people, nights):
    return np.tile(np.arange(nights) % 7, (people, 1))


def test_level_and_spread_by_hand():
    """Eight nights, nothing to draw in: the mean and the SD with n - 1."""
    values = np.array([57.0, 58, 59, 62, 63, 61, 60, 60.5])
    base = fit(values[None, :, None], days_of(1, 8))
    assert base.level[0, 0] == pytest.approx(values.mean())
    assert base.spread[0, 0] == pytest.approx(values.std(ddof=1))
    away = values - values.mean()
    variance = values.var(ddof=1)
    product = (away[1:] * away[:-1]).sum()
    square = (away[:-1] ** 2).sum() / 2 + (away[1:] ** 2).sum() / 2
    # Seven pairs count as eight; r = product / square is corrected by (1 + 3 r) / 8, but not below 0.
    r = product / square
    prior = MEMORY_NIGHTS * variance
    memory = (square * (r + max(1 + 3 * r, 0) / 8) + MEMORY * prior) / (square + prior)
    assert base.memory[0, 0] == pytest.approx(max(memory, 0))
    assert base.count[0, 0] == 8


def test_a_short_past_does_not_hide_a_long_memory():
    """Thirty nights of AR(.85): uncorrected they would say .67, and .58 with .4 worth twenty nights, as once it was."""
    fresh = np.random.default_rng(3).normal(size=(600, 30))
    out = fresh.copy()
    for night in range(1, 30):
        out[:, night] = 0.85 * out[:, night - 1] + np.sqrt(1 - 0.85**2) * fresh[:, night]
    base = fit(out[:, :, None], days_of(600, 30))
    assert np.mean(base.memory) == pytest.approx(0.77, abs=0.03)
    assert np.mean(base.second) == pytest.approx(0, abs=0.03)


def test_a_smoothing_device_shows_in_the_second_night():
    """Two memories, .5 and .61, make a partial correlation of -.5 * .61."""
    fresh = np.random.default_rng(5).normal(size=(50, 400))
    out = fresh.copy()
    for night in range(2, 400):
        out[:, night] = 1.11 * out[:, night - 1] - 0.305 * out[:, night - 2] + fresh[:, night]
    base = fit(out[:, 100:, None], days_of(50, 300))
    assert np.mean(base.memory) == pytest.approx(1.11 / 1.305, abs=0.02)
    assert np.mean(base.second) == pytest.approx(-0.305, abs=0.04)


def of(memory, second):
    one = np.ones((1, 1))
    return Baseline(60 * one, one, np.zeros((1, 1, 7)), memory * one, second * one, 99 * one)


def test_what_two_nights_tell_by_hand():
    def asked(memory, second, last, earlier):
        weight, left = of(memory, second).told(np.array([last, earlier])[:, None, None])
        return *weight[:, 0, 0], left[0, 0]

    assert asked(0.6, 0.0, 1, 2) == pytest.approx((0.6, 0, 1 - 0.36))
    assert asked(0.6, 0.0, 3, 4) == pytest.approx((0.6**3, 0, 1 - 0.6**6))
    assert asked(0.6, -0.2, 1, 2) == pytest.approx((0.72, -0.2, 0.64 * 0.96))
    assert asked(0.6, -0.2, 1, 10_000)[0] == pytest.approx(0.6)
    assert asked(0.6, -0.2, 10_000, 20_000) == pytest.approx((0, 0, 1))
    # A gap of a night between the two: the normal equations of correlations .6, .232, .04704.
    first, third = 0.6, 0.72 * 0.232 - 0.2 * 0.6
    between = 0.72 * 0.6 - 0.2
    weight = np.linalg.solve([[1, between], [between, 1]], [first, third])
    left = 1 - weight @ [first, third]
    assert asked(0.6, -0.2, 1, 3) == pytest.approx((*weight, left))


def test_one_wild_night_is_drawn_in():
    values = np.concatenate([np.tile([59.0, 60, 61], 10), [160.0]])
    base = fit(values[None, :, None], days_of(1, 31))
    iqr = np.subtract(*np.quantile(values, [0.75, 0.25]))
    drawn_in = np.clip(values, None, 60 + WINSOR * iqr / 1.349)
    assert base.level[0, 0] == pytest.approx(drawn_in.mean())
    assert base.level[0, 0] < 60.2


def test_quantiles_are_those_of_numpy_beside_gaps():
    generator = np.random.default_rng(0)
    values = generator.normal(size=(3, 11, 2))
    values[generator.random(values.shape) < 0.3] = np.nan
    for share, found in zip((0.1, 0.25, 0.5), quantiles(values, (0.1, 0.25, 0.5)), strict=True):
        np.testing.assert_allclose(found, np.nanquantile(values, share, axis=1))
    assert np.isnan(quantiles(np.full((1, 4), np.nan), (0.5,))[0]).all()


def test_weekends_are_learned_and_a_person_without_gets_none(usual):
    nights = 210
    flat = usual(nights, seed=3)
    week = flat + 5.0 * (np.arange(nights) % 7 == 2)
    base = fit(np.stack([flat, week])[:, :, None], days_of(2, nights))
    added = base.weekday[:, 0]
    assert added[1, 2] - np.delete(added[1], 2).mean() == pytest.approx(5, abs=1.2)
    assert np.abs(added[0]).max() < 0.5
    # Against its own weekday a high Tuesday is nothing special.
    tonight = np.full((2, 1), base.level[1, 0] + added[1, 2])
    assert base.deviation(tonight, np.full((2, 1), 2))[1, 0] == pytest.approx(0)


def test_a_season_is_followed_to_tonight(usual):
    nights = 200
    rising = usual(nights, seed=4, sd=1.0) + np.linspace(0, 6, nights)
    base = fit(rising[None, :, None], days_of(1, nights))
    assert base.level[0, 0] == pytest.approx(66, abs=1)
    assert rising.mean() == pytest.approx(63, abs=0.5)


def test_what_does_not_vary_has_no_spread():
    assert np.isnan(fit(np.full((1, 40, 1), 60.0), days_of(1, 40)).spread).all()
    empty = fit(np.full((1, 40, 1), np.nan), days_of(1, 40))
    assert np.isnan(empty.level).all()
    assert empty.count[0, 0] == 0


def test_scale_and_offset_pass_through(usual):
    values = usual(90, seed=5)
    one, other = (fit(each[None, :, None], days_of(1, 90)) for each in (values, -3 * values + 7))
    np.testing.assert_allclose(other.level, -3 * one.level + 7)
    np.testing.assert_allclose(other.spread, 3 * one.spread)
    np.testing.assert_allclose(other.memory, one.memory)
