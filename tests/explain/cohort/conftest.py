"""Explanations of cohorts whose shares are known, without any model."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from hdt_fm.explain.explanation import Check, Explanation, MethodMap, Reliability, SignalView

SAMPLES = {"ppg": 48, "acc": 24, "eda": 5}
CHANNELS = {"ppg": 1, "acc": 3, "eda": 1}
METHODS = ("integrated_gradients", "occlusion")


def make_cohort(
    shares: np.ndarray, *, windows: int = 3, noise: float = 0.0, seed: int = 0, names: Sequence[str] = tuple(SAMPLES)
) -> Explanation:
    """An explanation whose people (row) have these mean shares (column: ppg, acc, eda); 0 is absent."""
    rng = np.random.default_rng(seed)
    people = len(shares)
    person = np.repeat(np.arange(people), windows)
    present = np.repeat(shares > 0, windows, axis=0)
    of = np.repeat(shares, windows, axis=0) * np.exp(noise * rng.normal(size=(people * windows, shares.shape[1])))
    of = of / of.sum(1, keepdims=True)
    maps = []
    for method in METHODS:
        values = {}
        for k, name in enumerate(names):
            size = rng.random((len(person), CHANNELS[name], SAMPLES[name])) + 0.1
            size = size / size.sum((1, 2), keepdims=True) * of[:, k, None, None]
            values[name] = (size * rng.choice([-1, 1], size.shape)).astype(np.float32)
        maps.append(MethodMap(method, values))
    signals = {
        name: SignalView(
            name,
            "au",
            SAMPLES[name] / 60,
            np.zeros((len(person), CHANNELS[name], SAMPLES[name]), dtype=np.float32),
            np.ones((len(person), SAMPLES[name]), dtype=bool),
        )
        for name in names
    }
    return Explanation(
        target="stress",
        target_index=0,
        reference="window_mean",
        segments=6,
        window_s=60.0,
        modalities=tuple(names),
        present=present,
        person=person,
        signals=signals,
        output=rng.normal(size=len(person)),
        reference_output=np.zeros(len(person)),
        maps=tuple(maps),
        reliability=Reliability((Check("noise", "pass", 1.0, "", ""),)),
    )


@pytest.fixture
def new_cohort() -> Callable[..., Explanation]:
    return make_cohort
