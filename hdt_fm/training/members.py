"""The members of a head, trained one by one: each stops by people of its own who are kept apart."""

import copy
from collections.abc import Callable
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from hdt_fm.schema.protocols import HeadInput
from hdt_fm.training.heads import seeded, take

PIECE = 4096


@runtime_checkable
class HasMembers(Protocol):
    """A head that several networks answer together."""

    members: nn.ModuleList

    def member_loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Of one member's output; targets are NaN where unknown, and teach nothing there."""
        ...


def fit_members(
    head: HasMembers,
    scaled: HeadInput,
    target: Float[Tensor, "row ..."],
    group: Int[np.ndarray, " row"],
    *,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    weight_decay: float,
    seed: int,
) -> None:
    """Train each member in place; each keeps another fifth of the people apart, to know when to stop.

    Args:
        head: With fresh weights; left in evaluation mode.
        scaled: As members are given it.
        group: People; no group is on both sides of an inner split.
    """
    order = np.random.default_rng(seed).permutation(np.unique(group))
    fifth = max(1, len(order) // 5)
    for number, member in enumerate(head.members):
        apart = np.isin(group, np.roll(order, -number * fifth)[:fifth])
        draws = np.random.default_rng([seed, number])
        optimiser = torch.optim.AdamW(member.parameters(), lr=learning_rate, weight_decay=weight_decay)
        with seeded(seed * 1000 + number):
            _train(head, member, optimiser, scaled, target, apart, epochs, batch_size, draws)
    assert isinstance(head, nn.Module)
    head.eval()


def _train(
    head: HasMembers,
    member: nn.Module,
    optimiser: torch.optim.Optimizer,
    inputs: HeadInput,
    target: Tensor,
    apart: np.ndarray,
    epochs: int,
    batch_size: int,
    draws: np.random.Generator,
) -> None:
    """Leave the member in the state of the epoch that does best on the people apart."""
    learn, judge = np.flatnonzero(~apart), torch.from_numpy(np.flatnonzero(apart))
    steps = epochs * -(-len(learn) // batch_size)
    rate = optimiser.param_groups[0]["lr"]
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps)
    best, kept = np.inf, copy.deepcopy(member.state_dict())
    judged, truth = take(inputs, judge), target[judge]
    for _ in range(epochs):
        member.train()
        mixed = draws.permutation(learn)
        for first in range(0, len(mixed), batch_size):
            rows = torch.from_numpy(mixed[first : first + batch_size])
            optimiser.zero_grad()
            head.member_loss(member(take(inputs, rows)), target[rows]).backward()
            optimiser.step()
            schedule.step()
        member.eval()
        with torch.no_grad():
            found = float(head.member_loss(answers(member, judged), truth))
        if found < best:
            best, kept = found, copy.deepcopy(member.state_dict())
    member.load_state_dict(kept)
    member.eval()


@torch.no_grad()
def answers(head: Callable[[HeadInput], Tensor], inputs: HeadInput) -> Tensor:
    """A head's answers, or a member's, in pieces."""
    rows = torch.arange(len(inputs.context)).split(PIECE)
    return torch.cat([head(take(inputs, some)) for some in rows])
