"""Attacks against closed forms and against counting pair by pair."""

from itertools import pairwise
from math import erf, sqrt

import numpy as np
import pytest

from hdt_fm.audit.attacks import lira, rmia, sides_of, standardised, threshold
from hdt_fm.audit.halves import random_halves
from hdt_fm.audit.scores import area, caught_at, caught_by_chance, resolvable
from hdt_fm.schema.errors import ConfigError


def auroc(scores: np.ndarray, member: np.ndarray) -> float:
    return float(
        area(scores, member, np.arange(len(scores)), np.zeros(len(scores), dtype=int)).over(np.ones((1, len(scores))))[
            0
        ]
    )


@pytest.fixture
def gaussian() -> tuple[np.ndarray, np.ndarray]:
    """Losses of 60 models on 400 people: a level of each person, a drop of `drop` by membership, noise of one."""
    generator = np.random.default_rng(0)
    member = generator.uniform(size=(60, 400)) < 0.5
    level = 3 * generator.normal(size=400)
    return level - 1.2 * member + generator.normal(size=(60, 400)), member


def test_lira_comes_to_the_best_area_of_two_gaussians(gaussian) -> None:
    losses, member = gaussian
    found = auroc(lira(losses[0], losses[1:], member[1:]), member[0])
    best = 0.5 * (1 + erf(1.2 / sqrt(2) / sqrt(2)))
    assert found == pytest.approx(best, abs=0.03)
    assert auroc(threshold(losses[0]), member[0]) < best - 0.1
    assert auroc(rmia(losses[0], losses[1:], member[1:]), member[0]) == pytest.approx(best, abs=0.04)


def test_nothing_is_found_where_membership_does_nothing() -> None:
    generator = np.random.default_rng(1)
    member = generator.uniform(size=(9, 2000)) < 0.5
    losses = generator.normal(size=(9, 2000)) + generator.normal(size=2000)
    for scores in (
        threshold(losses[0]),
        lira(losses[0], losses[1:], member[1:]),
        rmia(losses[0], losses[1:], member[1:]),
    ):
        assert auroc(scores, member[0]) == pytest.approx(0.5, abs=0.04)


@pytest.mark.parametrize("gamma", [1.0, 1.7])
def test_rmia_pair_by_pair(gamma: float) -> None:
    generator = np.random.default_rng(2)
    losses, references = generator.normal(size=11), generator.normal(size=(6, 11))
    member = generator.uniform(size=(6, 11)) < 0.5
    member[0], member[1] = True, False
    found = rmia(losses, references, member, gamma=gamma)
    usual = [
        (np.exp(-references[member[:, x], x].mean()) + np.exp(-references[~member[:, x], x].mean())) / 2
        for x in range(11)
    ]
    ratio = [np.exp(-losses[x]) / usual[x] for x in range(11)]
    for x in range(11):
        share = sum(ratio[x] / ratio[z] >= gamma for z in range(11) if z != x) / 10
        assert share <= found[x] < share + 1 / 20
    # What breaks ties never turns a pair around.
    order = np.argsort(found)
    assert all(ratio[a] <= ratio[b] + 1e-12 for a, b in pairwise(order)) or gamma > 1


def test_a_person_on_one_side_alone_borrows_the_usual_difference() -> None:
    losses = np.array([[1.0, 5.0, 2.0], [3.0, 6.0, 4.0]])
    member = np.array([[True, True, True], [False, False, True]])
    sides = sides_of(losses, member)
    assert sides.inside.tolist() == [1.0, 5.0, 3.0]
    assert sides.outside.tolist() == [3.0, 6.0, 3.0 + 1.5]


def test_with_one_reference_nothing_leaks_of_the_target(gaussian) -> None:
    """A single other model whose half is independent of the target's: sides are told, the truth is not."""
    generator = np.random.default_rng(4)
    member = generator.uniform(size=(2, 3000)) < 0.5
    losses = np.repeat(generator.normal(size=(1, 3000)), 2, axis=0) + generator.normal(size=(2, 3000))
    for attack in (lira, rmia):
        assert auroc(attack(losses[0], losses[1:], member[1:]), member[0]) == pytest.approx(0.5, abs=0.04)


def test_the_levels_of_models_and_cohorts_do_not_matter(gaussian) -> None:
    losses, member = gaussian
    cohort = np.repeat([0, 1], 200)
    moved = losses * np.linspace(1, 3, 60)[:, None] + np.linspace(-5, 5, 60)[:, None] + 40 * cohort
    one, other = standardised(losses, cohort), standardised(moved, cohort)
    assert np.allclose(one, other)
    assert auroc(lira(other[0], other[1:], member[1:]), member[0]) > 0.75


def test_references_that_all_saw_everyone_are_refused() -> None:
    with pytest.raises(ConfigError, match="References cannot say"):
        lira(np.zeros(3), np.zeros((2, 3)), np.ones((2, 3), dtype=bool))
    with pytest.raises(ConfigError, match="References cannot say"):
        rmia(np.zeros(3), np.zeros((0, 3)), np.zeros((0, 3), dtype=bool))


def test_caught_by_hand() -> None:
    scores = np.array([9.0, 7, 5, 3, 8, 4, 2, 1])
    member = np.array([True] * 4 + [False] * 4)

    def caught(share: float, counts=None) -> float:
        rows = np.ones((1, 8)) if counts is None else np.array([counts], dtype=float)
        return float(caught_at(scores, member, np.arange(8), false_share=share).over(rows)[0])

    assert caught(0.1) == 0.25
    assert caught(0.25) == 0.75
    assert caught(0.5) == 1.0
    # The one false alarm at 8 was not drawn.
    assert caught(0.1, [1, 1, 1, 1, 0, 1, 1, 1]) == 0.75


def test_ties_are_not_taken_apart() -> None:
    scores, member = np.zeros(6), np.array([True, True, True, False, False, False])
    assert caught_at(scores, member, np.arange(6), false_share=0.4).over(np.ones((1, 6)))[0] == 0.0


def test_what_few_people_can_show() -> None:
    assert not resolvable(0.01, 15)
    assert resolvable(1 / 15, 15)
    assert resolvable(0.01, 100)
    assert not resolvable(0.001, 999)
    assert caught_by_chance(1 / 15, 15) == pytest.approx(2 / 16)


def test_chance_of_being_caught_is_what_random_scores_get() -> None:
    generator = np.random.default_rng(5)
    member = np.array([True] * 20 + [False] * 10)
    found = [
        float(caught_at(generator.normal(size=30), member, np.arange(30), false_share=0.1).over(np.ones((1, 30)))[0])
        for _ in range(600)
    ]
    assert np.mean(found) == pytest.approx(caught_by_chance(0.1, 10), abs=0.02)


def test_halves_keep_groups_together_and_differ() -> None:
    groups = ["a", "a", "b", "c", "d", "e", "f", "g"]
    halves = random_halves(groups, references=40, seed=0)
    assert (halves[:, 0] == halves[:, 1]).all()
    assert {sum(row[1:]) for row in halves} == {3}
    assert len(np.unique(halves, axis=0)) > 10
    assert 0.3 < halves.mean() < 0.6
    with pytest.raises(ConfigError, match="too few people"):
        random_halves(["a", "b", "c", "c"], references=2, seed=0)


def test_log_ratio_of_lira_by_hand() -> None:
    """Two references each way, spread one: the ratio is that of two normal densities."""
    references = np.array([[0.0, 0.0], [2.0, 2.0], [3.0, 3.0], [5.0, 5.0]])
    member = np.array([[True, True], [True, True], [False, False], [False, False]])
    # Means 1 and 4; spread of each side sqrt(4 / 2) = sqrt 2.
    expected = (3.5 - 4) ** 2 / 4 - (3.5 - 1) ** 2 / 4
    assert lira(np.array([3.5, 3.5]), references, member)[0] == pytest.approx(expected)


def test_pairs_of_two_targets_are_not_compared() -> None:
    """Each target tells its people apart without fail; that all scores of one lie above the other's says nothing."""
    scores, member = np.array([2.0, 1.0, 12.0, 11.0]), np.array([True, False, True, False])
    person, target = np.array([0, 1, 1, 0]), np.array([0, 0, 1, 1])
    assert area(scores, member, person, target).over(np.ones((1, 2)))[0] == 1.0
    # In a draw without person 1 neither target has both sides.
    assert np.isnan(area(scores, member, person, target).over(np.array([[2.0, 0.0]]))[0])
