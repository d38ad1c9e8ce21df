"""Is this pair of rows of one window? One yes-or-no question for each pair of rows, and no softmax over the batch."""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from torch import Tensor

from hdt_fm.ops.contrastive import check_fit, contrastive_losses
from hdt_fm.ops.contrastive.pairs import Pairs, all_pairs, exclusions_of, rows_of_pairs
from hdt_fm.ops.contrastive.rows import of_all_rows


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
    weight: Float[Tensor, " batch"] | None = None,
    products: str = "exact",
    impl: str = "auto",
    spread: bool = False,
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
        weight: Of each row; a question about two rows has the mean of their weights.
        products, impl, spread: As for `contrastive_loss`.

    Returns:
        The loss and what it rested on: per pair the sum over all (row, row) answers, divided by rows.

    Raises:
        ShapeError, ConfigError, UnknownNameError: As `contrastive_loss`.

    Numerics: as `contrastive_loss`.
    Source: Zhai et al. 2023 (SigLIP), eq. 1 and algorithm 1.
    """
    pairs = all_pairs(len(embeddings))
    check_fit(embeddings, present, weight)
    known = of_all_rows(spread, present, subject, time_s, weight)
    exclusions = exclusions_of(pairs, of_person, known.subject, known.time_s, exclude_within_s)
    both = rows_of_pairs(known.present, pairs)
    problem = Pairs(embeddings, pairs, both, exclusions, known.weight, products=products, rows=known.rows)
    loss, found, counts = contrastive_losses(problem, logit_scale, impl, bias=logit_bias)
    return SigmoidOutput(loss, found.loss, counts, pairs)
