"""How much of an answer came by which way: the encoder's windows, the last hours, the person's own days, treatments.

One reading is told in several ways, so its credit does not say through which it worked. Here the ways are the players:
exact Shapley values over all of them, each either as it is or as the reference window tells it. Only the head is asked
(16 times for four ways), on what it is told; a mixture of ways is a moment that nobody has, as in any such game.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import factorial

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from hdt_fm.explain.attribution import bound
from hdt_fm.explain.binding import REFERENCES, Run, explaining, refuse_unexplainable
from hdt_fm.explain.others import Others
from hdt_fm.explain.targets.forecast import SeriesTarget
from hdt_fm.explain.targets.told import Telling, readings
from hdt_fm.schema.batch import Batch
from hdt_fm.schema.errors import unknown_name
from hdt_fm.schema.protocols import HeadInput

ENCODER, RECENT = "encoder", "recent"


@dataclass(frozen=True)
class Routes:
    """Credit of each way, in the unit of the answer.

    Attributes:
        credit: By name; they add up to the change of the answer from the reference.
        change: That change.
    """

    credit: Mapping[str, Float[np.ndarray, " window"]]
    change: Float[np.ndarray, " window"]


@dataclass(frozen=True)
class RouteCredit:
    """Credit of each way for some windows, in the unit of the answer.

    Attributes:
        target: What the answer is, in words.
        reference: What credit is counted against, by name.
        telling: How the head is told, which says what each way holds.
        credit: (window, way); exactly 0 where nothing was told by a way.
        held: (window, way) whether anything was.
        change: (window,) of the answer from the reference, asked for apart from the ways.
        person: (window,) whose it is, numbered from 0; in no file.
    """

    target: str
    reference: str
    telling: Telling
    ways: tuple[str, ...]
    credit: NDArray[np.float64]
    held: NDArray[np.bool_]
    change: NDArray[np.float64]
    person: NDArray[np.int64]

    @property
    def gap(self) -> NDArray[np.float64]:
        """(window,) how far all ways together miss the change: rounding."""
        return np.abs(self.credit.sum(1) - self.change)

    def shares(self, names: Sequence[str] | None = None) -> NDArray[np.float64]:
        """(window, way) part of the sum of |credit| over `names` (all if None).

        NaN where a way tells nothing or is not among them, and in windows without credit.
        """
        counted = self.held & np.array([names is None or one in names for one in self.ways])
        size = np.where(counted, np.abs(self.credit), 0.0)
        whole = size.sum(1, keepdims=True)
        return np.divide(size, whole, out=np.full_like(size, np.nan), where=counted & (whole > 0))


def route_credit(
    target: SeriesTarget,
    batch: Batch,
    *,
    column: int,
    target_name: str = "",
    reference: str | Others = "window_mean",
    batch_rows: int = 64,
) -> RouteCredit:
    """Share the change of one answer out over the ways, against the reference of a map.

    Args:
        column, target_name, reference, batch_rows: As `attribute` (`column` is its `target`). Against windows of other
            people it is the mean over them.

    Raises:
        ExplainError, UnknownNameError: As `attribute`.

    Numerics: answers in the head's precision, sums in float64.
    """
    named = "others" if isinstance(reference, Others) else reference
    if named not in REFERENCES:
        raise unknown_name("reference", named, REFERENCES)
    refuse_unexplainable(batch)
    ways = ways_of(target)
    credit, change, held = [], [], []
    with explaining(target):
        for rows in torch.arange(len(batch), device=batch.present.device).split(batch_rows):
            piece = batch.select(rows)
            runs = bound(target, piece, column, reference)
            found = [by_route(target, piece, _reference(run, piece), column=column).credit for run in runs]
            credit.append(np.mean([np.stack([one[way] for way in ways], axis=1) for one in found], axis=0))
            change.append(np.mean([run.change().cpu().numpy() for run in runs], axis=0))
            held.append(_held(target, piece))
    return RouteCredit(
        target=target_name or f"output {column}",
        reference=named,
        telling=target.telling,
        ways=ways,
        credit=np.concatenate(credit),
        held=np.concatenate(held),
        change=np.concatenate(change),
        person=np.unique(batch.subject.cpu().numpy(), return_inverse=True)[1].astype(np.int64),
    )


def ways_of(target: SeriesTarget) -> tuple[str, ...]:
    """The ways in which a head is told anything at all."""
    parts = target.telling.parts
    read = (ENCODER,) if target.telling.task.windows else ()
    return (*read, *(name for name, where in parts.items() if where.stop > where.start))


@torch.no_grad()
def by_route(target: SeriesTarget, batch: Batch, reference: Batch, *, column: int) -> Routes:
    """Share the change of one answer out over the ways.

    Args:
        reference: The same windows with what credit is counted against, such as flat signals.
        column: Of the answer.
    """
    here, there = target.inputs(batch), target.inputs(reference)
    ways = ways_of(target)
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


def _reference(run: Run, batch: Batch) -> Batch:
    """What the batch is held against, as a batch."""
    levels = zip(run.names, run.references, strict=True)
    return replace(batch, signals={**batch.signals, **{n: replace(batch.signals[n], values=one) for n, one in levels}})


@torch.no_grad()
def _held(target: SeriesTarget, batch: Batch) -> Bool[np.ndarray, "window way"]:
    """Whether anything is told by each way; the last hours always end with the time of day, which is not counted."""
    telling, inputs = target.telling, target.inputs(batch)
    assert inputs.known is not None
    told = {name: inputs.known[:, where].isfinite().any(1) for name, where in telling.parts.items()}
    told |= {ENCODER: inputs.observed.any(1), RECENT: readings(telling, batch)[1].any(1)}
    return torch.stack([told[way] for way in ways_of(target)], dim=1).cpu().numpy()


def _mixed(target: SeriesTarget, here: HeadInput, there: HeadInput, kept: Mapping[str, bool]) -> HeadInput:
    """Ways that are kept as they are, the others as the reference tells them."""
    assert here.known is not None
    assert there.known is not None
    known: Tensor = here.known.clone()
    for name, where in target.telling.parts.items():
        if not kept.get(name, True):
            known[:, where] = there.known[:, where]
    # Changes are told from the newest reading, which belongs to the last hours.
    recent = here.recent if kept[RECENT] else there.recent
    read = here if kept.get(ENCODER, True) else there
    return replace(here, known=known, recent=recent, context=read.context, observed=read.observed)
