"""People with features whose teacher is a known function, and a second modality that says nothing."""

from collections.abc import Callable

import numpy as np
import pytest

from hdt_fm.explain.distil.named import Feature, NamedFeatures

FEATURES = (
    Feature("ppg.hr", "PPG: heart rate", "per minute", "ppg"),
    Feature("ppg.hrv", "PPG: variability", "ms", "ppg"),
    Feature("acc.move", "Acceleration: movement", "g", "acc"),
    Feature("temp.mean", "Skin temperature: level", "°C", "temp"),
)
LEVELS, SPREADS = np.array([80.0, 40.0, 0.2, 32.0]), np.array([10.0, 12.0, 0.1, 1.0])


def make_people(people: int = 14, windows: int = 30, *, seed: int = 0) -> NamedFeatures:
    """Independent normal features in everyday units."""
    draws = np.random.default_rng(seed)
    values = LEVELS + SPREADS * draws.standard_normal((people * windows, len(FEATURES)))
    return NamedFeatures(FEATURES, values, np.repeat(np.arange(people) + 7_000, windows))


@pytest.fixture
def named() -> NamedFeatures:
    return make_people()


@pytest.fixture(scope="session")
def new_people() -> Callable[..., NamedFeatures]:
    return make_people
