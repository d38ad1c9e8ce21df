"""How well a model knows a person's windows: one loss a person, of that person's own windows and nobody else's."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from hdt_fm.schema.batch import Batch, Signal
from hdt_fm.schema.modalities import STATIC
from hdt_fm.schema.protocols import Embeddings

Kind = Literal["contrast", "alignment"]
# The same for all models: how sharp each became in training is not in a checkpoint.
TEMPERATURE = 0.1


@torch.no_grad()
def person_losses(model: Any, people: Iterable[Batch], *, kind: Kind, near_s: float) -> Float[np.ndarray, " person"]:
    """One loss for each person's windows.

    `contrast` is what pretraining asks, of this person alone: how well a window's modality finds the other modalities
    of the same window among the person's windows, in nats less those of guessing (0 is guessing, lower is better).
    `alignment` is one less the mean cosine of modalities of the same window. A window that has one modality alone is
    asked the same of its two halves: the model reads each by itself.

    Args:
        model: A module with `embed(batch)` and `project(embeddings)`; asked in evaluation mode.
        people: The windows of each person as one batch, the same for every model.
        near_s: Windows of which the starts are nearer are not each other's wrong answers.

    Returns:
        NaN for a person of whom nothing can be asked: with one window, or windows all near each other.
    """
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    losses = [_of_one(model, batch.to(device), kind, near_s) for batch in people]
    model.train(was_training)
    return np.array(losses, dtype=np.float64)


def _of_one(model: Any, batch: Batch, kind: Kind, near_s: float) -> float:
    projections = model.project(model.embed(batch))
    names = model.modalities
    signals = [number for number, name in enumerate(names) if name != STATIC]
    held = [number for number in signals if bool(projections.present[:, number].any())]
    if len(held) == 1:
        halves = [model.project(model.embed(half)) for half in half_windows(batch)]
        pairs = [_pair(halves[0], halves[1], held[0], held[0])]
    else:
        pairs = [_pair(projections, projections, a, b) for a in held for b in held if a < b]
    found = [_loss(one, other, batch.time_s[both], kind, near_s) for one, other, both in pairs]
    known = [value for value in found if value == value]
    return float(np.mean(known)) if known else float("nan")


def half_windows(batch: Batch) -> tuple[Batch, Batch]:
    """The same windows with their later half unobserved, and with their earlier half unobserved."""

    def cut(signal: Signal, later: bool) -> Signal:
        samples = signal.values.shape[-1]
        keep = torch.arange(samples, device=signal.values.device) >= samples // 2
        keep = keep if later else ~keep
        return replace(signal, values=signal.values * keep, observed=signal.observed & keep)

    first, second = (
        replace(batch, signals={name: cut(signal, later) for name, signal in batch.signals.items()})
        for later in (False, True)
    )
    return first, second


def _pair(
    one: Embeddings, other: Embeddings, a: int, b: int
) -> tuple[Float[Tensor, "pair dim"], Float[Tensor, "pair dim"], Bool[Tensor, " window"]]:
    both = one.present[:, a] & other.present[:, b]
    return one.values[both, a], other.values[both, b], both


def _loss(
    one: Float[Tensor, "pair dim"],
    other: Float[Tensor, "pair dim"],
    time_s: Float[Tensor, " pair"],
    kind: Kind,
    near_s: float,
) -> float:
    if len(one) < 2:
        return float("nan")
    one, other = one.float(), other.float()
    if kind == "alignment":
        return float(1 - (one * other).sum(dim=1).mean())
    near = (time_s[:, None] - time_s[None, :]).abs() < near_s
    near.fill_diagonal_(False)
    candidates = (~near).sum(dim=1)
    asked = candidates >= 2
    if not bool(asked.any()):
        return float("nan")
    cosines = (one @ other.T / TEMPERATURE).masked_fill(near, -torch.inf)
    own = cosines.diagonal()
    # Near is symmetric, so both directions have the same candidates.
    both_ways = (torch.logsumexp(cosines, dim=1) + torch.logsumexp(cosines, dim=0)) / 2 - own
    return float((both_ways - candidates.log())[asked].mean())
