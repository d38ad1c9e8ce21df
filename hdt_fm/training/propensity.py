"""How likely people were to be treated as they were, and weights of plans that undo whom treatments looked at."""

import copy
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.outcome import OutcomeHead, Past
from hdt_fm.training.heads import seeded
from hdt_fm.training.optim import adamw_cosine

EPOCHS, BATCH, LEARNING_RATE = 10, 64, 1e-2
PIECE = 512
# Weights beyond these shares of all are held there (as RMSN does): few people must not speak for all.
TRUNCATED = (0.01, 0.99)
LEAST_SHARE = 1e-3


@runtime_checkable
class WeighedHead(OutcomeHead, Protocol):
    """An `OutcomeHead` whose loss can count targets unalike; `takes_weights` is True."""

    takes_weights: bool

    def loss(
        self,
        answered: object,
        target: Float[Tensor, "row horizon"],
        weight: Float[Tensor, "row horizon"] | None = None,
    ) -> Float[Tensor, ""]: ...


@dataclass(frozen=True)
class PlanWeights:
    """Of a plan from each moment, up to each of its steps.

    Attributes:
        learned, judged: Of training people and of others.
        effective_share: Kish's effective number of whole plans of training people, over their number.
    """

    learned: Float[Tensor, "person time horizon"]
    judged: Float[Tensor, "person_too time_too horizon"]
    effective_share: float


def plan_weights(head: nn.Module, past: Past, others: Past, *, seed: int) -> PlanWeights:
    """Stabilised inverse probability weights: how likely each treatment was after the treatment before, over how likely
    it was by all that the states hold, multiplied along the plan, truncated, of mean 1 at each step of it.

    States come from a copy of the head as it is now, whose history encoder (unless it is kept still) and classifier
    learn who is treated next; the head itself is not touched.

    Only *whether* is weighed, not how much: where doses follow the state and not only whether one is given, this does
    not undo it. Treatments of one step are taken as independent, given the state.

    Raises:
        ConfigError: If the head's loss takes no weights.

    Source: Robins et al. 2000; truncation as Lim et al. 2018 (RMSN).
    """
    if not isinstance(head, WeighedHead):
        raise ConfigError("This head's loss takes no weights", expected="a head with `takes_weights`", fix="leave them")
    teller = _taught_who_is_treated(head, past, seed)
    usual = _usual(past)
    found = [_along_plans(_log_ratio(teller, usual, some), head.horizon) for some in (past, others)]
    there = _asked(past, head.horizon)
    for step in range(head.horizon):
        mine = found[0][..., step][there[..., step]]
        if not len(mine):
            continue
        low, high = torch.quantile(mine, torch.tensor(TRUNCATED, dtype=mine.dtype))
        mean = mine.clamp(low, high).mean()
        for some in found:
            some[..., step] = some[..., step].clamp(low, high) / mean
    whole = found[0][..., -1][there[..., -1]]
    share = float(whole.sum().square() / (whole.square().sum() * len(whole))) if len(whole) else float("nan")
    return PlanWeights(found[0].float(), found[1].float(), share)


def _taught_who_is_treated(head: nn.Module, past: Past, seed: int) -> nn.Module:
    teller = copy.deepcopy(head)
    assert isinstance(teller, OutcomeHead)
    batches = -(-len(past.level) // BATCH)
    optimiser, schedule = adamw_cosine(
        teller, steps=EPOCHS * batches, learning_rate=LEARNING_RATE, weight_decay=1e-3, warmup_steps=0
    )
    draws = np.random.default_rng([seed, 2])
    counts, treated = _before_the_end(past), (past.given > 0).float()
    with seeded(seed):
        teller.train()
        for _ in range(EPOCHS):
            for rows in torch.from_numpy(draws.permutation(len(past.level))).split(BATCH):
                odds = teller.assignment(teller.encode(past.take(rows)).hidden)
                each = F.binary_cross_entropy_with_logits(odds, treated[rows], reduction="none").sum(-1)
                loss = (each * counts[rows]).sum() / counts[rows].sum().clamp(min=1)
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                optimiser.step()
                schedule.step()
    return teller.eval()


def _before_the_end(past: Past) -> Bool[Tensor, "person time"]:
    """Moments before a person's last known level: later treatments lead to nothing that is known."""
    places = torch.arange(past.level.shape[1])
    last = torch.where(past.level.isfinite(), places, -1).amax(1)
    return places < last[:, None]


def _asked(past: Past, horizon: int) -> Bool[Tensor, "person time horizon"]:
    known = past.level.isfinite()
    after = F.pad(known, (0, horizon)).unfold(1, horizon, 1)[:, 1:]
    return known[..., None] & after


def _usual(past: Past) -> Float[Tensor, "before treatment"]:
    """How often each treatment is given after a step without it and after one with it."""
    counts, treated = _before_the_end(past), past.given > 0
    before = F.pad(treated, (0, 0, 1, 0))[:, :-1]
    shares = []
    for was in (False, True):
        rows = counts[..., None] & (before == was)
        shares.append((treated & rows).sum((0, 1)) / rows.sum((0, 1)).clamp(min=1))
    return torch.stack(shares).double().clamp(LEAST_SHARE, 1 - LEAST_SHARE)


@torch.no_grad()
def _log_ratio(teller: nn.Module, usual: Float[Tensor, "before treatment"], past: Past) -> Float[Tensor, "person time"]:
    """Of each step's treatments; 0 where they lead to nothing that is known."""
    assert isinstance(teller, OutcomeHead)
    rows = torch.arange(len(past.level)).split(PIECE)
    odds = torch.cat([teller.assignment(teller.encode(past.take(some)).hidden) for some in rows]).double()
    treated = past.given > 0
    before = F.pad(treated, (0, 0, 1, 0))[:, :-1]
    plain = torch.logit(torch.where(before, usual[1], usual[0]))
    wanted = treated.double()
    likely = [-F.binary_cross_entropy_with_logits(some, wanted, reduction="none").sum(-1) for some in (plain, odds)]
    return torch.where(_before_the_end(past), likely[0] - likely[1], 0.0)


def _along_plans(ratio: Float[Tensor, "person time"], horizon: int) -> Float[Tensor, "person time horizon"]:
    return F.pad(ratio, (0, horizon - 1)).unfold(1, horizon, 1).cumsum(-1).exp()
