"""Symmetric contrastive loss over every pair of modalities, with absent rows and near rows left out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hdt_fm.ops.contrastive import chunked, reference
from hdt_fm.ops.contrastive.pairs import Pairs, all_pairs, exclusions_of
from hdt_fm.schema.errors import ShapeError, unknown_name

Impl = Literal["auto", "reference", "chunked"]
IMPLEMENTATIONS: Mapping[str, Callable[[Pairs, Tensor], Tensor]] = MappingProxyType(
    {"reference": reference.pair_losses, "chunked": chunked.pair_losses}
)
# Above this the reference's few (rows x rows) arrays cost more time and memory than computing blocks twice.
REFERENCE_ROWS = 512


@dataclass(frozen=True)
class ContrastiveOutput:
    """A loss and what it rested on.

    Attributes:
        loss: Mean of `pair_loss` over pairs with two rows or more; exactly 0 if there is none.
        pair_loss: Per pair, in nats; 0 where a pair has fewer than two rows.
        pair_rows: Rows where both modalities are present.
        pairs: Modality numbers of each pair, in the order of `pair_loss`.
    """

    loss: Float[Tensor, ""]
    pair_loss: Float[Tensor, " pair"]
    pair_rows: Int[Tensor, " pair"]
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
    impl: str = "auto",
) -> ContrastiveOutput:
    """Cross-entropy of finding each row's partner among the other rows of its pair, both ways, averaged.

    Args:
        embeddings: Rows of unit length; what absent rows hold (even NaN) is not read.
        logit_scale: Positive multiplier of cosines (1 / temperature), not its log; one, or one for each pair.
        exclude_within_s: Rows of one subject at most so far apart are not each other's negatives; inf for
            all rows of a subject, None for off. The positive always stays.
        of_person: Modalities that are the same in all rows of a subject: in their pairs no row of the subject is a
            negative, whatever `exclude_within_s` says.
        impl: "reference", "chunked", or "auto" (by the number of rows only, so that runs repeat).

    Returns:
        The loss in nats, log(rows) at chance level, and what it rested on. A row without any negative
        counts as 0 and stays in its pair's mean.

    Raises:
        ShapeError: If `logit_scale` is neither one number nor one for each pair.
        ConfigError: If the exclusion lacks `subject` or `time_s`.
        UnknownNameError: If `impl` is not in the table.

    Numerics: float32 logits and sums for half-precision rows (also under autocast), float64 for float64;
    implementations agree to 1e-5 in float32 and 1e-10 in float64, loss and gradients.
    Source: van den Oord et al. 2018, eq. 4, in both directions (Radford et al. 2021, fig. 3).
    """
    pairs = all_pairs(len(embeddings))
    exclusions = exclusions_of(pairs, of_person, subject, time_s, exclude_within_s)
    with torch.autocast(embeddings.device.type, enabled=False):
        exact = embeddings.to(torch.promote_types(embeddings.dtype, torch.float32))
        scale = _scale_per_pair(logit_scale, len(pairs)).to(exact.dtype)
        rows = tuple((present[:, i] & present[:, j]).nonzero().squeeze(1) for i, j in pairs)
        loss, pair_loss, counts = contrastive_losses(Pairs(exact, pairs, rows, exclusions), scale, impl)
    return ContrastiveOutput(loss=loss, pair_loss=pair_loss, pair_rows=counts, pairs=pairs)


def contrastive_losses(
    problem: Pairs, scale: Float[Tensor, " pair"], impl: str
) -> tuple[Float[Tensor, ""], Float[Tensor, " pair"], Int[Tensor, " pair"]]:
    """Mean over pairs with two rows or more, each pair's loss, and each pair's rows, of whatever was paired."""
    exact = problem.embeddings
    counts = torch.tensor([len(index) for index in problem.rows], dtype=torch.long, device=exact.device)
    use = [number for number, index in enumerate(problem.rows) if len(index) >= 2]
    # An empty slice: 0 with a path to both inputs, so that backward gives zeros, whatever absent rows hold.
    pair_loss = exact[:, :0].sum() + 0.0 * scale
    if use:
        some = Pairs(
            exact,
            tuple(problem.pairs[k] for k in use),
            tuple(problem.rows[k] for k in use),
            tuple(problem.exclusions[k] for k in use),
        )
        which = torch.tensor(use, device=exact.device)
        losses = _implementation(impl, max(len(index) for index in some.rows))(some, scale[which])
        pair_loss = pair_loss.index_add(0, which, losses)
    return pair_loss.sum() / max(1, len(use)), pair_loss, counts


def _scale_per_pair(logit_scale: Tensor, pairs: int) -> Tensor:
    if logit_scale.shape not in ((), (pairs,)):
        raise ShapeError(
            "logit_scale does not fit the pairs",
            expected=f"one number or {pairs} numbers, one for each pair",
            got=f"shape {tuple(logit_scale.shape)}",
        )
    return logit_scale.expand(pairs)


def _implementation(impl: str, rows: int) -> Callable[[Pairs, Tensor], Tensor]:
    name = ("reference" if rows <= REFERENCE_ROWS else "chunked") if impl == "auto" else impl
    if name not in IMPLEMENTATIONS:
        raise unknown_name("implementation", name, ("auto", *IMPLEMENTATIONS), where="ops/contrastive")
    return IMPLEMENTATIONS[name]
