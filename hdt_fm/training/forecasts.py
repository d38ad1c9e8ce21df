"""Heads of several members that forecast: each member stops by people of its own who are kept apart."""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.protocols import Ensemble, HeadInput
from hdt_fm.training.heads import seeded, take

PIECE = 4096


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
    target = (wanted / head.spread).float()
    order = np.random.default_rng(seed).permutation(groups)
    fifth = max(1, len(order) // 5)
    for number, member in enumerate(head.members):
        apart = np.isin(group, np.roll(order, -number * fifth)[:fifth])
        draws = np.random.default_rng([seed, number])
        optimiser = torch.optim.AdamW(member.parameters(), lr=learning_rate, weight_decay=weight_decay)
        with seeded(seed * 1000 + number):
            _train(head, member, optimiser, scaled, target, apart, epochs, batch_size, draws)
    head.eval()
    head.learn_hidden(inputs)


def _train(
    head: Ensemble,
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
            found = float(head.member_loss(_in_pieces(member, judged), truth))
        if found < best:
            best, kept = found, copy.deepcopy(member.state_dict())
    member.load_state_dict(kept)
    member.eval()


@torch.no_grad()
def ask(head: nn.Module, inputs: HeadInput) -> Float[np.ndarray, "row horizon mean_and_level"]:
    """A head's answers, in pieces, in double precision."""
    return _in_pieces(head, inputs).double().numpy()


@torch.no_grad()
def ask_hidden(head: Any, inputs: HeadInput) -> Float[np.ndarray, "row hidden"]:
    """What a head's last layers read, in pieces, in double precision."""
    return _in_pieces(head.hidden, inputs).double().numpy()


def _in_pieces(head: Callable[[HeadInput], Tensor], inputs: HeadInput) -> Tensor:
    rows = torch.arange(len(inputs.context)).split(PIECE)
    return torch.cat([head(take(inputs, some)) for some in rows])


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
