"""Simulated tables whose effect is known."""

from collections.abc import Callable

import numpy as np
import pytest

from hdt_fm.explain.causal.question import PREVIOUS_OUTCOME, Question

EFFECT = 0.5


def draw(
    seed: int,
    *,
    people: int = 30,
    rows: int = 20,
    effect: float = EFFECT,
    binary: bool = True,
    by_person: float = 0.0,
    curved: float = 0.0,
    lift: float = 0.8,
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Two causes of both, and one that is constant in a person; rows of people come mixed, each in order of time."""
    generator = np.random.default_rng(seed)
    person = generator.permutation(np.repeat(np.arange(people), rows))
    first, second = generator.normal(size=(2, len(person)))
    own = generator.normal(size=people)[person]
    pushed = lift * (first + 0.5 * second) + by_person * own + curved * (first**2 - 1)
    pushed += generator.logistic(size=len(person)) if binary else generator.normal(size=len(person))
    treatment = (pushed > 0).astype(float) if binary else pushed
    outcome = effect * treatment + first - 0.5 * second + curved * first**2 + (0.7 + by_person) * own
    outcome += generator.normal(size=len(person))
    return {"activity": treatment, "heart_rate": outcome, "hour": first, "posture": second}, person


@pytest.fixture
def new_table() -> Callable[..., tuple[dict[str, np.ndarray], np.ndarray]]:
    return draw


@pytest.fixture
def question() -> Question:
    return Question(
        treatment="activity",
        outcome="heart_rate",
        adjusted=("hour", "posture"),
        unmeasured=(),
        form="binary",
        negative_control=PREVIOUS_OUTCOME,
        unit="bpm",
        words={"activity": "high activity"},
    )
