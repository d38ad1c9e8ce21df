"""Heads that answer plans: the common law by its likelihood, then the rest by gradient, over whole horizons."""

import copy
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from hdt_fm.schema.errors import ConfigError, ShapeError
from hdt_fm.schema.outcome import OutcomeHead, Past
from hdt_fm.training.heads import History, seeded
from hdt_fm.training.optim import adamw_cosine

Balancing = Literal["none", "gradient_reversal"]
ASKED_OF_A_PERSON = 8
PIECE = 512


def fit_outcome(
    head: nn.Module,
    past: Past,
    validation: Past,
    *,
    epochs: int = 6,
    batch_size: int = 128,
    learning_rate: float = 3e-3,
    average: float = 0.99,
    balancing: Balancing = "none",
    strength: float = 1.0,
    contrast: float = 0.0,
    seed: int = 0,
) -> History:
    """Train an `OutcomeHead` in place; it is left with the averaged weights that did best on other people.

    What was given is the plan and what followed is the target, from moments drawn anew in each epoch. Nothing of the
    horizon but the plan is read.

    Args:
        head: Parameters that need no gradient stay as they are. The common law is learned first, always.
        validation: Of other people; decides which epoch is kept, the start among them.
        epochs: Passes over people; 0 leaves the common law alone.
        batch_size: People.
        average: Share of the running average of weights that a step leaves.
        balancing: "gradient_reversal" teaches the history encoder to forget what tells who is treated next (CRN).
        strength: Of that.
        contrast: Weight of effects beside levels: the difference of two moments with alike states and other first
            treatments must be right, so that what is missed does not go with the treatment.

    Returns:
        One entry an epoch: `epoch`, `loss`, `val_loss`; epoch 0 is the common law.

    Raises:
        ConfigError: If the balancing is not known.
        ShapeError: If no moment has a known level after it.
    """
    if balancing not in ("none", "gradient_reversal"):
        raise ConfigError("Unknown balancing", expected='"none" or "gradient_reversal"', got=repr(balancing))
    assert isinstance(head, OutcomeHead)
    head.learn(past)
    draws = np.random.default_rng(seed)
    judged = _moments(validation, head.horizon, np.random.default_rng([seed, 1]))
    best = _judge(head, validation, judged)
    history: History = [{"epoch": 0.0, "loss": float("nan"), "val_loss": best}]
    kept = copy.deepcopy(head.state_dict())
    moving = any(value.requires_grad for value in head.parameters())
    if not (epochs and moving):
        head.eval()
        return history
    steps = epochs * -(-len(past.level) // batch_size)
    optimiser, schedule = adamw_cosine(
        head, steps=steps, learning_rate=learning_rate, weight_decay=1e-3, warmup_steps=min(20, steps - 1)
    )
    averaged = copy.deepcopy(head)
    with seeded(seed):
        for epoch in range(1, epochs + 1):
            head.train()
            total, moments = 0.0, _moments(past, head.horizon, draws)
            for rows in torch.from_numpy(draws.permutation(len(past.level))).split(batch_size):
                loss = _loss(head, past.take(rows), moments[rows], balancing, strength, contrast)
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                optimiser.step()
                schedule.step()
                total += float(loss.detach()) * len(rows)
                _lean(averaged, head, average)
            found = _judge(averaged, validation, judged)
            history.append({"epoch": float(epoch), "loss": total / len(past.level), "val_loss": found})
            if found < best:
                best, kept = found, copy.deepcopy(averaged.state_dict())
    head.load_state_dict(kept)
    head.eval()
    return history


def _moments(past: Past, horizon: int, draws: np.random.Generator) -> Int[Tensor, "person asked"]:
    """Moments of each person with a known level and a known one after them; one of them again where there are few,
    -1 where there is none."""
    known = past.level.isfinite().numpy()
    after = np.zeros_like(known)
    for step in range(1, min(horizon, known.shape[1] - 1) + 1):
        after[:, :-step] |= known[:, step:]
    able = known & after
    if not able.any():
        raise ShapeError("Nothing follows on anything", expected="a known level and another one within the horizon")
    keys = np.where(able, draws.random(able.shape), -1.0)
    places = np.argsort(-keys, axis=1)[:, :ASKED_OF_A_PERSON]
    picked = np.take_along_axis(able, places, axis=1)
    places = np.where(picked, places, places[:, :1])
    return torch.from_numpy(np.where(able.any(axis=1)[:, None], places, -1))


def _ask(
    head: nn.Module, past: Past, moments: Int[Tensor, "person asked"]
) -> tuple[object, object, Float[Tensor, "row horizon"], Float[Tensor, "row treatment"]]:
    """Picked states, answers, targets, and what was given at once."""
    assert isinstance(head, OutcomeHead)
    person, place = (moments >= 0).nonzero(as_tuple=True)
    time = moments[person, place]
    ahead = time[:, None] + torch.arange(head.horizon)
    last = past.level.shape[1] - 1
    plan = past.given[person[:, None], ahead.clamp(max=last)] * (ahead <= last)[..., None]
    target = past.level[person[:, None], (ahead + 1).clamp(max=last)]
    target = torch.where(ahead + 1 <= last, target, torch.nan)
    states = head.encode(past).take(person, time)
    return states, head.answer(states, plan), target, plan[:, 0]


def _loss(
    head: nn.Module,
    past: Past,
    moments: Int[Tensor, "person asked"],
    balancing: Balancing,
    strength: float,
    contrast: float,
) -> Float[Tensor, ""]:
    assert isinstance(head, OutcomeHead)
    states, answered, target, given = _ask(head, past, moments)
    hidden = states.hidden  # type: ignore[attr-defined]
    loss = head.loss(answered, target)
    if balancing == "gradient_reversal":
        odds = head.assignment(hidden, reverse=strength)
        loss = loss + F.binary_cross_entropy_with_logits(odds, (given > 0).to(odds.dtype))
    if contrast:
        loss = loss + contrast * _contrast(head.missed(answered, target), hidden.detach(), given)
    return loss


def _contrast(
    missed: Float[Tensor, "row horizon"], hidden: Float[Tensor, "row width"], given: Float[Tensor, "row treatment"]
) -> Float[Tensor, ""]:
    """Mean squared difference of what is missed between each row and the most alike one that was treated otherwise."""
    apart = torch.cdist(hidden, hidden)
    same = (given[:, None] == given[None]).all(-1)
    nearest = apart.masked_fill(same, torch.inf).argmin(1)
    gap = missed - missed[nearest]
    counts = gap.isfinite() & ~same.all(1, keepdim=True)
    return torch.where(counts, gap, 0.0).square().sum() / counts.sum().clamp(min=1)


@torch.no_grad()
def _judge(head: nn.Module, past: Past, moments: Int[Tensor, "person asked"]) -> float:
    assert isinstance(head, OutcomeHead)
    head.eval()
    total, weight = 0.0, 0.0
    for rows in torch.arange(len(past.level)).split(PIECE):
        _, answered, target, _ = _ask(head, past.take(rows), moments[rows])
        share = float(head.missed(answered, target).isfinite().sum())
        if share:
            total, weight = total + float(head.loss(answered, target)) * share, weight + share
    return total / max(weight, 1.0)


@torch.no_grad()
def _lean(averaged: nn.Module, towards: nn.Module, share: float) -> None:
    for kept, value in zip(averaged.parameters(), towards.parameters(), strict=True):
        kept.lerp_(value, 1 - share)
