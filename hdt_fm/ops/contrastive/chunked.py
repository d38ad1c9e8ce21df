"""Contrastive losses tile by tile: memory grows with rows, not with their square; no compiler, any device.

With e_ij = exp(s_ij - c) for negatives and 0 else, p_i = exp(s_ii - c), R and C the sums of e over rows and columns,
and w_i a row's weight: loss_i = log(1 + R_i / p_i), and off the diagonal dL/ds_ij = e_ij (a_i + b_j) with
a = w / (R + p) and b = w / (C + p). One exponential serves both searches, because one offset c serves all logits: they
are bounded by scale times the longest rows. The positive stays out of the sums, so a solved batch keeps its digits.
Where a bound is too wide for one offset, sums run with a maximum of their own and the exponential is taken twice.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from hdt_fm.ops.contrastive.pairs import OnePair, PairLosses, Pairs
from hdt_fm.ops.contrastive.tiles import Tiles, first_order_only, softplus_, widest

# So many exponentials at most, over all pairs, are kept for the backward pass: 64 MB in float32.
KEEP = 4096**2
# Sums below this have lost digits to the smallest number that there is.
LOWEST = {torch.float32: 2.0**-100, torch.float64: 2.0**-1000}


def pair_losses(problem: Pairs, logit_scale: Float[Tensor, " pair"]) -> PairLosses:
    """Loss of each pair, in nats; pairs run one after another, bitwise the same on every run of one machine."""
    losses, empty = [], []
    keep = len(problem.pairs) * problem.both.shape[1] ** 2 <= KEEP
    for one, scale in zip(problem.each(), logit_scale, strict=True):
        if one is None:
            losses.append(problem.nothing(scale))
            empty.append(problem.none_empty())
            continue
        tiles = _tiles(one, scale, problem, keep=keep)
        losses.append(_Softmax.apply(one.query, one.key, scale, one.weight, one.shares, tiles))
        empty.append(tiles.empty())
    return PairLosses(torch.stack(losses), torch.stack(empty))


def sigmoid_losses(problem: Pairs, logit_scale: Float[Tensor, " pair"], bias: Float[Tensor, ""]) -> PairLosses:
    """As `reference.sigmoid_losses`."""
    losses, empty = [], []
    for one, scale in zip(problem.each(), logit_scale, strict=True):
        if one is None:
            losses.append(problem.nothing(scale) + 0.0 * bias)
            empty.append(problem.none_empty())
            continue
        tiles = _tiles(one, scale, problem)
        losses.append(_Sigmoid.apply(one.query, one.key, scale, bias, one.weight, one.shares, tiles))
        empty.append(tiles.empty())
    return PairLosses(torch.stack(losses), torch.stack(empty))


def _tiles(one: OnePair, scale: Tensor, problem: Pairs, *, keep: bool = False) -> Tiles:
    query, key = one.query.detach(), one.key.detach()
    return Tiles(query, key, float(scale.detach()), one.exclusion, half=problem.products == "bf16", keep=keep)


class _Softmax(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, scale: Tensor, weight: Tensor, shares: tuple[float, float], tiles: Tiles
    ) -> Tensor:
        positive = (query * key).sum(-1) * scale
        ctx.tiles, ctx.shares = tiles, shares
        with tiles.rounding():
            ctx.offset, row, column, kept = _logs_of_sums(tiles, positive)
        ctx.save_for_backward(query, key, scale, weight, positive, row, column, kept)
        zero = torch.zeros_like(positive)
        first, second = shares
        losses = first * torch.logaddexp(row - positive, zero) + second * torch.logaddexp(column - positive, zero)
        return (weight * losses).sum()

    @staticmethod
    @first_order_only
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        query, key, scale, weight, positive, row, column, kept = ctx.saved_tensors
        first, second = ctx.shares
        with torch.autocast(query.device.type, enabled=False), ctx.tiles.rounding():
            pull = weight * (first * torch.sigmoid(row - positive) + second * torch.sigmoid(column - positive))
            # Minus the logs of a_i and b_j; of a search that does not count, inf, whose exponential is 0.
            row_all = torch.logaddexp(row, positive) - (first * weight).log()
            column_all = torch.logaddexp(column, positive) - (second * weight).log()
            pushes = ctx.tiles.softmax_pushes(row_all, column_all, ctx.offset, kept)
            d_query, d_key = ctx.tiles.gradients(pushes)
            return *_with_pulls(query, key, scale, pull, d_query, d_key, grad), None, None, None


class _Sigmoid(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        scale: Tensor,
        bias: Tensor,
        weight: Tensor,
        shares: tuple[float, float],
        tiles: Tiles,
    ) -> Tensor:
        positive = (query * key).sum(-1) * scale + bias
        first, second = shares
        with tiles.rounding():
            total = (weight * softplus_(-positive)).sum() + tiles.sigmoid_losses(bias, first * weight, second * weight)
        ctx.save_for_backward(query, key, scale, bias, weight, positive)
        ctx.tiles, ctx.shares = tiles, shares
        return total

    @staticmethod
    @first_order_only
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        query, key, scale, bias, weight, positive = ctx.saved_tensors
        first, second = ctx.shares
        with torch.autocast(query.device.type, enabled=False), ctx.tiles.rounding():
            pull = weight * torch.sigmoid(-positive)
            total = query.new_zeros(())
            d_query, d_key = ctx.tiles.gradients(ctx.tiles.sigmoid_pushes(bias, first * weight, second * weight, total))
            d_bias = (total - pull.sum()) * grad
            return *_with_pulls(query, key, scale, pull, d_query, d_key, grad), d_bias, None, None, None


def _logs_of_sums(tiles: Tiles, positive: Tensor) -> tuple[float | None, Tensor, Tensor, Tensor | None]:
    """The offset that was used (None: none), logs of row and column sums, and exponentials where they are kept."""
    query, key = tiles.query, tiles.key
    bound = abs(tiles.scale) * float(query.norm(dim=-1).max() * key.norm(dim=-1).max())
    room = widest(query.dtype, tiles.columns)
    if bound <= 2 * room:
        offset = max(0.0, bound - room)
        row, column, kept = tiles.sums(offset)
        own, lowest = torch.exp(positive - offset), LOWEST[query.dtype]
        if bool(((row + own).min() >= lowest) & ((column + own).min() >= lowest)):
            return offset, row.log() + offset, column.log() + offset, kept
    row, column = tiles.log_sums()
    return None, row, column, None


def _with_pulls(
    query: Tensor, key: Tensor, scale: Tensor, pull: Tensor, d_query: Tensor, d_key: Tensor, grad: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of query, key and scale, from what pushes rows apart and how strongly partners pull."""
    d_query.sub_(pull[:, None] * key)
    d_key.sub_(pull[:, None] * query)
    # Of a function of scale * cosines: scale dL/dscale = <Q, dL/dQ>.
    d_scale = (query * d_query).sum() * grad
    return d_query.mul_(scale * grad), d_key.mul_(scale * grad), d_scale
