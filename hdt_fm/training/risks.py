"""Heads that say how likely events are, fitted by cross-entropy; each member stops by people of its own."""

from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.protocols import HeadInput
from hdt_fm.training.members import HasMembers, answers, fit_members


@runtime_checkable
class RiskHead(HasMembers, Protocol):
    """Members that answer log-odds (row, horizon, event), and begin with how often events happen."""

    def learn_scale(self, inputs: HeadInput, happened: Float[Tensor, "batch horizon event"]) -> None:
        """Take the scale of inputs and the rates of events (NaN where unknown) from training people."""
        ...

    def scaled(self, inputs: HeadInput) -> HeadInput: ...


def fit_risk(
    head: nn.Module,
    inputs: HeadInput,
    happened: Float[np.ndarray, "row horizon event"],
    group: Int[np.ndarray, " row"],
    *,
    epochs: int = 12,
    batch_size: int = 512,
    learning_rate: float = 2e-3,
    weight_decay: float = 1e-3,
    seed: int = 0,
) -> None:
    """Train a `RiskHead` in place; each member keeps another fifth of the people apart, to know when to stop.

    Args:
        head: With fresh weights; left in evaluation mode.
        happened: 0 or 1; NaN is not learned from. Events that only teach come after those that are asked.
        group: People; no group is on both sides of an inner split.

    Raises:
        ConfigError: If there are fewer than two groups, or an event never or always happened.
    """
    known = np.isfinite(happened)
    rate = np.where(known, happened, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    groups = len(np.unique(group))
    if groups < 2 or not ((rate > 0) & (rate < 1)).all():
        raise ConfigError(
            "There is nothing to fit a risk on",
            expected="two people or more, and of each event both those to whom it happened and those to whom not",
            got=f"{groups} people, {int(((rate == 0) | (rate == 1)).sum())} horizons and events without both",
        )
    assert isinstance(head, RiskHead)
    target = torch.from_numpy(happened)
    head.learn_scale(inputs, target)
    with torch.no_grad():
        scaled = head.scaled(inputs)
    fit_members(
        head,
        scaled,
        target.float(),
        group,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        seed=seed,
    )


def ask_risk(head: nn.Module, inputs: HeadInput) -> Float[np.ndarray, "row horizon event"]:
    """Probabilities of a head that answers log-odds, in pieces, in double precision."""
    return torch.sigmoid(answers(head, inputs).double()).numpy()
