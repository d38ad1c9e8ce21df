"""Heads that say how severe outcomes get, fitted by the cross-entropy of classes; members stop by people apart."""

from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.protocols import HeadInput
from hdt_fm.training.members import HasMembers, answers, fit_members


@runtime_checkable
class SeverityHead(HasMembers, Protocol):
    """Members that answer log-odds (row, horizon, outcome, threshold), and begin with how often each class came."""

    classes: int

    def learn_scale(self, inputs: HeadInput, severity: Float[Tensor, "batch horizon outcome"]) -> None:
        """Take the scale of inputs and the rates of classes (NaN where unknown) from training people."""
        ...

    def scaled(self, inputs: HeadInput) -> HeadInput: ...

    def probabilities(self, inputs: HeadInput) -> Float[Tensor, "batch horizon outcome class"]: ...


def fit_severity(
    head: nn.Module,
    inputs: HeadInput,
    severity: Float[np.ndarray, "row horizon outcome"],
    group: Int[np.ndarray, " row"],
    *,
    epochs: int = 30,
    batch_size: int = 256,
    learning_rate: float = 2e-3,
    weight_decay: float = 1e-3,
    seed: int = 0,
) -> None:
    """Train a `SeverityHead` in place; each member keeps another fifth of the people apart, to know when to stop.

    Args:
        head: With fresh weights; left in evaluation mode.
        severity: Classes, 0 for none; NaN is not learned from.
        group: People; no group is on both sides of an inner split.

    Raises:
        ConfigError: If there are fewer than two groups, an outcome never or always came, or a class is not one of the
            head's.
    """
    assert isinstance(head, SeverityHead)
    known = np.isfinite(severity)
    came = np.where(known, severity, 0.0)
    often = (came > 0).sum(axis=0)
    groups, both = len(np.unique(group)), bool(((often > 0) & (often < known.sum(axis=0))).all())
    if groups < 2 or not both or not np.isin(came, np.arange(head.classes)).all():
        raise ConfigError(
            "There is nothing to fit a severity on",
            expected=f"two people or more, classes 0 to {head.classes - 1}, of each outcome some and some without",
            got=f"{groups} people, classes {came.min():g} to {came.max():g}, "
            f"{int(((often == 0) | (often == known.sum(axis=0))).sum())} horizons and outcomes without both",
        )
    target = torch.from_numpy(severity)
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


def ask_severity(head: nn.Module, inputs: HeadInput) -> Float[np.ndarray, "row horizon outcome class"]:
    """Probabilities of classes, in pieces, in double precision."""
    assert isinstance(head, SeverityHead)
    return answers(head.probabilities, inputs).numpy()
