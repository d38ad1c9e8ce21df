"""Contrastive losses over the rows of several processes: each computes its rows against all, once.

One side is gathered, gradients of it are summed back to where they belong: 8 N^2 D / W operations a process of W, where
gathering both sides and computing everything everywhere takes 8 N^2 D. What is exchanged besides are numbers a row.

With Zc_j the log of column j's sum over all processes' rows, a process knows its rows' sums, its share of every
column's, and the positives of its own rows; two all-reduces make the columns' whole. Backward sums what was pushed onto
keys by all processes, and hands each its own. MUST: every process calls this at the same place with the same pairs.
"""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, distributed

from hdt_fm.ops.contrastive.pairs import SHARES, PairLosses, Pairs
from hdt_fm.ops.contrastive.tiles import Tiles, first_order_only, softplus_, widest


class Share(NamedTuple):
    """What one process computes of a pair: its query rows against all key rows.

    Attributes:
        own: Places of the query rows among this process's rows.
        all: Places of the key rows among all rows.
        first: Number of the first query row among the key rows.
        weight: Of all rows of the pair; adds up to 1.
    """

    tiles: Tiles
    own: Int[Tensor, " row"]
    all: Int[Tensor, " column"]
    first: int
    weight: Float[Tensor, " column"]

    @property
    def mine(self) -> slice:
        """The query rows among the key rows."""
        return slice(self.first, self.first + len(self.own))


def pair_losses(problem: Pairs, logit_scale: Float[Tensor, " pair"]) -> PairLosses:
    """Loss of each pair over the rows of all processes, the same on every process.

    Args:
        problem: `embeddings` are this process's rows (`problem.rows`), all else is of all rows.

    Gradients: of this process's rows, times the number of processes, since DDP and FSDP take the mean over them; of
        the scale the whole one, which is the same everywhere.
    """
    losses, empty = _Spread.apply(problem.rounded(problem.embeddings), logit_scale, None, problem)
    return PairLosses(losses, empty)


def sigmoid_losses(problem: Pairs, logit_scale: Float[Tensor, " pair"], bias: Float[Tensor, ""]) -> PairLosses:
    """As `pair_losses`, for yes-or-no questions; the bias's gradient is the whole one."""
    losses, empty = _Spread.apply(problem.rounded(problem.embeddings), logit_scale, bias, problem)
    return PairLosses(losses, empty)


def _shares(problem: Pairs, embeddings: Tensor, scale: Tensor) -> list[Share | None]:
    """This process's part of each pair; None where a pair has fewer than two rows."""
    assert problem.rows is not None
    place, rows = problem.rows.mine, problem.rows
    sides = sorted({j for _, j in problem.pairs})
    keys = dict(zip(sides, rows.gather(embeddings[sides].transpose(0, 1)).unbind(1), strict=True))
    found: list[Share | None] = []
    for (i, j), here, rule, factor in zip(problem.pairs, problem.both, problem.exclusions, scale.tolist(), strict=True):
        every = here.nonzero().squeeze(1)
        if len(every) < 2:
            found.append(None)
            continue
        first = int((every < place.start).sum())
        own = every[(every >= place.start) & (every < place.stop)] - place.start
        tiles = Tiles(
            embeddings[i].index_select(0, own),
            keys[j].index_select(0, every),
            factor,
            None if rule is None else rule.at(every),
            first=first,
            half=problem.products == "bf16",
        )
        found.append(Share(tiles, own, every, first, problem.weights(every, embeddings)))
    return found


class _Spread(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, embeddings: Tensor, scale: Tensor, bias: Tensor | None, problem: Pairs
    ) -> tuple[Tensor, Tensor]:
        shares = _shares(problem, embeddings, scale)
        ctx.problem, ctx.shares, ctx.bounded = problem, shares, _bounded(shares, scale)
        pair_losses, empty = embeddings.new_zeros(len(shares)), torch.zeros_like(scale, dtype=torch.long)
        ctx.known = _softmax_sums(shares, ctx.bounded) if bias is None else [None] * len(shares)
        for number, (share, known) in enumerate(zip(shares, ctx.known, strict=True)):
            if share is None:
                continue
            pair_losses[number] = _own_losses(share, known, bias, SHARES[problem.direction])
            empty[number] = share.tiles.empty()
        # One exchange for both; the counts are far below what a float holds exactly.
        both = torch.stack((pair_losses.double(), empty.double()))
        distributed.all_reduce(both)
        ctx.save_for_backward(embeddings, scale, bias)
        losses, counts = both[0].to(embeddings.dtype), both[1].long()
        ctx.mark_non_differentiable(counts)
        return losses, counts

    @staticmethod
    @first_order_only
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        embeddings, scale, bias = ctx.saved_tensors
        problem, rows = ctx.problem, ctx.problem.rows
        d_own = torch.zeros_like(embeddings)
        sides = sorted({j for _, j in problem.pairs})
        d_keys = embeddings.new_zeros(sum(rows.counts), len(sides), embeddings.shape[2])
        learned = embeddings.new_zeros(2, len(problem.pairs))
        with torch.autocast(embeddings.device.type, enabled=False):
            for number, (share, known) in enumerate(zip(ctx.shares, ctx.known, strict=True)):
                if share is None:
                    continue
                i, j = problem.pairs[number]
                d_query, d_key, d_bias = _gradients(share, known, bias, ctx.bounded, SHARES[problem.direction])
                # Of a function of scale * cosines: scale dL/dscale = <Q, dL/dQ>, summed over all processes.
                learned[0, number] = (share.tiles.query * d_query).sum() * grad[number]
                learned[1, number] = d_bias * grad[number]
                factor = scale[number] * grad[number]
                d_own[i].index_add_(0, share.own, d_query * factor)
                d_keys[:, sides.index(j)].index_add_(0, share.all, d_key * factor)
            own_keys = rows.sum_to_owners(d_keys)
            for place, j in enumerate(sides):
                d_own[j] += own_keys[:, place]
            distributed.all_reduce(learned)
        return d_own * len(rows.counts), learned[0], None if bias is None else learned[1].sum(), None


def _bounded(shares: list[Share | None], scale: Tensor) -> bool:
    """Whether plain exponentials hold all logits and lose none: known of all rows, so the same on every process."""
    wide = scale.new_zeros(len(shares))
    for number, share in enumerate(shares):
        if share is not None and len(share.own):
            query, key = share.tiles.query, share.tiles.key
            bound = query.norm(dim=-1).max() * key.norm(dim=-1).max() * abs(share.tiles.scale)
            wide[number] = bound / widest(query.dtype, len(key))
    # NaN is not bounded either, on any process.
    outside = (~(wide <= 1)).any().to(torch.int32)
    distributed.all_reduce(outside, distributed.ReduceOp.MAX)
    return not bool(outside)


def _softmax_sums(shares: list[Share | None], bounded: bool) -> list[tuple[Tensor, Tensor, Tensor] | None]:
    """For each pair the logs of its own rows' sums, of all columns' sums, and all positives."""
    rows, columns, positives = [], [], []
    for share in shares:
        if share is None:
            continue
        tiles = share.tiles
        with tiles.rounding():
            row, column = [part.log() for part in tiles.sums(0.0)[:2]] if bounded else tiles.log_sums()
        positive = torch.zeros_like(column)
        positive[share.mine] = (tiles.query * tiles.key[share.mine]).sum(-1) * tiles.scale
        rows.append(row)
        columns.append(column)
        positives.append(positive)
    if not rows:
        return [None] * len(shares)
    sizes = [len(column) for column in columns]
    mine, owned = torch.cat(columns), torch.cat(positives)
    highest = mine.clone()
    distributed.all_reduce(highest, distributed.ReduceOp.MAX)
    # A column without any negative: -inf everywhere, and -inf - -inf is no number.
    level = torch.where(highest == -torch.inf, 0.0, highest)
    parts = torch.stack((torch.exp(mine - level), owned))
    distributed.all_reduce(parts)
    whole = (parts[0].log() + level).split(sizes)
    known = iter(zip(rows, whole, parts[1].split(sizes), strict=True))
    return [None if share is None else next(known) for share in shares]


def _own_losses(
    share: Share, known: tuple[Tensor, Tensor, Tensor] | None, bias: Tensor | None, counted: tuple[float, float]
) -> Tensor:
    """This process's part of a pair's loss."""
    (first, second), tiles, weight = counted, share.tiles, share.weight[share.mine]
    if bias is not None:
        positive = (tiles.query * tiles.key[share.mine]).sum(-1) * tiles.scale + bias
        with tiles.rounding():
            return (weight * softplus_(-positive)).sum() + tiles.sigmoid_losses(
                bias, first * weight, second * share.weight
            )
    assert known is not None
    row, column, positive = known[0], known[1][share.mine], known[2][share.mine]
    zero = torch.zeros_like(row)
    losses = first * torch.logaddexp(row - positive, zero) + second * torch.logaddexp(column - positive, zero)
    return (weight * losses).sum()


def _gradients(
    share: Share,
    known: tuple[Tensor, Tensor, Tensor] | None,
    bias: Tensor | None,
    bounded: bool,
    counted: tuple[float, float],
) -> tuple[Tensor, Tensor, Tensor]:
    """dL/d(query) and dL/d(key) without the scale, and dL/d(bias): this process's part."""
    (first, second), tiles, mine = counted, share.tiles, share.mine
    weight, d_bias = share.weight[mine], tiles.query.new_zeros(())
    if bias is not None:
        positive = (tiles.query * tiles.key[mine]).sum(-1) * tiles.scale + bias
        pull = weight * torch.sigmoid(-positive)
        pushes = tiles.sigmoid_pushes(bias, first * weight, second * share.weight, d_bias)
    else:
        assert known is not None
        row, column, positives = known
        positive = positives[mine]
        pull = weight * (first * torch.sigmoid(row - positive) + second * torch.sigmoid(column[mine] - positive))
        row_all = torch.logaddexp(row, positive) - (first * weight).log()
        column_all = torch.logaddexp(column, positives) - (second * share.weight).log()
        pushes = tiles.softmax_pushes(row_all, column_all, 0.0 if bounded else None)
    with tiles.rounding():
        d_query, d_key = tiles.gradients(pushes)
    d_query -= pull[:, None] * tiles.key[mine]
    d_key[mine] -= pull[:, None] * tiles.query
    return d_query, d_key, d_bias - pull.sum()
