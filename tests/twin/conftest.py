"""Nights made by hand, and a watch over a simulated cohort."""

from collections.abc import Callable

import numpy as np
import pytest

from hdt_fm.twin.alert.settings import AlertSettings
from hdt_fm.twin.alert.simulated.people import START, Cohort
from hdt_fm.twin.alert.watcher import Watcher
from hdt_fm.twin.nights.indicators import effects_of
from hdt_fm.twin.nights.night import DAY, Nights, weekdays


@pytest.fixture(scope="session")
def nights_of() -> Callable[..., Nights]:
    """(values, names, devices) -> nights on a calendar without gaps."""

    def made(values, names=("resting_heart_rate",), devices=None):
        values = np.asarray(values, dtype=np.float64)
        values = values[:, None] if values.ndim == 1 else values
        return Nights(START + np.arange(len(values)) * DAY, values, tuple(names), devices)

    return made


@pytest.fixture(scope="session")
def usual() -> Callable[..., np.ndarray]:
    """(nights, seed) -> AR(.5) around 60 bpm with SD 2."""

    def made(nights, seed=0, sd=2.0):
        fresh = np.random.default_rng(seed).normal(size=nights)
        out = fresh.copy()
        for night in range(1, nights):
            out[night] = 0.5 * out[night - 1] + np.sqrt(0.75) * fresh[night]
        return 60 + sd * out

    return made


@pytest.fixture(scope="session")
def states() -> Callable[..., np.ndarray]:
    """(cohort, settings) -> state of each (person, night)."""

    def watched(cohort: Cohort, **settings):
        people, nights = cohort.values.shape[:2]
        watcher = Watcher(people, effects_of(cohort.names), AlertSettings(**settings))
        days = weekdays(cohort.dates)
        found = [
            watcher.step(cohort.values[:, at], np.full(people, days[at]), cohort.change == at).state
            for at in range(nights)
        ]
        return np.stack(found, axis=1)

    return watched
