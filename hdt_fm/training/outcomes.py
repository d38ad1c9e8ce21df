"""Heads that answer plans: the common law by its likelihood, then the rest by gradient, over whole horizons."""

import copy
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from hdt_fm.schema.errors import ShapeError, unknown_name
from hdt_fm.schema.outcome import OutcomeHead, Past
from hdt_fm.training.heads import History, seeded
from hdt_fm.training.optim import adamw_cosine
from hdt_fm.training.propensity import plan_weights

Balancing = Literal["none", "gradient_reversal", "domain_confusion"]
Weighting = Literal["none", "propensity"]
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
    weighting: Weighting = "none",
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
        balancing: "gradient_reversal" teaches the history encoder to forget what tells who is treated next (CRN),
            "domain_confusion" to leave a classifier of that at even odds (CT).
        strength: Of that.
        weighting: "propensity" counts what came as often as it would have been there, had nobody looked at the person
            when treating (see `plan_weights`).
        contrast: Weight of effects beside levels: the difference of two moments with alike states and other first
            treatments must be right, so that what is missed does not go with the treatment.

    Returns:
        One entry an epoch: `epoch`, `loss`, `val_loss`; epoch 0 is the common law. With weights also `effective_share`:
        Kish's effective number of whole plans, over their number.

    Raises:
        UnknownNameError: If the balancing or the weighting is not known.
        ConfigError: If there are to be weights, and the head's loss takes none.
        ShapeError: If no moment has a known level after it.
    """
    for what, name, names in (("balancing", balancing, Balancing), ("weighting", weighting, Weighting)):
        if name not in get_args(names):
            raise unknown_name(what, name, get_args(names))
    assert isinstance(head, OutcomeHead)
    head.learn(past)
    draws = np.random.default_rng(seed)
    judged = _moments(validation, head.horizon, np.random.default_rng([seed, 1]))
    moving = epochs > 0 and any(value.requires_grad for value in head.parameters())
    weighed = plan_weights(head, past, validation, seed=seed) if weighting == "propensity" and moving else None
    told = {"effective_share": weighed.effective_share} if weighed else {}
    learned, counted = (weighed.learned, weighed.judged) if weighed else (None, None)
    best = _judge(head, validation, judged, counted)
    history: History = [{"epoch": 0.0, "loss": float("nan"), "val_loss": best, **told}]
    kept = copy.deepcopy(head.state_dict())
    if not moving:
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
                weights = None if learned is None else learned[rows]
                loss = _loss(head, past.take(rows), moments[rows], weights, balancing, strength, contrast)
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                optimiser.step()
                schedule.step()
                total += float(loss.detach()) * len(rows)
                _lean(averaged, head, average)
            found = _judge(averaged, validation, judged, counted)
            history.append({"epoch": float(epoch), "loss": total / len(past.level), "val_loss": found, **told})
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
    weights: Float[Tensor, "person time horizon"] | None,
    balancing: Balancing,
    strength: float,
    contrast: float,
) -> Float[Tensor, ""]:
    assert isinstance(head, OutcomeHead)
    states, answered, target, given = _ask(head, past, moments)
    hidden = states.hidden  # type: ignore[attr-defined]
    loss = _weighed(head, answered, target, weights, moments)
    if balancing == "gradient_reversal":
        odds = head.assignment(hidden, reverse=strength)
        loss = loss + F.binary_cross_entropy_with_logits(odds, (given > 0).to(odds.dtype))
    elif balancing == "domain_confusion":
        loss = loss + _confusion(head, hidden, (given > 0).to(hidden.dtype), strength)
    if contrast:
        loss = loss + contrast * _contrast(head.missed(answered, target), hidden.detach(), given)
    return loss


def _weighed(
    head: nn.Module,
    answered: object,
    target: Float[Tensor, "row horizon"],
    weights: Float[Tensor, "person time horizon"] | None,
    moments: Int[Tensor, "person asked"],
) -> Float[Tensor, ""]:
    if weights is None:
        return head.loss(answered, target)  # type: ignore[operator]
    person, place = (moments >= 0).nonzero(as_tuple=True)
    return head.loss(answered, target, weights[person, moments[person, place]])  # type: ignore[operator]


def _confusion(
    head: nn.Module, hidden: Float[Tensor, "row width"], treated: Float[Tensor, "row treatment"], strength: float
) -> Float[Tensor, ""]:
    """The classifier learns who is treated from states as they are; states learn to leave it at even odds, and its own
    weights learn nothing of that (Melnychuk et al. 2022, with a classifier for each treatment)."""
    assert isinstance(head, OutcomeHead)
    classified = F.binary_cross_entropy_with_logits(head.assignment(hidden.detach()), treated)
    leaf = hidden.detach().requires_grad_()
    odds = head.assignment(leaf)
    even = F.binary_cross_entropy_with_logits(odds, torch.full_like(odds, 0.5))
    (slope,) = torch.autograd.grad(even, leaf)
    return classified + strength * (even.detach() + ((hidden - leaf.detach()) * slope).sum())


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
def _judge(
    head: nn.Module,
    past: Past,
    moments: Int[Tensor, "person asked"],
    weights: Float[Tensor, "person time horizon"] | None = None,
) -> float:
    assert isinstance(head, OutcomeHead)
    head.eval()
    total, weight = 0.0, 0.0
    for rows in torch.arange(len(past.level)).split(PIECE):
        _, answered, target, _ = _ask(head, past.take(rows), moments[rows])
        share = float(head.missed(answered, target).isfinite().sum())
        if share:
            some = None if weights is None else weights[rows]
            loss = _weighed(head, answered, target, some, moments[rows])
            total, weight = total + float(loss) * share, weight + share
    return total / max(weight, 1.0)


@torch.no_grad()
def _lean(averaged: nn.Module, towards: nn.Module, share: float) -> None:
    for kept, value in zip(averaged.parameters(), towards.parameters(), strict=True):
        kept.lerp_(value, 1 - share)
