"""The simulator does what it says, the scoring counts as by hand, the oracle is a bound."""

from dataclasses import replace

import numpy as np
import pytest

from hdt_fm.schema.errors import ConfigError
from hdt_fm.twin.alert.simulated import oracle
from hdt_fm.twin.alert.simulated.people import HEART_RATE, LIFE, OTHERS, PLAIN, SMOOTHED, World, ramp, simulate
from hdt_fm.twin.alert.simulated.scoring import episodes, false_rate, lead_nights


def made(people=300, nights=200, seed=0, world=PLAIN, sd=2.0, **more):
    return simulate(people, nights, sd_bpm=sd, world=world, generator=np.random.default_rng(seed), **more)


def test_noise_is_as_said():
    cohort = made()
    away = (cohort.values - cohort.level[:, None]) / np.array([2.0, *(sd for _, sd, _ in OTHERS.values())])
    np.testing.assert_allclose(away.std(axis=(0, 1)), 1, atol=0.02)
    np.testing.assert_allclose((away[:, 1:] * away[:, :-1]).mean(axis=(0, 1)), 0.5, atol=0.02)
    heart, hrv = (cohort.names.index(name) for name in (HEART_RATE, "hrv"))
    assert (away[..., heart] * away[..., hrv]).mean() == pytest.approx(-0.5, abs=0.02)


def test_illness_is_the_only_difference_between_well_and_ill():
    well, sick = made(5, 60, seed=3), made(5, 60, seed=3, onset=30)
    added = sick.values - well.values
    np.testing.assert_allclose(added[:, 26:31, 0], [[1.5, 3, 4.5, 6, 6]] * 5, atol=1e-9)
    assert not added[:, :26].any()
    assert not added[:, 37:].any()
    np.testing.assert_allclose(added[:, 30, sick.names.index("hrv")], -8, atol=1e-9)
    assert sick.well()[0].tolist() == [night < 26 or night > 58 for night in range(60)]


def test_life_has_gaps_cycles_and_devices():
    life = made(400, 365, world=LIFE, seed=1)
    empty = ~np.isfinite(life.values).any(axis=2)
    assert empty.mean() == pytest.approx(0.08, abs=0.01)
    assert (life.change >= 0).mean() == pytest.approx(0.3, abs=0.07)
    moved = life.values[..., 0] - life.level[:, :1]
    kept = life.change < 0
    assert np.nanstd(moved[kept]) > 2.05
    one = life.nights(int(np.argmax(life.change >= 0)))
    assert one.changes().sum() == 1


def test_a_smoothing_device_only_smooths_the_heart_rate():
    plain, shown = made(300, 400, seed=7, onset=200), made(300, 400, seed=7, world=SMOOTHED, onset=200)
    np.testing.assert_array_equal(shown.values[..., 1:], plain.values[..., 1:])
    away = shown.values[:, 20:190, 0] - shown.level[:, :1]
    assert (away[:, 1:] * away[:, :-1]).mean() / (away**2).mean() == pytest.approx(0.85, abs=0.01)
    # It can be undone: illness and all.
    heart = shown.values[..., 0]
    undone = (heart[:, 1:] - 0.61 * heart[:, :-1]) / 0.39
    np.testing.assert_allclose(undone, plain.values[:, 1:, 0], atol=1e-9)
    np.testing.assert_array_equal(heart[:, 0], plain.values[:, 0, 0])


def test_the_same_seed_gives_the_same_people():
    np.testing.assert_array_equal(made(4, 50, seed=5, world=LIFE).values, made(4, 50, seed=5, world=LIFE).values)
    spread = made(500, 2, sd=(1.0, 4.0)).sd_bpm
    assert spread.min() < 1.1
    assert spread.max() > 3.9


def test_each_part_of_life_can_be_alone():
    quiet = made(50, 120, seed=2)
    for name in ("weekend_bpm", "cycle_bpm", "drift_bpm"):
        moved = made(50, 120, seed=2, world=replace(World(), **{name: 3.0}))
        assert np.abs(moved.values - quiet.values)[..., 0].max() <= 3.0 + 1e-9
        assert np.abs(moved.values - quiet.values)[..., 0].max() > 1.0
        np.testing.assert_allclose(moved.values[..., -1], quiet.values[..., -1])


@pytest.mark.parametrize(("people", "nights", "onset"), [(0, 10, None), (3, 10, 10), (3, 10, 2)])
def test_bad_cohorts_speak(people, nights, onset):
    with pytest.raises(ConfigError, match="Nobody"):
        made(people, nights, onset=onset)


def row(text):
    return np.array([[letter == "x" for letter in text]])


def test_episodes_by_hand():
    every = np.ones((1, 12), dtype=bool)
    assert episodes(row("xx.........."), every)[0] == 1
    assert episodes(row("x..x........"), every)[0] == 1
    assert episodes(row("x...x......."), every)[0] == 2
    late = np.arange(12)[None] >= 2
    assert episodes(row("x..x........"), late)[0] == 0
    assert episodes(row("............"), every)[0] == 0
    assert false_rate(np.array([1, 3]), np.array([365.25, 365.25])) == 2
    assert false_rate(np.array([1, 3]), np.array([365.25, 365.25]), weight=np.array([2, 0])) == 1
    assert np.isnan(false_rate(np.array([0]), np.array([0])))


def test_lead_by_hand():
    onset = np.array([6, 6, 6, -1])
    alert = np.concatenate([row("...x.x......"), row("......x....."), row(".......x...."), row("...xxx......")])
    np.testing.assert_array_equal(lead_nights(alert, onset), [3, 0, np.nan, np.nan])
    assert np.isnan(lead_nights(row("x..........."), np.array([6])))[0]


def test_the_oracle_sees_unit_noise_and_its_own_illness():
    well, sick = made(400, 60, seed=4), made(400, 60, seed=4, onset=40)
    size = oracle.strength(well.names, 2.0)[1]
    new = oracle.along(well.values - well.level[:, None], well.names, 2.0)
    assert new.std() == pytest.approx(1, abs=0.02)
    assert np.abs(np.corrcoef(new[:, :-1].ravel(), new[:, 1:].ravel())[0, 1]) < 0.02
    added = oracle.along(sick.values - sick.level[:, None], sick.names, 2.0) - new
    np.testing.assert_allclose(added[:, 36:47], np.tile(oracle.shape(size), (400, 1)), atol=1e-9)
    assert size > oracle.strength((HEART_RATE,), 2.0)[1] == pytest.approx(3.0)


def test_evidence_is_the_sum_of_likelihood_ratios():
    new, size = np.random.default_rng(1).normal(size=(1, 3)), 1.7
    expected = oracle.shape(size)
    by_hand = sum(
        np.exp(sum(expected[at] * new[0, start + at] - expected[at] ** 2 / 2 for at in range(3 - start)))
        for start in range(3)
    )
    assert oracle.evidence(new, size)[0, 2] == pytest.approx(np.log(by_hand))
    assert ramp(6).tolist() == [0.25, 0.5, 0.75, 1, 1, 1]
