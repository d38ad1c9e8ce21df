"""Skill against hand counts, and chance for what is random."""

import numpy as np
import pytest

from hdt_fm.explain.gate.skill import skill_of
from hdt_fm.schema.errors import ExplainError


def test_auroc_counts_pairs_by_hand() -> None:
    output, label = np.array([0.1, 0.4, 0.35, 0.8, 9.0]), np.array([0.0, 0.0, 2.0, 2.0, np.nan])
    found = skill_of(output, label, np.arange(5), positive_class=2, draws=50)
    assert (found.metric, found.chance, found.people) == ("AUROC", 0.5, 4)
    assert found.value == pytest.approx(3 / 4)  # of four (positive, negative) pairs one is in the wrong order


def test_a_value_is_judged_by_its_correlation() -> None:
    label = np.array([1.0, 2.0, 3.0, 5.0])
    found = skill_of(2 * label - 7, label, np.array([0, 0, 1, 1]))
    assert (found.metric, found.chance, found.people) == ("correlation", 0.0, 2)
    assert found.value == pytest.approx(1.0)


def test_noise_is_rarely_above_chance_and_a_signal_is() -> None:
    people = np.repeat(np.arange(20), 10)
    above = []
    for seed in range(16):
        draw = np.random.default_rng(seed)
        label = draw.integers(0, 2, len(people)).astype(float)
        above.append(skill_of(draw.normal(size=len(people)), label, people, positive_class=1, draws=100).low > 0.5)
        assert skill_of(label + draw.normal(size=len(people)), label, people, positive_class=1, draws=100).low > 0.5
    assert sum(above) <= 3  # one in forty is what the interval promises


def test_one_person_gives_no_interval_and_no_label_is_refused() -> None:
    assert np.isnan(skill_of(np.arange(4.0), np.array([0.0, 1, 0, 1]), np.zeros(4, int), positive_class=1).low)
    with pytest.raises(ExplainError, match="label"):
        skill_of(np.arange(3.0), np.full(3, np.nan), np.arange(3))
