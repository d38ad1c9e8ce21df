"""Contrastive losses over every pair of modalities, with absent rows and near rows left out."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hdt_fm.ops.contrastive.dispatch import IMPLEMENTATIONS, Kind, choose
from hdt_fm.ops.contrastive.pairs import (
    PairLosses,
    Pairs,
    all_pairs,
    exclusions_of,
    rows_of_pairs,
)
from hdt_fm.ops.contrastive.rows import of_all_rows
from hdt_fm.schema.errors import ShapeError

__all__ = ["IMPLEMENTATIONS", "ContrastiveOutput", "check_fit", "contrastive_loss", "contrastive_losses"]


@dataclass(frozen=True)
class ContrastiveOutput:
    """A loss and what it rested on.

    Attributes:
        loss: Mean of `pair_loss` over pairs with two rows or more; exactly 0 if there is none.
        pair_loss: Per pair, in nats; 0 where a pair has fewer than two rows.
        pair_rows: Rows where both modalities are present.
        empty_rows: Of those, rows without any negative, in pairs with two rows or more; each counts as 0.
        pairs: Modality numbers of each pair, in the order of `pair_loss`.
    """

    loss: Float[Tensor, ""]
    pair_loss: Float[Tensor, " pair"]
    pair_rows: Int[Tensor, " pair"]
    empty_rows: Int[Tensor, " pair"]
    pairs: tuple[tuple[int, int], ...]


def contrastive_loss(
    embeddings: Float[Tensor, "modality batch dim"],
    present: Bool[Tensor, "batch modality"],
    *,
    logit_scale: Float[Tensor, "*pair"],
    subject: Int[Tensor, " batch"] | None = None,
    time_s: Float[Tensor, " batch"] | None = None,
    exclude_within_s: float | None = None,
    of_person: Sequence[int] = (),
    weight: Float[Tensor, " batch"] | None = None,
    direction: str = "both",
    products: str = "exact",
    impl: str = "auto",
    spread: bool = False,
) -> ContrastiveOutput:
    """Cross-entropy of finding each row's partner among the other rows of its pair, both ways, averaged.

    Args:
        embeddings: Rows of unit length; what absent rows hold (even NaN) is not read. Other lengths give the loss of
            the products that they have; NaN in a present row gives NaN.
        logit_scale: Positive multiplier of cosines (1 / temperature), not its log; one, or one for each pair.
        exclude_within_s: Rows of one subject at most so far apart are not each other's negatives; inf for
            all rows of a subject, None for off. The positive always stays.
        of_person: Modalities that are the same in all rows of a subject: in their pairs no row of the subject is a
            negative, whatever `exclude_within_s` says.
        weight: Of each row in its pairs' means, 0 or more; None where all count alike. A row of weight 0 is still a
            negative of others. It has no gradient.
        direction: "first" searches from the modality with the lower number alone, "second" from the other.
        products: What matrix products may round their inputs to; sums and logits stay in float32. "bf16" rounds the
            rows once and uses the matrix units of a CPU that has some, "tf32" those of a GPU for float32 rows.
        impl: A name of `IMPLEMENTATIONS`, or "auto" (by device, precision and rows only, so that runs repeat).
        spread: What is given are this process's rows of a batch that all processes of the default group have together;
            all call this at the same place. The answer is that of the whole batch, on every process.

    Returns:
        The loss in nats, log(rows) at chance level, and what it rested on. A row without any negative
        counts as 0 and stays in its pair's mean.

    Raises:
        ShapeError: If `present`, `weight` or `logit_scale` does not fit the embeddings.
        ConfigError: If the exclusion lacks `subject` or `time_s`, or the implementation cannot run here.
        UnknownNameError: If `impl`, `direction` or `products` is not in its table.

    Numerics: float32 logits and sums for half-precision rows (also under autocast), float64 for float64;
    implementations agree to 1e-5 in float32 and 1e-10 in float64, loss and gradients ("triton": the scale's gradient
    to 5e-5 where partners lie close at a scale of 60 and more).
    Source: van den Oord et al. 2018, eq. 4, in both directions (Radford et al. 2021, fig. 3).
    """
    pairs = all_pairs(len(embeddings))
    check_fit(embeddings, present, weight)
    known = of_all_rows(spread, present, subject, time_s, weight)
    exclusions = exclusions_of(pairs, of_person, known.subject, known.time_s, exclude_within_s)
    both = rows_of_pairs(known.present, pairs)
    problem = Pairs(embeddings, pairs, both, exclusions, known.weight, direction, products, known.rows)
    loss, found, counts = contrastive_losses(problem, logit_scale, impl)
    return ContrastiveOutput(loss, found.loss, counts, found.empty, pairs)


def contrastive_losses(
    problem: Pairs, logit_scale: Float[Tensor, "*pair"], impl: str, *, bias: Float[Tensor, ""] | None = None
) -> tuple[Float[Tensor, ""], PairLosses, Int[Tensor, " pair"]]:
    """Mean over pairs with two rows or more, each pair's loss, and each pair's rows, of whatever was paired.

    Args:
        bias: Of the logits of yes-or-no questions; None for the search among all rows.
    """
    kind: Kind = "softmax" if bias is None else "sigmoid"
    with torch.autocast(problem.embeddings.device.type, enabled=False):
        scale = _scale_per_pair(logit_scale, len(problem.pairs)).to(problem.exact)
        counts = problem.both.sum(1)
        if not problem.pairs:
            nothing = problem.nothing(logit_scale.sum().to(problem.exact))
            return nothing, PairLosses(scale, counts), counts
        run = choose(problem, impl, kind)
        found = run(problem, scale) if bias is None else run(problem, scale, bias.to(problem.exact))
        loss = found.loss.sum() / (counts >= 2).sum().clamp(min=1)
    return loss, found, counts


def check_fit(embeddings: Tensor, present: Tensor, weight: Tensor | None) -> None:
    """Refuse what does not describe the same rows.

    Raises:
        ShapeError: If shapes do not fit.
    """
    shape = (embeddings.shape[1], embeddings.shape[0])
    if tuple(present.shape) != shape:
        raise ShapeError(
            "`present` does not fit the embeddings",
            expected=f"(batch, modality) = {shape}",
            got=str(tuple(present.shape)),
            fix="embeddings are (modality, batch, dim), present is (batch, modality)",
        )
    if weight is not None and tuple(weight.shape) != shape[:1]:
        raise ShapeError(
            "`weight` does not fit the embeddings", expected=f"({shape[0]},)", got=str(tuple(weight.shape))
        )


def _scale_per_pair(logit_scale: Tensor, pairs: int) -> Tensor:
    if logit_scale.shape not in ((), (pairs,)):
        raise ShapeError(
            "logit_scale does not fit the pairs",
            expected=f"one number or {pairs} numbers, one for each pair",
            got=f"shape {tuple(logit_scale.shape)}",
        )
    return logit_scale.expand(pairs)
