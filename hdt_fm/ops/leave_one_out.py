"""Each modality of a window against what the other modalities of that window say together."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hdt_fm.ops.contrastive import check_fit, contrastive_losses
from hdt_fm.ops.contrastive.pairs import Exclusion, Pairs, exclusion_of
from hdt_fm.ops.contrastive.rows import of_all_rows


@dataclass(frozen=True)
class LeaveOneOutOutput:
    """A loss and what it rested on.

    Attributes:
        loss: Mean of `modality_loss` over modalities with two rows or more; exactly 0 if there is none.
        modality_loss: Per modality, in nats; 0 where it has fewer than two rows.
        modality_rows: Rows where the modality and at least one other are present.
    """

    loss: Float[Tensor, ""]
    modality_loss: Float[Tensor, " modality"]
    modality_rows: Int[Tensor, " modality"]


def leave_one_out_loss(
    embeddings: Float[Tensor, "modality batch dim"],
    present: Bool[Tensor, "batch modality"],
    *,
    logit_scale: Float[Tensor, ""],
    others: Float[Tensor, "modality batch dim"] | None = None,
    subject: Int[Tensor, " batch"] | None = None,
    time_s: Float[Tensor, " batch"] | None = None,
    exclude_within_s: float | None = None,
    of_person: Sequence[int] = (),
    products: str = "exact",
    impl: str = "auto",
    spread: bool = False,
) -> LeaveOneOutOutput:
    """Cross-entropy of finding a row's modality from its others together among other rows, both ways, averaged.

    Args:
        embeddings: Rows of unit length; what absent rows hold (even NaN) is not read.
        logit_scale: Positive multiplier of cosines, not its log.
        others: For each modality what the others of a row say together, of unit length; their mean when None. What
            stands where the modality or all others are absent is not read.
        exclude_within_s: As for `contrastive_loss`.
        of_person: Modalities that are the same in all rows of a subject. Where one of them is looked for, or they are
            all that the others of a row consist of, no row of the subject is a negative.
        products, impl, spread: As for `contrastive_loss`.

    Returns:
        The loss in nats, log(rows) at chance level, and what it rested on. With two modalities it is their
        `contrastive_loss`.

    Raises:
        ConfigError: If the exclusion lacks `subject` or `time_s`.
        UnknownNameError: If `impl` is not in the table.

    Numerics: as `contrastive_loss`; others that cancel to nothing (length under 1e-6) count as a zero vector.
    Source: Thapa et al. 2024 (SleepFM), leave-one-out contrastive learning; the mean is brought back to unit length
        here, so that the scale means the same whatever the number of others.
    """
    modalities = len(embeddings)
    check_fit(embeddings, present, None)
    known = of_all_rows(spread, present, subject, time_s)
    exclusions = _exclusions(known.present, of_person, known.subject, known.time_s, exclude_within_s)
    with torch.autocast(embeddings.device.type, enabled=False):
        exact = embeddings.to(torch.promote_types(embeddings.dtype, torch.float32))
        here = present.T[..., None]
        exact = torch.where(here, exact, torch.zeros_like(exact))
        together = mean_of_others(exact, present) if others is None else others.to(exact.dtype)
        pairs = tuple((m, modalities + m) for m in range(modalities))
        both = known.present.T & (known.present.sum(1) > 1)
        problem = Pairs(torch.cat((exact, together)), pairs, both, exclusions, products=products, rows=known.rows)
        loss, found, counts = contrastive_losses(problem, logit_scale, impl)
    return LeaveOneOutOutput(loss, found.loss, counts)


def _exclusions(
    present: Bool[Tensor, "batch modality"],
    of_person: Sequence[int],
    subject: Int[Tensor, " batch"] | None,
    time_s: Float[Tensor, " batch"] | None,
    within_s: float | None,
) -> tuple[Exclusion | None, ...]:
    """For each modality who is no negative."""
    usual, modalities = exclusion_of(subject, time_s, within_s), present.shape[1]
    if not of_person:
        return (usual,) * modalities
    whole = exclusion_of(subject, None, math.inf)
    assert whole is not None
    # Without a rule of nearness no distance is near.
    rule = replace(whole, within_s=-math.inf) if usual is None else usual
    found = []
    for m in range(modalities):
        of_moments = [k for k in range(modalities) if k != m and k not in of_person]
        found.append(whole if m in of_person else replace(rule, whole=~present[:, of_moments].any(1)))
    return tuple(found)


def mean_of_others(
    embeddings: Float[Tensor, "modality batch dim"], present: Bool[Tensor, "batch modality"]
) -> Float[Tensor, "modality batch dim"]:
    """For each modality the mean over the others present, to unit length; zeros where there is none.

    Args:
        embeddings: Zeros where absent.
    """
    modalities = len(embeddings)
    rows = []
    for m in range(modalities):
        # Summed anew for each: the sum over all minus one's own would leave rounding of oneself behind.
        kept = [k for k in range(modalities) if k != m]
        rows.append(embeddings[kept].sum(0) if kept else torch.zeros_like(embeddings[m]))
    # A mean and a sum point the same way.
    total = torch.stack(rows)
    return total / total.norm(dim=-1, keepdim=True).clamp(min=1e-6)
