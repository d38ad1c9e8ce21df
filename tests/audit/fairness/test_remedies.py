"""Remedies: what weighs how much, and that they help where a cell is rare and differs."""

import numpy as np
import pytest

from hdt_fm.audit.fairness.remedies import (
    Worst,
    cell_means,
    class_loss,
    group_dro,
    repeated,
    squared_loss,
    weighing_alike,
    weights,
)
from hdt_fm.evaluation.probes import logistic, ridge


def test_cells_weigh_alike_and_nobody_else_is_moved() -> None:
    cell = np.array([0] * 6 + [1] * 2 + [-1] * 3)
    found = weights(cell, np.array([0.5, 0.5]))
    assert found[cell == 0].sum() == pytest.approx(4)
    assert found[cell == 1].sum() == pytest.approx(4)
    assert found[cell == -1].tolist() == [1, 1, 1]
    assert found.mean() == pytest.approx(1)


def test_rows_are_repeated_as_they_weigh() -> None:
    assert np.bincount(repeated(np.array([1.0, 1.0, 3.0, 2.0]))).tolist() == [1, 1, 3, 2]
    many = repeated(weights(np.array([0] * 90 + [1] * 10), np.array([0.5, 0.5])))
    assert (many >= 90).mean() == pytest.approx(0.5, abs=0.02)
    assert len(many) <= 300


def test_the_worst_cell_weighs_more_from_round_to_round() -> None:
    worst = Worst.begin(3)
    for _ in range(4):
        worst = worst.after(np.array([1.0, 2.0, np.nan]))
    assert worst.share[1] > worst.share[2] > worst.share[0]
    assert worst.share.sum() == pytest.approx(1)


def test_losses_by_hand() -> None:
    scores = np.array([[0.8, 0.2], [0.5, 0.5], [0.1, 0.9]])
    each = class_loss(2)(scores, np.array([0.0, 0.0, 1.0]))
    assert each == pytest.approx(-np.log([0.8, 0.5, 0.9]) * [0.75, 0.75, 1.5])
    assert squared_loss(np.array([[1.0], [3.0]]), np.array([0.0, 3.0])).tolist() == [1, 0]
    assert cell_means(np.array([1.0, 3.0, 9.0]), np.array([0, 0, -1]), 2)[0] == 2


def people(seed: int = 0):
    """Two cells, one of them rare, whose class shows in another feature."""
    generator = np.random.default_rng(seed)
    group = np.repeat(np.arange(40), 20)
    rare = group % 10 == 0
    y = (generator.random(len(group)) < 0.5).astype(np.float64)
    x = generator.normal(size=(len(group), 4))
    x[:, 0] += np.where(rare, -1.0, 1.5) * (2 * y - 1)
    x[:, 1] += np.where(rare, 1.5, 0.0) * (2 * y - 1)
    return x, y, group, rare, {one: int(one % 10 == 0) for one in range(40)}


@pytest.mark.parametrize("remedy", ["inverse_frequency", "group_dro"])
def test_a_rare_cell_is_served_better(remedy: str) -> None:
    x, y, group, _, cells = people()
    new_x, new_y, _, new_rare, _ = people(seed=1)
    plain = logistic(2, seed=0, strength=0.01)
    fit = (
        weighing_alike(plain, cells, 2)
        if remedy == "inverse_frequency"
        else group_dro(lambda *_: plain, cells, 2, loss=class_loss(2))
    )

    def right(one) -> float:
        answers = one(x, y, group).predict(new_x[new_rare])
        return float((answers.argmax(axis=1) == new_y[new_rare]).mean())

    assert right(fit) > right(plain) + 0.1
    assert fit(x, y, group).fitted_on.groups == frozenset(range(40))


def test_values_too() -> None:
    x, _, group, rare, cells = people()
    y = np.where(rare, -3.0, 1.0) * x[:, 2]
    plain, fair = ridge(seed=0), group_dro(lambda *_: ridge(seed=0), cells, 2, loss=squared_loss, rounds=3)
    error = [np.abs(fit(x, y, group).predict(x)[rare, 0] - y[rare]).mean() for fit in (plain, fair)]
    assert error[1] < error[0]
