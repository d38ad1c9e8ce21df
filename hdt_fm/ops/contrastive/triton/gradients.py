"""The backward pass over packed rows: what pushes and pulls them, and by which route that becomes gradients."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from hdt_fm.ops.contrastive.triton.chip import on_chip
from hdt_fm.ops.contrastive.triton.packed import Packed, Pushes, of_block
from hdt_fm.ops.contrastive.triton.panel import by_panels

LOG2E = math.log2(math.e)
# Of log2(sum with the positive) under the offset: `kernels.forward.LOWEST`.
LOWEST_LOG2 = -100.0
# How far float16 pushes may reach; they would sink below its smallest number without a factor.
HALF_REACH = 2.0**14


class Gradients(NamedTuple):
    """Of a block of query rows; multiply the first two by scale and upstream gradient.

    Attributes:
        query: dL/d(scale cosine) @ key, of the block; zeros past its rows.
        key: What the block adds to the key rows; blocks of all query rows add up to the whole.
        scale: dL/dscale, what the block adds.
        bias: dL/dbias of questions, what the block adds; zeros of a search.
    """

    query: Float[Tensor, "pair query_room width"]
    key: Float[Tensor, "pair key_room width"]
    scale: Float[Tensor, " pair"]
    bias: Float[Tensor, " pair"]


def gradients(
    packed: Packed,
    scale: Float[Tensor, " pair"],
    offset: Float[Tensor, " pair"],
    row: Float[Tensor, "pair query_room"],
    column: Float[Tensor, "pair key_room"],
    weight: Float[Tensor, "pair key_room"],
    shares: Sequence[float],
) -> Gradients:
    """Gradients of the losses that `losses_of` gives; arguments as there."""
    own = scale[:, None] * packed.own
    own_block, weight_block = of_block(packed, own), of_block(packed, weight)
    row_pull = shares[0] * weight_block * torch.sigmoid(row - own_block)
    column_pull = shares[1] * weight * torch.sigmoid(column - own)
    # A push is part of what pulls its row, and of what pulls its column.
    unit, reach = _unit(packed, row_pull.amax(1) + column_pull.amax(1))
    row_all, row_low = _log_weights(row, own_block, weight_block, shares[0], offset, reach)
    column_all, column_low = _log_weights(column, own, weight, shares[1], offset, reach)
    wide = row_low | column_low
    row_all, column_all = (
        torch.where(wide[:, None], each, torch.exp2(offset[:, None] * LOG2E - each)) for each in (row_all, column_all)
    )
    pull = row_pull + of_block(packed, column_pull)
    return _finished(packed, Pushes(scale, offset, row_all, column_all, wide.to(torch.int32), pull, unit))


def question_gradients(
    packed: Packed, scale: Tensor, bias: Tensor, weight: Float[Tensor, "pair key_room"], shares: Sequence[float]
) -> Gradients:
    """Gradients of `question_losses`."""
    unit, reach = _unit(packed, 2 * weight.amax(1))
    row_all, column_all = (
        (share * reach[:, None] * each).contiguous()
        for share, each in zip(shares, (of_block(packed, weight), weight), strict=True)
    )
    pull = sum(shares) * of_block(packed, weight * torch.sigmoid(-(scale[:, None] * packed.own + bias)))
    shift = bias.expand_as(scale).contiguous()
    return _finished(packed, Pushes(scale, shift, row_all, column_all, None, pull, unit))


def _finished(packed: Packed, pushes: Pushes) -> Gradients:
    """By the route that the configuration says, and the pulls' part of the scale and the bias."""
    route = on_chip if packed.config.on_chip(packed.query.shape[2]) else by_panels
    found = route(packed, pushes)
    d_scale = found.scale * pushes.unit - (pushes.pull * of_block(packed, packed.own)).sum(1)
    d_bias = found.bias * pushes.unit
    return Gradients(
        found.query, found.key, d_scale, d_bias if pushes.wide is not None else d_bias - pushes.pull.sum(1)
    )


def _unit(packed: Packed, most: Float[Tensor, " pair"]) -> tuple[Tensor, Tensor]:
    """What products of pushes are multiplied by, and its inverse, by which pushes are: 1 but for float16.

    Args:
        most: Above all pushes of a pair.
    """
    if packed.query.dtype != torch.float16:
        one = torch.ones_like(most)
        return one, one
    reach = torch.where(most > 0, HALF_REACH / most, 1.0).clamp(max=2.0**100)
    return 1 / reach, reach


def _log_weights(
    sums_log: Tensor, own: Tensor, weight: Tensor, share: float, offset: Tensor, reach: Tensor
) -> tuple[Tensor, Tensor]:
    """log2 of (sum with the positive / weight), inf for rows without negatives; and whether the usual form fails.

    It does if a sum of the pair sank, or if the weight under the offset would overflow.
    """
    full, shift = torch.logaddexp(sums_log, own) * LOG2E, offset[:, None] * LOG2E
    alone = sums_log == -torch.inf
    all_ = (full - torch.log2(share * reach[:, None] * weight)).masked_fill(alone, torch.inf)
    low = ((full - shift < LOWEST_LOG2) | (shift - all_ > -LOWEST_LOG2)) & ~alone
    return all_, low.any(1)
