"""The budget holds: on people who stay well, whatever their spread, and people with lives."""

import numpy as np
import pytest

from hdt_fm.twin.alert.simulated.people import LIFE, PLAIN, SMOOTHED, SMOOTHED_LIFE, simulate
from hdt_fm.twin.alert.simulated.scoring import episodes, false_rate, lead_nights
from hdt_fm.twin.alert.watcher import ABSTAINED, ALERT, LEARNING


def rate(state, counts=True):
    judged = (state != LEARNING) & (state != ABSTAINED) & counts
    return false_rate(episodes(state == ALERT, judged), judged.sum(axis=1))


@pytest.mark.parametrize("world", [PLAIN, LIFE])
@pytest.mark.parametrize("budget", [1.0, 2.0, 4.0])
def test_the_rate_is_the_budget(states, world, budget):
    """Personal SDs from 1.2 to 3.5 bpm together; 380 years, so 1 a year is known to 5 %."""
    cohort = simulate(400, 380, sd_bpm=(1.2, 3.5), world=world, generator=np.random.default_rng(32), others=False)
    assert rate(states(cohort, budget_per_year=budget)) == pytest.approx(budget, rel=0.25)


@pytest.mark.parametrize("world", [SMOOTHED, SMOOTHED_LIFE])
def test_a_device_that_smooths_keeps_the_rate(states, world):
    """With one night of memory, at most .9 and pulled to .4 by twenty nights, it was 3.8 a year at a budget of 2."""
    cohort = simulate(300, 380, sd_bpm=2.0, world=world, generator=np.random.default_rng(33), others=False)
    assert rate(states(cohort, budget_per_year=2.0)) == pytest.approx(2.0, rel=0.3)


def test_the_rate_does_not_know_the_unit(states):
    """The same people with ten times the spread: not one night differs."""
    small, large = (
        simulate(20, 150, sd_bpm=sd, world=PLAIN, generator=np.random.default_rng(2), others=False)
        for sd in (1.0, 10.0)
    )
    np.testing.assert_array_equal(states(small), states(large))


def test_illness_is_found_and_a_lower_budget_finds_less(states):
    cohort = simulate(150, 261, sd_bpm=2.0, world=PLAIN, generator=np.random.default_rng(3), others=False, onset=260)
    found = [
        np.isfinite(lead_nights(states(cohort, budget_per_year=budget) == ALERT, cohort.onset)).mean()
        for budget in (1.0, 4.0)
    ]
    assert found[0] < found[1]
    assert found[0] > 0.65


def test_several_indicators_find_more(states):
    cohort = simulate(120, 201, sd_bpm=3.5, world=PLAIN, generator=np.random.default_rng(4), onset=200)
    many, one = (
        np.isfinite(lead_nights(states(part) == ALERT, cohort.onset)).mean()
        for part in (cohort, cohort.only("resting_heart_rate"))
    )
    assert many > one + 0.15


def test_two_channels_share_the_budget(states):
    """Components of an embedding beside the heart rate: one budget, not two."""
    cohort = simulate(150, 300, sd_bpm=2.0, world=PLAIN, generator=np.random.default_rng(5), others=True)
    renamed = cohort.only("resting_heart_rate", "respiratory_rate", "skin_temperature")
    object.__setattr__(renamed, "names", ("resting_heart_rate", "component_0", "component_1"))
    assert rate(states(renamed, budget_per_year=4.0)) == pytest.approx(4.0, rel=0.3)
