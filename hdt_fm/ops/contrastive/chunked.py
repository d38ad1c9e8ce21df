"""The contrastive loss by blocks of rows: memory grows with rows, not with their square.

The backward pass computes each block of logits again. With w = 1 / (2 rows), and Zr, Zc the logarithms of
the full row and column sums, dL/ds_ij = w (exp(s_ij - Zr_i) + exp(s_ij - Zc_j)) off the diagonal.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from hdt_fm.ops.contrastive.pairs import Exclusion, Pairs

BLOCK_ROWS = 512


def pair_losses(problem: Pairs, logit_scale: Float[Tensor, " pair"]) -> Float[Tensor, " pair"]:
    """Loss of each pair, in nats; pairs run one after another, bitwise the same on every run of one machine."""
    losses = []
    every = zip(problem.pairs, problem.rows, problem.exclusions, logit_scale, strict=True)
    for (i, j), rows, rule, scale in every:
        exclusion = None if rule is None else rule.at(rows)
        query, key = problem.embeddings[i, rows], problem.embeddings[j, rows]
        losses.append(_ChunkedPair.apply(query, key, scale, exclusion, BLOCK_ROWS))
    return torch.stack(losses)


def _drop_negatives_(logits: Tensor, start: int, exclusion: Exclusion | None) -> Tensor:
    """Set what is no negative to -inf, in place: the diagonal and rows that are too near."""
    stop = start + len(logits)
    logits.diagonal(offset=start).fill_(-torch.inf)
    if exclusion is not None:
        logits.masked_fill_(exclusion.block(start, stop), -torch.inf)
    return logits


class _ChunkedPair(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, scale: Tensor, exclusion: Exclusion | None, block_rows: int
    ) -> Tensor:
        rows = len(query)
        positive = scale * (query * key).sum(-1)
        row_sum = torch.empty_like(positive)
        column_sum = torch.full_like(positive, -torch.inf)
        for start in range(0, rows, block_rows):
            block = slice(start, min(start + block_rows, rows))
            logits = _drop_negatives_((query[block] @ key.T).mul_(scale), start, exclusion)
            row_sum[block] = torch.logsumexp(logits, dim=1)
            column_sum = torch.logaddexp(column_sum, torch.logsumexp(logits, dim=0))
        ctx.save_for_backward(query, key, scale, positive, row_sum, column_sum)
        ctx.exclusion, ctx.block_rows = exclusion, block_rows
        zero = torch.zeros_like(positive)
        losses = torch.logaddexp(row_sum - positive, zero) + torch.logaddexp(column_sum - positive, zero)
        return losses.sum() / (2 * rows)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        query, key, scale, positive, row_sum, column_sum = ctx.saved_tensors
        with torch.autocast(query.device.type, enabled=False):
            weight = grad / (2 * len(query))
            pull = torch.sigmoid(row_sum - positive) + torch.sigmoid(column_sum - positive)
            row_all, column_all = torch.logaddexp(row_sum, positive), torch.logaddexp(column_sum, positive)
            d_query, d_key = torch.empty_like(query), torch.zeros_like(key)
            d_scale = -(pull * positive).sum() / scale
            for start in range(0, len(query), ctx.block_rows):
                block = slice(start, min(start + ctx.block_rows, len(query)))
                cosine = query[block] @ key.T
                logits = _drop_negatives_(cosine * scale, start, ctx.exclusion)
                push = torch.exp(logits - row_all[block, None]) + torch.exp(logits.sub_(column_all))
                d_scale = d_scale + cosine.mul_(push).sum()
                d_query[block] = push @ key
                d_key.addmm_(push.T, query[block])
            d_query.sub_(pull[:, None] * key).mul_(scale * weight)
            d_key.sub_(pull[:, None] * query).mul_(scale * weight)
        return d_query, d_key, d_scale * weight, None, None
