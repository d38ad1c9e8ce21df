"""Is this pair of rows of one window? One yes-or-no question for each pair of rows, and no softmax over the batch."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hdt_fm.ops.contrastive.pairs import Exclusion, all_pairs, exclusions_of


@dataclass(frozen=True)
class SigmoidOutput:
    """A loss and what it rested on.

    Attributes:
        loss: Mean of `pair_loss` over pairs with two rows or more; exactly 0 if there is none.
        pair_loss: Per pair, in nats a row; 0 where a pair has fewer than two rows.
        pair_rows: Rows where both modalities are present.
        pairs: Modality numbers of each pair, in the order of `pair_loss`.
    """

    loss: Float[Tensor, ""]
    pair_loss: Float[Tensor, " pair"]
    pair_rows: Int[Tensor, " pair"]
    pairs: tuple[tuple[int, int], ...]


def sigmoid_pairs_loss(
    embeddings: Float[Tensor, "modality batch dim"],
    present: Bool[Tensor, "batch modality"],
    *,
    logit_scale: Float[Tensor, ""],
    logit_bias: Float[Tensor, ""],
    subject: Int[Tensor, " batch"] | None = None,
    time_s: Float[Tensor, " batch"] | None = None,
    exclude_within_s: float | None = None,
    of_person: Sequence[int] = (),
) -> SigmoidOutput:
    """Sum over a row's answers of log(1 + exp(-y (scale cos + bias))), y = 1 for its partner and -1 for others.

    Args:
        embeddings: Rows of unit length; what absent rows hold (even NaN) is not read.
        logit_scale: Positive multiplier of cosines, not its log.
        logit_bias: Added to every logit; strongly negative at first, since nearly all answers are no.
        exclude_within_s: Rows of one subject at most so far apart are not asked about; inf for all rows of a subject,
            None for off. The partner always is.
        of_person: Modalities that are the same in all rows of a subject: in their pairs no other row of the subject is
            asked about, whatever `exclude_within_s` says.

    Returns:
        The loss and what it rested on: per pair the sum over all (row, row) answers, divided by rows.

    Raises:
        ConfigError: If the exclusion lacks `subject` or `time_s`.

    Numerics: float32 logits and sums for half-precision rows (also under autocast), float64 for float64.
    Source: Zhai et al. 2023 (SigLIP), eq. 1 and algorithm 1.
    """
    pairs = all_pairs(len(embeddings))
    exclusions = exclusions_of(pairs, of_person, subject, time_s, exclude_within_s)
    with torch.autocast(embeddings.device.type, enabled=False):
        exact = embeddings.to(torch.promote_types(embeddings.dtype, torch.float32))
        scale, bias = logit_scale.to(exact.dtype), logit_bias.to(exact.dtype)
        rows = [(present[:, i] & present[:, j]).nonzero().squeeze(1) for i, j in pairs]
        counts = torch.tensor([len(index) for index in rows], dtype=torch.long, device=exact.device)
        # An empty slice: 0 with a path to every input, whatever absent rows hold.
        nothing = exact[:, :0].sum() + 0.0 * (scale + bias)
        losses = [
            one_pair(exact[i, index], exact[j, index], scale, bias, rule and rule.at(index))
            if len(index) >= 2
            else nothing
            for (i, j), index, rule in zip(pairs, rows, exclusions, strict=True)
        ]
        pair_loss = torch.stack(losses) if losses else exact.new_zeros(0)
        loss = (pair_loss.sum() + nothing) / max(1, int((counts >= 2).sum()))
    return SigmoidOutput(loss=loss, pair_loss=pair_loss, pair_rows=counts, pairs=pairs)


def one_pair(
    query: Float[Tensor, "row dim"],
    key: Float[Tensor, "row dim"],
    scale: Float[Tensor, ""],
    bias: Float[Tensor, ""],
    exclusion: Exclusion | None,
) -> Float[Tensor, ""]:
    """All answers about the rows of one pair of modalities, summed and divided by rows."""
    own = torch.eye(len(query), dtype=torch.bool, device=query.device)
    logits = scale * (query @ key.T) + bias
    wrong = torch.where(own, -logits, logits)
    if exclusion is not None:
        wrong = wrong.masked_fill(exclusion.block(0, len(query)) & ~own, -torch.inf)
    # Not softplus, which drops log1p(exp(-x)) past x = 20. A question that is not asked costs exactly 0.
    return torch.logaddexp(wrong, torch.zeros_like(wrong)).sum() / len(query)
