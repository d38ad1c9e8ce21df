"""How much of an answer came by which way: the encoder's windows, the last hours, the person's own days, treatments.

One reading is told in several ways, so its credit does not say through which it worked. Here the ways are the players:
exact Shapley values over all of them, each either as it is or as the reference window tells it. Only the head is asked
(16 times for four ways), on what it is told; a mixture of ways is a moment that nobody has, as in any such game.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product
from math import factorial

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from hdt_fm.explain.targets.forecast import SeriesTarget
from hdt_fm.schema.batch import Batch
from hdt_fm.schema.protocols import HeadInput

ENCODER = "encoder"


@dataclass(frozen=True)
class Routes:
    """Credit of each way, in the unit of the answer.

    Attributes:
        credit: By name; they add up to the change of the answer from the reference.
        change: That change.
    """

    credit: Mapping[str, Float[np.ndarray, " window"]]
    change: Float[np.ndarray, " window"]


@torch.no_grad()
def by_route(target: SeriesTarget, batch: Batch, reference: Batch, *, column: int) -> Routes:
    """Share the change of one answer out over the ways.

    Args:
        reference: The same windows with what credit is counted against, such as flat signals.
        column: Of the answer.
    """
    here, there = target.inputs(batch), target.inputs(reference)
    ways = _ways(target)
    worth = {}
    for coalition in product((False, True), repeat=len(ways)):
        mixed = _mixed(target, here, there, dict(zip(ways, coalition, strict=True)))
        worth[coalition] = target.answers(mixed)[:, column].double().cpu().numpy()
    credit = {way: shapley(worth, at) for at, way in enumerate(ways)}
    return Routes(credit, worth[(True,) * len(ways)] - worth[(False,) * len(ways)])


def shapley(worth: Mapping[tuple[bool, ...], Float[np.ndarray, " window"]], player: int) -> np.ndarray:
    """The mean over all orders of what a player adds to those before it.

    Args:
        worth: Of every coalition.
    """
    count = len(next(iter(worth)))
    total = np.zeros_like(next(iter(worth.values())))
    for coalition, value in worth.items():
        if coalition[player]:
            others = sum(coalition) - 1
            without = (*coalition[:player], False, *coalition[player + 1 :])
            weight = factorial(others) * factorial(count - 1 - others) / factorial(count)
            total += weight * (value - worth[without])
    return total


def _ways(target: SeriesTarget) -> tuple[str, ...]:
    parts = target.telling.parts
    read = (ENCODER,) if target.telling.task.windows else ()
    return (*read, *(name for name, where in parts.items() if where.stop > where.start))


def _mixed(target: SeriesTarget, here: HeadInput, there: HeadInput, kept: Mapping[str, bool]) -> HeadInput:
    """Ways that are kept as they are, the others as the reference tells them."""
    assert here.known is not None
    assert there.known is not None
    known: Tensor = here.known.clone()
    for name, where in target.telling.parts.items():
        if not kept.get(name, True):
            known[:, where] = there.known[:, where]
    # Changes are told from the newest reading, which belongs to the last hours.
    recent = here.recent if kept["recent"] else there.recent
    read = here if kept.get(ENCODER, True) else there
    return replace(here, known=known, recent=recent, context=read.context, observed=read.observed)
