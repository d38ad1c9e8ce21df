"""The baseline against hand numbers, and what must not move it."""

import numpy as np
import pytest

from hdt_fm.twin.baseline import MEMORY, MEMORY_NIGHTS, WINSOR, fit, quantiles


def days_of(people, nights):
    return np.tile(np.arange(nights) % 7, (people, 1))


def test_level_and_spread_by_hand():
    """Eight nights, nothing to draw in: the mean and the SD with n - 1."""
    values = np.array([57.0, 63, 58, 62, 59, 61, 60, 60.5])
    base = fit(values[None, :, None], days_of(1, 8))
    assert base.level[0, 0] == pytest.approx(values.mean())
    assert base.spread[0, 0] == pytest.approx(values.std(ddof=1))
    away = values - values.mean()
    variance = values.var(ddof=1)
    product = (away[1:] * away[:-1]).sum()
    square = (away[:-1] ** 2).sum() / 2 + (away[1:] ** 2).sum() / 2
    memory = (product + MEMORY * MEMORY_NIGHTS * variance) / (square + MEMORY_NIGHTS * variance)
    assert base.memory[0, 0] == pytest.approx(memory)
    assert base.count[0, 0] == 8


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
