"""What each modality is worth to an output: exact Shapley values over the modalities that a window holds.

A modality that is left out is *absent* (`present` False), as for a person who did not wear the device; it is not put to
zero or to its mean, which a model would read as a signal.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import factorial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hdt_fm.explain.binding import explaining, refuse_unexplainable, signals_of
from hdt_fm.schema.batch import Batch
from hdt_fm.schema.errors import ExplainError

MOST_PLAYERS = 8


@dataclass(frozen=True)
class ModalityShapley:
    """Shapley values of modalities, window by window.

    Attributes:
        target: What the output is, in words.
        values: (window, modality) in the unit of the output; exactly 0 where absent.
        base: (window,) the output with every modality absent: what the model says when it knows nothing but the facts
            about the person, or the number that was given for that.
        output: (window,) the output with all that the window holds, asked for apart from the coalitions.
        person: (window,) whose it is, numbered from 0; in no file.
    """

    target: str
    modalities: tuple[str, ...]
    present: NDArray[np.bool_]
    values: NDArray[np.float64]
    base: NDArray[np.float64]
    output: NDArray[np.float64]
    person: NDArray[np.int64]

    @property
    def gap(self) -> NDArray[np.float64]:
        """(window,) |base + values - output|: rounding, unless an output depends on chance or on its neighbours."""
        return np.abs(self.base + self.values.sum(1) - self.output)

    def shares(self, names: Sequence[str] | None = None) -> NDArray[np.float64]:
        """(window, modality) part of the sum of |value| over `names` (all if None); 0 for the others."""
        counted = [name in (self.modalities if names is None else names) for name in self.modalities]
        size = np.abs(self.values) * np.array(counted, dtype=np.float64)
        whole = size.sum(1, keepdims=True)
        return np.divide(size, whole, out=np.zeros_like(size), where=whole > 0)


def modality_shapley(
    fn_model: Callable[[Batch], Tensor],
    batch: Batch,
    *,
    target: int,
    target_name: str = "",
    base: float | None = None,
    batch_rows: int = 64,
) -> ModalityShapley:
    """Ask the model for every set of the modalities that a window holds, 2^n times for n of them.

    Args:
        fn_model: Batch -> outputs (batch, target); run as `attribute` runs it.
        target: Column of the output.
        base: Output of a window without any modality, for a model that has none, e.g. its mean over training people;
            None asks the model. Our encoders embed an absent modality as zeros, so they have one.
        batch_rows: Most windows in one call of the model.

    Returns:
        Values that add up to output - base in every window. Facts about a person stay in all coalitions.

    Raises:
        ExplainError: If a window holds more than `MOST_PLAYERS` modalities, nothing, or a value that is not finite;
            if the target is not there; or if the model has no finite output for some set.

    Numerics: outputs in the model's precision, sums in float64.
    """
    refuse_unexplainable(batch)
    names = signals_of(batch)
    present = batch.over(names).present.cpu().numpy()
    if present.sum(1).max() > MOST_PLAYERS:
        raise ExplainError(
            "Too many modalities for exact Shapley values",
            expected=f"at most {MOST_PLAYERS} in a window ({2**MOST_PLAYERS} sets)",
            got=f"{present.sum(1).max()} ({2 ** int(present.sum(1).max())} sets)",
            fix="leave some out with batch.over(...), or use the method shapley_sampling",
        )
    values, empty = np.zeros(present.shape), np.zeros(len(batch))
    with explaining(fn_model) as model, torch.no_grad():
        output = _asked(model, _pieces(batch, batch_rows), target)
        for held in np.unique(present, axis=0):
            rows, players = np.flatnonzero((present == held).all(1)), np.flatnonzero(held)
            worth = _worth(model, batch, rows, [names[k] for k in players], target, batch_rows, base)
            values[np.ix_(rows, players)], empty[rows] = _shapley(worth), worth[:, 0]
    return ModalityShapley(
        target=target_name or f"output {target}",
        modalities=names,
        present=present,
        values=values,
        base=empty,
        output=output,
        person=np.unique(batch.subject.cpu().numpy(), return_inverse=True)[1],
    )


def _worth(
    model: Callable[[Batch], Tensor],
    batch: Batch,
    rows: NDArray[np.int64],
    players: Sequence[str],
    target: int,
    batch_rows: int,
    base: float | None,
) -> NDArray[np.float64]:
    """(row, set) outputs of the windows at `rows`; player k is in a set whose number has bit k."""
    sets = range(0 if base is None else 1, 2 ** len(players))
    asked = list(product(rows.tolist(), sets))
    columns = [batch.modalities.index(name) for name in players]

    def pieces() -> Iterator[Batch]:
        for first in range(0, len(asked), batch_rows):
            which, number = torch.tensor(asked[first : first + batch_rows], device=batch.present.device).T
            keep = torch.ones_like(batch.present[which])
            for bit, column in enumerate(columns):
                keep[:, column] = (number >> bit) % 2 == 1
            yield batch.select(which).without(keep)

    found = _asked(model, pieces(), target).reshape(len(rows), len(sets))
    return found if base is None else np.concatenate([np.full((len(rows), 1), base), found], axis=1)


def _pieces(batch: Batch, rows: int) -> Iterator[Batch]:
    return (batch.select(piece) for piece in torch.arange(len(batch), device=batch.present.device).split(rows))


def _asked(model: Callable[[Batch], Tensor], pieces: Iterator[Batch], target: int) -> NDArray[np.float64]:
    found = []
    for piece in pieces:
        outputs = model(piece)
        if outputs.ndim != 2 or len(outputs) != len(piece) or not 0 <= target < outputs.shape[1]:
            raise ExplainError(
                f"The model has no output {target} for every window",
                expected=f"({len(piece)}, more than {target})",
                got=str(tuple(outputs.shape)),
            )
        if not torch.isfinite(outputs[:, target]).all():
            raise ExplainError(
                "The model has no finite output for some set of modalities",
                where=f"output {target}",
                fix="for the empty set, give its output as `base`, e.g. the mean over training people",
            )
        found.append(outputs[:, target].double().cpu().numpy())
    return np.concatenate(found)


def _shapley(worth: NDArray[np.float64]) -> NDArray[np.float64]:
    """(row, player): what a player adds to each set without it, weighted by how often an order leads there."""
    count = int(np.log2(worth.shape[1]))
    sets = np.arange(worth.shape[1])
    sizes = np.array([int(number).bit_count() for number in sets])
    often = np.array([factorial(k) * factorial(count - 1 - k) for k in range(count)]) / factorial(count)
    found = np.empty((len(worth), count))
    for player in range(count):
        without = sets[(sets >> player) % 2 == 0]
        found[:, player] = (worth[:, without | 1 << player] - worth[:, without]) @ often[sizes[without]]
    return found
