"""The simulation against its equations by hand, and against what papers say of its subjects."""

import numpy as np
import pytest
from scipy.stats import truncnorm

from hdt_fm.schema.errors import ConfigError
from hdt_fm.simulation import tumour
from hdt_fm.simulation.tumour import (
    CAPACITY_CM3,
    DEATH_VOLUME_CM3,
    Draws,
    Subjects,
    assignment_probability,
    chemo_after,
    diameter_of,
    draw_chance,
    draw_subjects,
    grow,
    live,
    volume_of,
)


def people(count: int = 3, *, volume: float = 100.0) -> Subjects:
    each = np.ones(count)
    return Subjects(volume * each, 0.01 * each, 0.05 * each, 0.005 * each, 0.03 * each, np.arange(count) % 3 + 1)


def draws(count: int, days: int, *, treated: float) -> Draws:
    """No noise; everybody is treated (0) or nobody is (1); nobody recovers by chance."""
    even = np.ones((count, days))
    return Draws(np.zeros((count, days)), even, treated * even, treated * even)


def test_volumes_by_hand() -> None:
    assert volume_of(13.0) == pytest.approx(4 / 3 * np.pi * 6.5**3)
    assert pytest.approx(1150.347, abs=1e-3) == DEATH_VOLUME_CM3
    assert diameter_of(volume_of(7.3)) == pytest.approx(7.3)
    assert np.isnan(diameter_of(-1.0))


def test_growth_alone_follows_the_equation_and_its_closed_form() -> None:
    one = people(1)
    zero = np.zeros(1)
    grown = grow(one.volume, zero, zero, zero, one)
    assert grown == pytest.approx(100 * (1 + 0.01 * np.log(4 / 3 * np.pi * 15**3 / 100)))
    # Slow growth is Gompertz's: V(t) = K exp(ln(V0 / K) exp(-rho t)).
    slow = Subjects(one.volume, np.array([1e-4]), zero, zero, zero, one.kind)
    volume = slow.volume
    for _ in range(1000):
        volume = grow(volume, zero, zero, zero, slow)
    assert volume == pytest.approx(CAPACITY_CM3 * np.exp(np.log(100 / CAPACITY_CM3) * np.exp(-0.1)), rel=1e-3)


def test_each_treatment_kills_its_share() -> None:
    one, zero = people(1), np.zeros(1)
    alone = grow(one.volume, zero, zero, zero, one)
    radio = grow(one.volume, zero, np.array([2.0]), zero, one)
    chemo = grow(one.volume, np.array([7.5]), zero, zero, one)
    assert alone - radio == pytest.approx(100 * (0.05 * 2 + 0.005 * 4))
    assert alone - chemo == pytest.approx(100 * 0.03 * 7.5)
    assert grow(one.volume, zero, zero, np.array([0.02]), one) - alone == pytest.approx(2.0)


def test_what_is_gone_stays_gone_and_below_zero_there_is_no_tomorrow() -> None:
    some, zero = people(2), np.zeros(2)
    assert grow(np.array([0.0, -1.0]), zero, zero, zero, some).tolist()[0] == 0.0
    assert np.isnan(grow(np.array([0.0, -1.0]), zero, zero, zero, some)[1])


def test_chemotherapy_halves_each_day_and_adds_five_units() -> None:
    units, seen = np.zeros(1), []
    for given in (True, False, False, True):
        units = chemo_after(units, np.array([given]))
        seen.append(float(units[0]))
    assert seen == pytest.approx([5.0, 2.5, 1.25, 5.625])


def test_assignment_by_hand() -> None:
    assert assignment_probability(np.array([6.5]), 4.0) == pytest.approx(0.5)
    assert assignment_probability(np.array([13.0]), 4.0) == pytest.approx(1 / (1 + np.exp(-2.0)))
    assert assignment_probability(np.array([1.0, 9.0]), 0.0) == pytest.approx(0.5)


def test_a_course_is_the_equation_day_by_day() -> None:
    some = people(3)
    course = live(some, draws(3, 5, treated=0.0), 4.0)
    volume, units = some.volume, np.zeros(3)
    for day in range(4):
        # Nobody is treated on day 0: there is no yesterday to look at.
        units = chemo_after(units, np.full(3, day > 0))
        volume = grow(volume, units, np.full(3, 2.0 * (day > 0)), np.zeros(3), some)
        assert course.volume[:, day + 1] == pytest.approx(volume)
    assert not course.given[:, 0].any()
    assert course.given[:, 1:4].all()
    assert course.length.tolist() == [4, 4, 4]
    today = live(some, draws(3, 5, treated=0.0), 4.0, until="today")
    assert today.given[:, 0].all()


def test_the_policy_looks_at_the_mean_diameter_of_the_window() -> None:
    some = people(1)
    course = live(some, draws(1, 20, treated=1.0), 4.0)
    looked = diameter_of(course.volume[0, 2:17]).mean()
    assert course.probability[0, 17] == pytest.approx(float(assignment_probability(np.array([looked]), 4.0)[0]))
    today = live(some, draws(1, 20, treated=1.0), 4.0, until="today")
    looked = diameter_of(today.volume[0, 2:18]).mean()
    assert today.probability[0, 17] == pytest.approx(float(assignment_probability(np.array([looked]), 4.0)[0]))
    other = live(some, draws(1, 20, treated=1.0), 4.0, seen=lambda day: np.full((1, 20), float(volume_of(6.5))))
    assert np.nanmax(abs(other.probability[0, 1:] - 0.5)) < 1e-12


def test_death_and_recovery_end_a_course() -> None:
    dying = live(people(2, volume=1149.0), draws(2, 6, treated=1.0), 0.0)
    assert dying.length.tolist() == [1, 1]
    assert dying.volume[:, 1] == pytest.approx(DEATH_VOLUME_CM3)
    assert not dying.volume[:, 2:].any()
    assert not dying.given[:, 1:].any()
    cured = people(2)
    cured = Subjects(cured.volume, cured.rho, 10 * cured.alpha, 10 * cured.beta, cured.beta_c, cured.kind)
    course = live(cured, draws(2, 6, treated=0.0), 0.0)
    assert course.length.tolist() == [2, 2]
    assert not course.volume[:, 2:].any()


def test_subjects_are_as_the_papers_draw_them() -> None:
    some = draw_subjects(20_000, np.random.default_rng(0))
    assert [round(float((some.kind == kind).mean()), 2) for kind in (1, 2, 3)] == [0.33, 0.33, 0.33]
    assert some.volume.min() > volume_of(0.3) * 0.999
    assert some.volume.max() <= DEATH_VOLUME_CM3
    assert some.beta == pytest.approx(some.alpha / 10)
    assert some.alpha.min() > 0
    assert some.rho.min() > 0
    plain = some.kind == 2
    assert some.beta_c[plain].mean() == pytest.approx(0.028, abs=2e-5)
    assert some.beta_c[some.kind == 3].mean() == pytest.approx(0.0308, abs=2e-5)
    assert np.corrcoef(some.alpha, some.rho)[0, 1] == pytest.approx(0.75, abs=0.05)
    # Quantiles of the program behind the published rows, 3,000 subjects.
    assert np.median(some.alpha) == pytest.approx(0.163, abs=0.006)
    assert np.median(some.rho) == pytest.approx(0.0054, abs=0.0003)


def test_first_diameters_have_the_published_mixture() -> None:
    some = draw_subjects(20_000, np.random.default_rng(0))
    log_diameter = np.sort(np.log(diameter_of(some.volume)))
    expected = np.zeros(len(log_diameter))
    for share, center, spread, low, high in tumour.STAGES:
        edges = (np.log(low) - center) / spread, (np.log(high) - center) / spread
        expected += share / 22_954 * truncnorm.cdf(log_diameter, *edges, loc=center, scale=spread)
    # Kolmogorov and Smirnov, 1 in 1,000.
    assert abs(expected - (np.arange(20_000) + 0.5) / 20_000).max() < 1.95 / np.sqrt(20_000)


def test_same_seed_same_course() -> None:
    def run(seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        return live(draw_subjects(50, rng), draw_chance(50, 30, rng), 4.0).volume

    assert np.array_equal(run(1), run(1))
    assert not np.array_equal(run(1), run(2))


def test_the_more_the_tumour_decides_the_less_small_ones_are_treated() -> None:
    shares = []
    for gamma in (0.0, 4.0, 10.0):
        rng = np.random.default_rng(3)
        course = live(draw_subjects(2_000, rng), draw_chance(2_000, 60, rng), gamma)
        shares.append(course.chemo[course.lived][1:].mean())
    assert 0.47 < shares[0] < 0.51
    assert shares[0] > shares[1] > shares[2]


def test_impossible_runs_are_refused() -> None:
    with pytest.raises(ConfigError, match="nobody to simulate"):
        draw_subjects(0, np.random.default_rng(0))
    with pytest.raises(ConfigError, match="No course can be simulated"):
        live(people(1), draws(1, 1, treated=1.0), 1.0)
    with pytest.raises(ConfigError, match="gamma >= 0"):
        live(people(1), draws(1, 5, treated=1.0), -1.0)


def test_constants_are_those_of_the_papers() -> None:
    assert (tumour.CHEMO_UNITS, tumour.RADIO_GY, tumour.NOISE, tumour.WINDOW_DAYS) == (5.0, 2.0, 0.01, 15)
    assert sum(row[0] for row in tumour.STAGES) == 22_954
