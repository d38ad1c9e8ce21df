"""Simulated people are what the docstring says; their doses and effects against a second writing."""

from inspect import unwrap

import numpy as np
import pytest

from hdt_fm.schema.errors import ConfigError, UnknownNameError
from hdt_fm.schema.exposure import EXPOSURES
from hdt_fm.simulation.exposures import WORLDS, exposed_people


@pytest.fixture(scope="module")
def worlds():
    return {world: exposed_people(world, seed=3, people=24) for world in WORLDS}


def test_exposures_are_possible_ones(worlds):
    for some in worlds.values():
        for place, name in enumerate(some.names):
            low, high = EXPOSURES[name].plausible
            values = some.exposures[:, place]
            assert ((values >= low) & (values <= high) | np.isnan(values)).all()


def test_doses_are_leaky_means_of_exposures(worlds):
    """The scalar rule from a true dose on, one person and exposure at a time."""
    some = worlds["interacting"]
    for person in (0, 17):
        for place in (0, 1):
            keep, dose = np.exp(-1 / some.tau_d[person, place]), some.dose[person, place, 9]
            for day in range(10, 100):
                dose = keep * dose + (1 - keep) * some.exposures[person, place, day]
                assert some.dose[person, place, day] == pytest.approx(dose, abs=1e-9)


def test_effects_are_as_written(worlds):
    for world in ("single", "missing", "decoy"):
        some = worlds[world]
        assert some.effect == pytest.approx(0.15 * np.maximum(some.dose[:, 0] - 19.0, 0.0), abs=1e-9)
    both = worlds["interacting"]
    dust, warm = np.maximum(both.dose[:, 0] - 19, 0) / 10, np.maximum(both.dose[:, 1] - 9, 0) / 6
    assert both.effect == pytest.approx(1.5 * dust + 0.8 * warm + 0.9 * dust * warm, abs=1e-9)
    other = worlds["other law"]
    above = np.maximum(other.dose[:, 0] - 19, 0) / 10
    assert other.effect == pytest.approx(3 * above**2 / (above**2 + 2.25), abs=1e-9)
    assert other.effect.max() < 3


def test_missing_days_are_missing_in_all_that_is_seen_and_come_in_spells_too():
    some = exposed_people("missing", seed=0)
    gone = np.isnan(some.outcome)
    assert np.array_equal(gone, np.isnan(some.exposures[:, 0]))
    assert gone.mean() == pytest.approx(0.3, abs=0.03)
    assert np.isfinite(some.effect).all()
    runs = [len(run) for row in gone for run in "".join("x" if day else " " for day in row).split()]
    assert sum(run == 1 for run in runs) > 500
    assert sum(run >= 7 for run in runs) > 50


def test_season_is_common_to_exposure_and_outcome_beyond_the_effect(worlds):
    some = worlds["decoy"]
    wave = np.exp(2j * np.pi * some.day / 365.25)

    def swing(values: np.ndarray) -> float:
        within = values - values.mean(axis=1, keepdims=True)
        return float(np.abs((within * wave).mean()) * 2)

    assert swing(some.outcome - some.effect) > 0.6
    assert swing(some.dose[:, 1]) > 3


def test_people_and_days_as_asked_and_the_same_again(worlds):
    again = exposed_people("single", seed=3, people=24)
    assert np.array_equal(again.outcome, worlds["single"].outcome)
    other = exposed_people("single", seed=4, people=24)
    assert not np.array_equal(again.outcome, other.outcome)
    some = again.take(slice(4, 9))
    assert len(some) == 5
    assert some.names == ("pm2_5",)
    assert np.array_equal(some.tau_d, again.tau_d[4:9])
    tau = exposed_people("interacting", seed=0, people=400, days=2).tau_d
    assert np.exp(np.log(tau).mean(axis=0)) == pytest.approx([21, 7], rel=0.05)


def test_what_cannot_be_is_refused():
    with pytest.raises(UnknownNameError, match="did you mean 'single'"):
        unwrap(exposed_people)("single world", seed=0)
    for more in ({"people": 0}, {"days": 1}):
        with pytest.raises(ConfigError, match="1 person and 2 days"):
            exposed_people("single", seed=0, **more)
