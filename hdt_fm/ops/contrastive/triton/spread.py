"""The losses over the rows of several processes, by kernels: each process its query rows against all key rows.

What is exchanged is what `hdt_fm.ops.contrastive.spread` exchanges: one side of the rows forward, numbers a row, and
the gathered side's gradients back. Key rows are ordered by process, and there by person and time, so that a process's
rows are neighbours; how many there are of a pair stays on the device.
"""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, distributed
from torch.nn.functional import pad

from hdt_fm.ops.contrastive.pairs import SHARES, PairLosses, Pairs
from hdt_fm.ops.contrastive.rows import Rows
from hdt_fm.ops.contrastive.tiles import first_order_only
from hdt_fm.ops.contrastive.triton import refuse
from hdt_fm.ops.contrastive.triton.forward import losses_of, offset_of, question_losses, sums
from hdt_fm.ops.contrastive.triton.gradients import gradients, question_gradients
from hdt_fm.ops.contrastive.triton.near import rows_of
from hdt_fm.ops.contrastive.triton.packed import Packed
from hdt_fm.ops.contrastive.triton.packing import near_packed, precision_of, rooms, sides_on, weights_of


class Block(NamedTuple):
    """What one process computes of all pairs.

    Attributes:
        order: Of each pair the key rows among all rows; those that it has come first.
        own: Of each pair the query rows among this process's rows; those that it has come first.
        sides: Modalities whose rows are gathered.
        longest: Largest squared length of either side, over all processes.
        empty: Of each pair the rows without any negative, over all processes.
    """

    packed: Packed
    order: Int[Tensor, "pair all"]
    own: Int[Tensor, "pair row"]
    sides: list[int]
    weight: Float[Tensor, "pair key_room"]
    longest: Float[Tensor, "pair two"]
    empty: Int[Tensor, " pair"]


def pair_losses(problem: Pairs, logit_scale: Float[Tensor, " pair"]) -> PairLosses:
    """As `hdt_fm.ops.contrastive.spread.pair_losses`, with the numerics of `triton.pair_losses`."""
    refuse(problem)
    return PairLosses(*_Spread.apply(problem.embeddings, logit_scale.float(), None, problem))


def sigmoid_losses(problem: Pairs, logit_scale: Float[Tensor, " pair"], bias: Float[Tensor, ""]) -> PairLosses:
    """As `pair_losses`, for yes-or-no questions."""
    refuse(problem)
    return PairLosses(*_Spread.apply(problem.embeddings, logit_scale.float(), bias.float(), problem))


def _block(problem: Pairs, embeddings: Tensor) -> Block:
    """Gather one side and pack both."""
    rows = problem.rows
    assert rows is not None
    _, _, count, near, empty = rows_of(problem)
    order, first, mine = _order(problem.both, near, rows)
    alive = count > 0
    first, mine = first * alive, mine * alive
    room, width, dtype, config = rooms(
        embeddings.new_empty(0, order.shape[1], embeddings.shape[2]), problem.products, near.shape[2] > 0
    )
    room, query_room = (-(-max(1, number) // config.room) * config.room for number in (room, embeddings.shape[1]))
    embeddings = embeddings.to(dtype)
    sides = sorted({j for _, j in problem.pairs})
    keys = rows.gather(embeddings[sides].transpose(0, 1)).transpose(0, 1)
    at = torch.arange(embeddings.shape[1], device=embeddings.device)
    own = (order.gather(1, (first[:, None] + at).clamp(max=max(0, order.shape[1] - 1))) - rows.mine.start) * (
        at < mine[:, None]
    )
    query = _picked(embeddings, [i for i, _ in problem.pairs], own, mine, query_room, width)
    key = _picked(keys, [sides.index(j) for _, j in problem.pairs], order, count, room, width)
    positives, longest = _of_all(query, key, first, mine)
    kept = near_packed(near, order, room)
    packed = Packed(
        query,
        key,
        positives,
        mine.to(torch.int32),
        count,
        first.to(torch.int32),
        kept,
        precision_of(problem.products),
        config,
    )
    weight = None if problem.weight is None else problem.weight.detach().float()
    return Block(packed, order, own, sides, weights_of(weight, order, count, positives), longest, empty)


def _order(both: Tensor, near: Tensor, rows: Rows) -> tuple[Tensor, Tensor, Tensor]:
    """Of each pair its rows by process, and there by person and time; where this process's begin; how many they are."""
    batch, place = both.shape[1], rows.mine
    place_in_time = near[:, 0].long() if near.shape[2] else torch.arange(batch, device=both.device)
    process = torch.cat([torch.full((number,), rank, device=both.device) for rank, number in enumerate(rows.counts)])
    order = torch.where(both, process * batch + place_in_time, len(rows.counts) * batch).argsort(dim=1)
    return order, both[:, : place.start].sum(1), both[:, place].sum(1)


def _picked(rows: Tensor, numbers: list[int], order: Tensor, count: Tensor, room: int, width: int) -> Tensor:
    """Rows of each pair in their order, and zeros. What other rows hold is not read."""
    picked = rows[sides_on(tuple(numbers), rows.device).long()[:, None], order]
    beyond = torch.arange(order.shape[1], device=rows.device) >= count[:, None]
    picked = picked.masked_fill(beyond[..., None], 0.0)
    return pad(picked, (0, width - rows.shape[2], 0, room - order.shape[1])).contiguous()


def _of_all(query: Tensor, key: Tensor, first: Tensor, mine: Tensor) -> tuple[Tensor, Tensor]:
    """Each key row's product with its partner, which its process knows; and the largest squared lengths."""
    at = torch.arange(query.shape[1], device=query.device)
    place = (first[:, None] + at).clamp(max=key.shape[1] - 1)
    partner = key.gather(1, place[..., None].expand(-1, -1, key.shape[2])).float()
    product = torch.where(at < mine[:, None], (query.float() * partner).sum(-1), 0.0)
    positives = product.new_zeros(key.shape[:2]).scatter_add_(1, place, product)
    distributed.all_reduce(positives)
    longest = torch.stack([side.float().square().sum(-1).amax(1) for side in (query, key)], 1)
    distributed.all_reduce(longest, distributed.ReduceOp.MAX)
    return positives, longest


def _over_processes(logs: Tensor) -> Tensor:
    """Log of the sum over processes of what these are logs of."""
    highest = logs.clone()
    distributed.all_reduce(highest, distributed.ReduceOp.MAX)
    # A column without any negative: -inf everywhere, and -inf - -inf is no number.
    level = torch.where(highest == -torch.inf, 0.0, highest)
    part = torch.exp(logs - level)
    distributed.all_reduce(part)
    return part.log() + level


class _Spread(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, embeddings: Tensor, scale: Tensor, bias: Tensor | None, problem: Pairs
    ) -> tuple[Tensor, Tensor]:
        block, shares = _block(problem, embeddings), SHARES[problem.direction]
        packed, scale = block.packed, scale.contiguous()
        ctx.problem, ctx.shares, ctx.shape, ctx.dtype = problem, shares, embeddings.shape, embeddings.dtype
        if bias is None:
            offset = offset_of(scale, block.longest, packed.key.shape[1])
            row, column = sums(packed, scale, offset)
            column = _over_processes(column)
            losses = losses_of(packed, scale, row, column, block.weight, shares)
        else:
            offset = row = column = torch.zeros_like(packed.own)
            losses = question_losses(packed, scale, bias, block.weight, shares)
        distributed.all_reduce(losses)
        ctx.block, ctx.sums = block, (offset, row, column)
        ctx.save_for_backward(scale, bias)
        ctx.mark_non_differentiable(block.empty)
        return losses, block.empty

    @staticmethod
    @first_order_only
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        scale, bias = ctx.saved_tensors
        block, rows, shares = ctx.block, ctx.problem.rows, ctx.shares
        with torch.autocast(scale.device.type, enabled=False):
            if bias is None:
                offset, row, column = ctx.sums
                found = gradients(block.packed, scale, offset, row, column, block.weight, shares)
            else:
                found = question_gradients(block.packed, scale, bias, block.weight, shares)
            dim, factor = ctx.shape[2], scale * grad
            d_own = found.query.new_zeros(ctx.shape)
            d_keys = found.key.new_zeros(sum(rows.counts), len(block.sides), dim)
            for number, (i, j) in enumerate(ctx.problem.pairs):
                own, order = block.own[number], block.order[number]
                # Of absent rows nothing is added, even where the factor is not finite.
                for to, at, of, count in (
                    (d_own[i], own, found.query, block.packed.rows),
                    (d_keys[:, block.sides.index(j)], order, found.key, block.packed.columns),
                ):
                    here = torch.arange(len(at), device=at.device) < count[number]
                    added = of[number, : len(at), :dim] * factor[number]
                    to.index_add_(0, at, torch.where(here[:, None], added, 0.0))
            own_keys = rows.sum_to_owners(d_keys)
            for place, j in enumerate(block.sides):
                d_own[j] += own_keys[:, place]
            alive = block.packed.columns > 0
            learned = torch.where(alive, torch.stack((found.scale, found.bias)) * grad, 0.0)
            distributed.all_reduce(learned)
        # The mean over processes is taken of what each hands on.
        d_rows = (d_own * len(rows.counts)).to(ctx.dtype)
        return d_rows, learned[0], None if bias is None else learned[1].sum(), None
