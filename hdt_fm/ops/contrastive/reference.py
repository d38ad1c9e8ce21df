"""The contrastive loss in plain PyTorch: the only truth that the fast ones are compared with."""

import torch
from jaxtyping import Float
from torch import Tensor

from hdt_fm.ops.contrastive.pairs import Exclusion, Pairs


def pair_losses(problem: Pairs, logit_scale: Float[Tensor, " pair"]) -> Float[Tensor, " pair"]:
    """Loss of each pair, in nats."""
    losses = []
    every = zip(problem.pairs, problem.rows, problem.exclusions, logit_scale, strict=True)
    for (i, j), rows, rule, scale in every:
        exclusion = None if rule is None else rule.at(rows)
        losses.append(one_pair(problem.embeddings[i, rows], problem.embeddings[j, rows], scale, exclusion))
    return torch.stack(losses)


def one_pair(
    query: Float[Tensor, "row dim"],
    key: Float[Tensor, "row dim"],
    scale: Float[Tensor, ""],
    exclusion: Exclusion | None,
) -> Float[Tensor, ""]:
    """Mean over rows of the two directions' cross-entropies, halved.

    With m_ij = s_ij - s_ii the cross-entropy of row i is log(1 + sum_j exp m_ij), which keeps its digits
    when the sum is 1e-20; log-sum-exp of the row minus s_ii would be 0 there.
    """
    cosine = query @ key.T
    positive = (query * key).sum(-1)
    drop = torch.eye(len(query), dtype=torch.bool, device=query.device)
    if exclusion is not None:
        drop = drop | exclusion.block(0, len(query))
    forward = direction(scale * (cosine - positive[:, None]), drop)
    backward = direction(scale * (cosine.T - positive[:, None]), drop.T)
    return 0.5 * (forward + backward)


def direction(margin: Float[Tensor, "row other"], drop: Tensor) -> Float[Tensor, ""]:
    """Mean of log(1 + sum of exp(margin) over what is not dropped); a row with nothing left counts as 0."""
    empty = drop.all(1)
    # An empty row would give -inf here and NaN in its gradient; its numbers are never used.
    kept = margin.masked_fill(drop & ~empty[:, None], -torch.inf)
    sums = torch.logsumexp(kept, dim=1)
    # logaddexp, since torch's softplus drops log1p(exp(-x)) past x = 20.
    losses = torch.logaddexp(sums, torch.zeros_like(sums))
    return torch.where(empty, 0.0, losses).mean()
