"""The bound: a watch that knows level, SD, memory, correlations and the illness itself; only its nights are unknown.

Shiryaev and Roberts' sum of likelihood ratios over all nights on which the illness may have begun, which is about as
soon as anything can be at a given rate of false alarms. For the plain world.
"""

import numpy as np
from jaxtyping import Float

from hdt_fm.twin.alert.simulated.people import (
    HEART_RATE,
    ILL_NIGHTS,
    ILLNESS_BPM,
    MEMORY,
    OTHERS,
    RAMP_NIGHTS,
    SHARED,
    ramp,
)
from hdt_fm.twin.alert.simulated.scoring import episodes, false_rate

_LEFT = np.sqrt(1 - MEMORY**2)


def strength(names: tuple[str, ...], sd_bpm: float) -> tuple[Float[np.ndarray, " indicator"], float]:
    """Best weights for what is new in each night, in SDs, and how many SDs a whole illness is along them."""
    effect = np.array([ILLNESS_BPM / sd_bpm if name == HEART_RATE else OTHERS[name][2] for name in names])
    share = np.array([1.0 if name == HEART_RATE else SHARED.get(name, 0.0) for name in names])
    between = np.outer(share, share) if HEART_RATE in names else np.zeros((len(names), len(names)))
    np.fill_diagonal(between, 1.0)
    weight = np.linalg.solve(between, effect)
    size = float(np.sqrt(effect @ weight))
    return weight / size, size


def along(
    values: Float[np.ndarray, "person night indicator"], names: tuple[str, ...], sd_bpm: float
) -> Float[np.ndarray, "person night"]:
    """What is new in each night along the best weights: independent, of SD 1 while well. Levels must be known: 0."""
    sds = np.array([sd_bpm if name == HEART_RATE else OTHERS[name][1] for name in names])
    scaled = values / sds
    new = scaled.copy()
    new[:, 1:] = (scaled[:, 1:] - MEMORY * scaled[:, :-1]) / _LEFT
    weight, _ = strength(names, sd_bpm)
    found: Float[np.ndarray, "person night"] = new @ weight
    return found


def shape(size: float) -> Float[np.ndarray, " night"]:
    """What illness adds to the new of each of its nights."""
    whole = ramp(RAMP_NIGHTS + ILL_NIGHTS)
    out: Float[np.ndarray, " night"] = size * (whole - MEMORY * np.concatenate([[0.0], whole[:-1]])) / _LEFT
    return out


def evidence(new: Float[np.ndarray, "person night"], size: float) -> Float[np.ndarray, "person night"]:
    """Log of the sum of likelihood ratios over where illness may have begun."""
    total = np.zeros(new.shape)
    expected = shape(size)
    for ill in range(1, min(len(expected), new.shape[1]) + 1):
        part = expected[:ill]
        ratio = sum(part[at] * new[:, at : new.shape[1] - ill + 1 + at] for at in range(ill)) - part @ part / 2
        total[:, ill - 1 :] += np.exp(ratio)
    return np.log(total)


def limit(size: float, per_year: float, *, generator: np.random.Generator, people: int = 2000) -> float:
    """The evidence that people who stay well pass so often a year, found by simulation."""
    found = evidence(generator.normal(size=(people, 365)), size)
    counts = np.ones(found.shape, dtype=np.bool_)
    low, high = float(np.quantile(found, 0.5)), float(found.max())
    for _ in range(20):
        middle = (low + high) / 2
        rate = false_rate(episodes(found >= middle, counts), counts.sum(axis=1))
        low, high = (middle, high) if rate > per_year else (low, middle)
    return high
