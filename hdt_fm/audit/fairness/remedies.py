"""Two remedies for gaps that need no other model: cells that weigh alike, and cells that weigh by how badly they do."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from hdt_fm.evaluation.probes import Fit, Fitted

Remedy = Literal["inverse_frequency", "group_dro"]
NAMES: Mapping[Remedy, str] = {"inverse_frequency": "cells weigh alike", "group_dro": "group DRO"}
# Windows after repeating, at most so many times those that there are.
MOST_ROWS = 3.0
ROUNDS = 8
# Of the exponent in which a cell's loss, in units of the mean cell's, moves its weight.
STEP = 0.5


@dataclass(frozen=True)
class Worst:
    """Weights of cells that grow with their loss: the exponentiated gradient of Sagawa et al. 2020.

    Attributes:
        share: Of each cell, what it weighs now; they sum to one.
    """

    share: Float[np.ndarray, " cell"]

    @classmethod
    def begin(cls, cells: int) -> "Worst":
        """All cells alike."""
        return cls(np.full(cells, 1.0 / cells))

    def after(self, losses: Float[np.ndarray, " cell"], *, step: float = STEP) -> "Worst":
        """Moved by the losses of the cells; a cell without one (NaN) counts as the mean."""
        known = np.isfinite(losses)
        if not known.any() or not losses[known].mean() > 0:
            return self
        relative = np.where(known, losses, losses[known].mean()) / losses[known].mean()
        grown = self.share * np.exp(step * (relative - relative.max()))
        return Worst(grown / grown.sum())


def weights(cell: Int[np.ndarray, " row"], share: Float[np.ndarray, " cell"]) -> Float[np.ndarray, " row"]:
    """Weight of each window, 1 on average: a cell's windows sum to its share of what all cells have.

    Windows of people in no cell weigh 1: who is not shown is neither favored nor left out.
    """
    found = np.ones(len(cell))
    inside = cell >= 0
    sizes = np.bincount(cell[inside], minlength=len(share))
    there = np.where(sizes > 0, share, 0.0)
    if inside.any() and there.sum() > 0:
        found[inside] = (inside.sum() * (there / there.sum()) / np.maximum(sizes, 1))[cell[inside]]
    return found


def repeated(weight: Float[np.ndarray, " row"]) -> Int[np.ndarray, " chosen"]:
    """Rows, each about as often as it weighs: none is lost while that takes no more than `MOST_ROWS` times the rows."""
    positive = weight[weight > 0]
    scale = min(1.0 / positive.min(), MOST_ROWS / weight.mean())
    marks = np.floor(np.cumsum(weight * scale) + 0.5)
    return np.repeat(np.arange(len(weight)), np.diff(marks, prepend=0.0).astype(np.int64))


def weighing_alike(fit: Fit, cells: Mapping[int, int], count: int) -> Fit:
    """The same model taught as if every cell had as many windows.

    Args:
        cells: Cell of each group of people; -1 for none.
        count: How many cells there are.
    """

    def fitted(x: np.ndarray, y: np.ndarray, group: np.ndarray) -> Fitted:
        rows = repeated(weights(_cells(group, cells), np.full(count, 1.0 / count)))
        return fit(x[rows], y[rows], group[rows])

    return fitted


def group_dro(
    settle: Callable[[np.ndarray, np.ndarray, np.ndarray], Fit],
    cells: Mapping[int, int],
    count: int,
    *,
    loss: Callable[[np.ndarray, np.ndarray], np.ndarray],
    rounds: int = ROUNDS,
) -> Fit:
    """The mean of models that are taught in turn, each on cells that weigh by how badly the ones before did.

    Args:
        settle: Looks at the training windows once and gives a model whose further settings stand.
        loss: Answers and truth -> a loss of each window.

    Source: Sagawa et al. 2020, with rounds of full fits in place of gradient steps; their mean is what the bound of
    the exponentiated gradient speaks of. Losses are those in training, as there.
    """

    def fitted(x: np.ndarray, y: np.ndarray, group: np.ndarray) -> Fitted:
        fit, cell, worst = settle(x, y, group), _cells(group, cells), Worst.begin(count)
        made: list[Fitted] = []
        for _ in range(rounds):
            rows = repeated(weights(cell, worst.share))
            made.append(fit(x[rows], y[rows], group[rows]))
            worst = worst.after(cell_means(loss(made[-1].predict(x), y), cell, count))
        saw = frozenset().union(*(one.fitted_on.groups for one in made))
        return Fitted(lambda new: np.mean([one.predict(new) for one in made], axis=0), type(made[0].fitted_on)(saw))

    return fitted


def class_loss(classes: int) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Log-loss of each window, with every class as common as the others."""

    def loss(scores: np.ndarray, y: np.ndarray) -> np.ndarray:
        labels = y.astype(np.int64)
        sizes = np.bincount(labels, minlength=classes)
        chance = np.maximum(scores[np.arange(len(labels)), labels], 1e-12)
        return -np.log(chance) * len(labels) / (np.maximum(sizes, 1)[labels] * max((sizes > 0).sum(), 1))

    return loss


def squared_loss(scores: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Squared error of each window."""
    return np.asarray((scores[:, 0] - y) ** 2)


def cell_means(values: Float[np.ndarray, " row"], cell: Int[np.ndarray, " row"], count: int) -> np.ndarray:
    """Mean of each cell; NaN of one without rows."""
    inside = cell >= 0
    total = np.bincount(cell[inside], weights=values[inside], minlength=count)
    sizes = np.bincount(cell[inside], minlength=count)
    return np.where(sizes > 0, total / np.maximum(sizes, 1), np.nan)


def _cells(group: Sequence[int] | np.ndarray, cells: Mapping[int, int]) -> Int[np.ndarray, " row"]:
    return np.array([cells.get(int(one), -1) for one in group], dtype=np.int64)
