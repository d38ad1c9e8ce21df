"""An encoder moved towards one person by few labelled windows of that person: all weights, or changes of low rank."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from hdt_fm.schema.batch import Batch
from hdt_fm.schema.errors import ConfigError, HdtError, ShapeError
from hdt_fm.schema.protocols import Embeddings

Weights = dict[str, Tensor]
# Names of the probe's own numbers among those that are moved; no parameter of a module can be called so.
SLOPE, OFFSET = "probe/weights", "probe/offset"


@dataclass(frozen=True)
class LinearProbe:
    """The population's probe of two classes on an encoder's embeddings: where every person's encoder starts.

    Attributes:
        columns: Places of its modalities among the encoder's.
        center, scale: Of each component; an absent modality counts as the center.
        weights, offset: Log-odds of the second class = scaled components @ weights + offset.
    """

    columns: tuple[int, ...]
    center: Float[Tensor, "modality width"]
    scale: Float[Tensor, "modality width"]
    weights: Float[Tensor, "modality width"]
    offset: Float[Tensor, ""]

    def log_odds(
        self, embeddings: Embeddings, weights: Float[Tensor, "modality width"], offset: Float[Tensor, ""]
    ) -> Float[Tensor, " batch"]:
        """Of embeddings in the order of the encoder, with these numbers in place of its own."""
        values, present = embeddings.values[:, self.columns], embeddings.present[:, self.columns]
        scaled = torch.where(present[..., None], (values - self.center) / self.scale, 0.0)
        return (scaled * weights).sum((1, 2)) + offset


def adapt_encoder(
    encoder: nn.Module,
    probe: LinearProbe,
    own: Batch,
    target: Float[Tensor, " own"],
    asked: Sequence[Batch],
    *,
    stops: Sequence[int],
    rank: int | None = None,
    learning_rate: float = 5e-4,
    ridge: float = 1e-2,
    seed: int = 0,
) -> Float[Tensor, "stop row"]:
    """Move the population's encoder and probe towards a person's own windows, and ask on the way.

    The loss is the log-loss summed over the own windows, each class counting as much as the other, plus ridge/2 times
    the squared distance of all weights from where they started. There is no dropout, so nothing is drawn but where a
    low-rank change begins. The encoder's weights are read and never written, whatever happens.

    Args:
        encoder: Batch -> `Embeddings`. Of its weights those move that pretraining moves (`requires_grad`).
        own, target: Windows to learn from and their class, 0 or 1. No label is read from a batch.
        asked: Windows to answer for; nothing is learned from them.
        stops: Steps after which the asked windows are answered, rising; 0 is the population's own answer.
        rank: Of the change of each linear layer that is wider than that on both sides; None moves every weight.
        seed: Of a low-rank change; equal arguments give equal answers.

    Returns:
        Log-odds of the second class of the asked windows, after each of `stops`.

    Raises:
        ConfigError: If stops do not rise from 0 or more, or no layer can take a change of this rank.
        ShapeError: If there is no own window, or not one class for each.
        HdtError: If the loss is not finite.

    Source: L2-SP, Li et al. 2018; low-rank changes, Hu et al. 2021, scaled as Kalajdzievski 2023.
    """
    _check(own, target, stops)
    begin, of = _moves(encoder, rank, seed)
    begin |= {SLOPE: probe.weights, OFFSET: probe.offset}
    moved = {name: one.detach().clone().requires_grad_() for name, one in begin.items()}
    start = _as_one(of(begin))
    # Fused: over so many small tensors most of a step would else be Adam itself.
    optimizer = torch.optim.Adam(list(moved.values()), lr=learning_rate, fused=True)
    weight, found = balanced(target), []

    def answer(batch: Batch, weights: Weights) -> Tensor:
        inside = {name: one for name, one in weights.items() if name not in (SLOPE, OFFSET)}
        return probe.log_odds(functional_call(encoder, inside, (batch,)), weights[SLOPE], weights[OFFSET])

    with _evaluating(encoder):
        for step in range(stops[-1] + 1):
            if step in stops:
                with torch.no_grad():
                    found.append(torch.cat([answer(batch, of(moved)) for batch in asked]))
            if step == stops[-1]:
                break
            weights = of(moved)
            away = (_as_one(weights) - start).square().sum()
            miss = F.binary_cross_entropy_with_logits(answer(own, weights), target, weight, reduction="sum")
            loss = miss + ridge / 2 * away
            if not bool(torch.isfinite(loss)):
                raise HdtError(
                    "The loss of a person's own windows is not finite",
                    where=f"step {step + 1}",
                    fix="lower the learning rate of the fine-tuning",
                )
            # Not `backward`: it would leave gradients on the weights of the encoder that do not move.
            slopes = torch.autograd.grad(loss, list(moved.values()), allow_unused=True, materialize_grads=True)
            for one, slope in zip(moved.values(), slopes, strict=True):
                one.grad = slope
            optimizer.step()
    return torch.stack(found)


def count_moved(encoder: nn.Module, rank: int | None) -> tuple[int, int]:
    """How many tensors, and numbers in them, `adapt_encoder` trains for the encoder; the probe's come on top."""
    moved, _ = _moves(encoder, rank, seed=0)
    return len(moved), sum(one.numel() for one in moved.values())


def balanced(target: Float[Tensor, " own"]) -> Float[Tensor, " own"]:
    """Each class counts as much as the other; all weights sum to the number of windows."""
    second = target > 0
    sizes = torch.where(second, second.sum(), (~second).sum())
    return len(target) / (len(second.unique()) * sizes)


def _as_one(weights: Weights) -> Float[Tensor, " number"]:
    return torch.cat([one.reshape(-1) for one in weights.values()])


def _moves(encoder: nn.Module, rank: int | None, seed: int) -> tuple[Weights, Callable[[Weights], Weights]]:
    """What is trained, where it begins, and the encoder's weights that follow from it."""
    ours = {name: one.detach() for name, one in encoder.named_parameters() if one.requires_grad}
    return (ours, lambda moved: moved) if rank is None else _low_rank(encoder, ours, rank, seed)


def _low_rank(encoder: nn.Module, ours: Weights, rank: int, seed: int) -> tuple[Weights, Callable[[Weights], Weights]]:
    """W + B A / sqrt(rank), with B zero at the start.

    A has unit variance, so that a step moves an entry of W by about the learning rate, whatever rank and width: one
    learning rate and one ridge then mean the same as for the fine-tuning of all weights.
    """
    layers = {f"{name}.weight" for name, part in encoder.named_modules() if isinstance(part, nn.Linear)}
    taken = [name for name, one in ours.items() if name in layers and min(one.shape) > rank]
    if rank < 1 or not taken:
        raise ConfigError(
            "No layer of the encoder can take a change of this rank",
            where="rank",
            expected="1 or more, and below both sides of a linear layer",
            got=str(rank),
            fix="a lower rank, or an encoder with linear layers",
        )
    generator = torch.Generator().manual_seed(seed)
    begin: Weights = {}
    for name in taken:
        outside, inside = ours[name].shape
        begin[f"{name}/A"] = torch.randn(rank, inside, generator=generator).to(ours[name])
        begin[f"{name}/B"] = ours[name].new_zeros(outside, rank)

    def weights(moved: Weights) -> Weights:
        changed = {name: ours[name] + moved[f"{name}/B"] @ moved[f"{name}/A"] / math.sqrt(rank) for name in taken}
        return {**changed, SLOPE: moved[SLOPE], OFFSET: moved[OFFSET]}

    return begin, weights


@contextmanager
def _evaluating(encoder: nn.Module) -> Iterator[None]:
    """Without dropout, as the population's scores were made; each part goes back to the mode that it was in."""
    before = [(part, part.training) for part in encoder.modules()]
    encoder.eval()
    try:
        yield
    finally:
        for part, was in before:
            part.training = was


def _check(own: Batch, target: Tensor, stops: Sequence[int]) -> None:
    known: Bool[Tensor, " own"] = (target == 0) | (target == 1)
    if not len(own) or len(target) != len(own) or not bool(known.all()):
        raise ShapeError(
            "Own windows and their classes do not fit each other",
            expected="one window or more, and for each a class, 0 or 1",
            got=f"{len(own)} windows, {int(known.sum())} classes of 0 or 1",
            where="adapt_encoder",
        )
    if not stops or list(stops) != sorted(set(stops)) or stops[0] < 0:
        raise ConfigError(
            "The steps to stop at do not rise",
            where="adapt_encoder.stops",
            expected="numbers of steps, each above the one before, from 0 on",
            got=str(list(stops)),
        )
