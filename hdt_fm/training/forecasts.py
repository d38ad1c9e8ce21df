"""Heads of several members that forecast: each member stops by people of its own who are kept apart."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import nn

from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.protocols import Ensemble, HeadInput
from hdt_fm.training.members import answers, fit_members


def fit_forecast(
    head: nn.Module,
    inputs: HeadInput,
    change: Float[np.ndarray, "row horizon"],
    group: Int[np.ndarray, " row"],
    *,
    epochs: int = 25,
    batch_size: int = 512,
    learning_rate: float = 2e-3,
    weight_decay: float = 1e-3,
    seed: int = 0,
) -> None:
    """Train an `Ensemble` in place; each member keeps another fifth of the people apart, to know when to stop.

    Args:
        head: With fresh weights; left in evaluation mode.
        change: What came, less the newest reading; NaN is not learned from.
        group: People; no group is on both sides of an inner split.

    Raises:
        ConfigError: If there are fewer than two groups, or nothing to learn from.
    """
    groups = np.unique(group)
    if len(groups) < 2 or not np.isfinite(change).any():
        raise ConfigError(
            "There is nothing to fit a forecast on",
            expected="known targets of two people or more",
            got=f"{len(groups)}",
        )
    assert isinstance(head, Ensemble)
    wanted = torch.from_numpy(change)
    head.learn_scale(inputs, wanted)
    with torch.no_grad():
        scaled = head.scaled(inputs)
    fit_members(
        head,
        scaled,
        (wanted / head.spread).float(),
        group,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        seed=seed,
    )
    head.learn_hidden(inputs)


@torch.no_grad()
def ask(head: nn.Module, inputs: HeadInput) -> Float[np.ndarray, "row horizon mean_and_level"]:
    """A head's answers, in pieces, in double precision."""
    return answers(head, inputs).double().numpy()


@torch.no_grad()
def ask_hidden(head: Any, inputs: HeadInput) -> Float[np.ndarray, "row hidden"]:
    """What a head's last layers read, in pieces, in double precision."""
    return answers(head.hidden, inputs).double().numpy()


def inputs_of(
    known: Float[np.ndarray, "row feature"],
    last: Float[np.ndarray, " row"],
    context: Float[np.ndarray, "row window width"] | None = None,
) -> HeadInput:
    """Arrays as a head reads them.

    Args:
        known: Features of the moment; NaN where unknown.
        last: Newest reading.
        context: Embeddings of the windows before, newest last; NaN where a window is not there.
    """
    if context is None:
        context = np.zeros((len(known), 1, 0))
    held = torch.from_numpy(context).float()
    there = held.isfinite().all(dim=-1)
    return replace(
        HeadInput(context=torch.where(there[..., None], held, 0.0), observed=there),
        recent=torch.from_numpy(last)[:, None].double(),
        known=torch.from_numpy(known).double(),
    )
