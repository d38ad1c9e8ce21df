"""The contrastive loss in plain PyTorch: the only truth that the fast ones are compared with."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hdt_fm.ops.contrastive.pairs import OnePair, PairLosses, Pairs


def pair_losses(problem: Pairs, logit_scale: Float[Tensor, " pair"]) -> PairLosses:
    """Loss of each pair, in nats."""
    losses, empty = [], []
    for one, scale in zip(problem.each(), logit_scale, strict=True):
        loss, alone = (problem.nothing(scale), problem.none_empty()) if one is None else one_pair(one, scale)
        losses.append(loss)
        empty.append(alone)
    return PairLosses(torch.stack(losses), torch.stack(empty))


def one_pair(one: OnePair, scale: Float[Tensor, ""]) -> tuple[Float[Tensor, ""], Int[Tensor, ""]]:
    """Weighted mean over rows of the two searches' cross-entropies, and the rows without a negative.

    With m_ij = s_ij - s_ii the cross-entropy of row i is log(1 + sum_j exp m_ij), which keeps its digits
    when the sum is 1e-20; log-sum-exp of the row minus s_ii would be 0 there.
    """
    cosine = one.query @ one.key.T
    positive = (one.query * one.key).sum(-1)
    drop = torch.eye(len(cosine), dtype=torch.bool, device=cosine.device)
    if one.exclusion is not None:
        drop = drop | one.exclusion.block(0, len(cosine))
    forward = direction(scale * (cosine - positive[:, None]), drop)
    backward = direction(scale * (cosine.T - positive[:, None]), drop.T)
    first, second = one.shares
    return (one.weight * (first * forward + second * backward)).sum(), drop.all(1).sum()


def direction(margin: Float[Tensor, "row other"], drop: Bool[Tensor, "row other"]) -> Float[Tensor, " row"]:
    """log(1 + sum of exp(margin) over what is not dropped); a row with nothing left counts as 0."""
    empty = drop.all(1)
    # An empty row would give -inf here and NaN in its gradient; its numbers are never used.
    kept = margin.masked_fill(drop & ~empty[:, None], -torch.inf)
    sums = torch.logsumexp(kept, dim=1)
    # logaddexp, since torch's softplus drops log1p(exp(-x)) past x = 20.
    losses = torch.logaddexp(sums, torch.zeros_like(sums))
    return torch.where(empty, 0.0, losses)


def sigmoid_losses(problem: Pairs, logit_scale: Float[Tensor, " pair"], bias: Float[Tensor, ""]) -> PairLosses:
    """Per pair the weighted mean over rows of a row's answers, in nats. Both searches ask the same questions, so
    `direction` says whose weight a question has."""
    losses, empty = [], []
    for one, scale in zip(problem.each(), logit_scale, strict=True):
        if one is None:
            losses.append(problem.nothing(scale) + 0.0 * bias)
            empty.append(problem.none_empty())
            continue
        logits = scale * (one.query @ one.key.T) + bias
        own = torch.eye(len(logits), dtype=torch.bool, device=logits.device)
        drop = own.clone()
        wrong = torch.where(own, -logits, logits)
        if one.exclusion is not None:
            drop = drop | one.exclusion.block(0, len(logits))
            wrong = wrong.masked_fill(drop & ~own, -torch.inf)
        # Not softplus, which drops log1p(exp(-x)) past x = 20. A question that is not asked costs exactly 0.
        answers = torch.logaddexp(wrong, torch.zeros_like(wrong))
        first, second = one.shares
        losses.append((one.weight * (first * answers.sum(1) + second * answers.sum(0))).sum())
        empty.append(drop.all(1).sum())
    return PairLosses(torch.stack(losses), torch.stack(empty))
