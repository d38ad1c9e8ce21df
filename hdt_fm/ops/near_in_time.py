"""Windows of one person near in time against other windows: several positives a row."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hdt_fm.schema.errors import ConfigError

NEGATIVES = ("others", "all")


@dataclass(frozen=True)
class Company:
    """Which windows of a batch are positives and negatives of each other; no window is either of itself.

    `stranger` are windows of two people.
    """

    positive: Bool[Tensor, "batch batch"]
    negative: Bool[Tensor, "batch batch"]
    stranger: Bool[Tensor, "batch batch"]


def company(
    subject: Int[Tensor, " batch"], time_s: Float[Tensor, " batch"], *, within_s: float, negatives: str
) -> Company:
    """Positives: other windows of the person at most `within_s` away (inf: any). Negatives: other people's windows,
    and with "all" the person's own far ones.

    Raises:
        ConfigError: If `within_s` is not positive or `negatives` is neither "others" nor "all".
    """
    if not within_s > 0 or negatives not in NEGATIVES:
        raise ConfigError(
            "Positives and negatives cannot be told apart",
            where="ops/near_in_time",
            expected=f"within_s > 0 (inf for any window of the person), negatives one of: {', '.join(NEGATIVES)}",
            got=f"within_s {within_s}, negatives {negatives}",
        )
    same = subject[:, None] == subject[None, :]
    near = same
    if not math.isinf(within_s):
        # float64 and relative to the earliest: seconds since 1970 do not fit float32.
        times = time_s.double() - time_s.double().min() if len(time_s) else time_s.double()
        near = same & ((times[:, None] - times[None, :]).abs() <= within_s)
    itself = torch.eye(len(subject), dtype=torch.bool, device=subject.device)
    return Company(positive=near & ~itself, negative=~near if negatives == "all" else ~same, stranger=~same)


@dataclass(frozen=True)
class NearInTimeOutput:
    """A loss and what it rested on.

    Attributes:
        loss: Mean of `group_loss` over groups in which a row counts; exactly 0 if there is none.
        group_loss: Per group, in nats; 0 where no row counts.
        group_rows: Rows with a positive and a negative.
        groups: (query's modality, key's modality) of each group.
    """

    loss: Float[Tensor, ""]
    group_loss: Float[Tensor, " group"]
    group_rows: Int[Tensor, " group"]
    groups: tuple[tuple[int, int], ...]


def near_in_time_loss(
    embeddings: Float[Tensor, "modality batch dim"],
    present: Bool[Tensor, "batch modality"],
    among: Company,
    *,
    logit_scale: Float[Tensor, ""],
    across: bool = False,
    of_person: Sequence[int] = (),
) -> NearInTimeOutput:
    """Mean over a row's positives p of log(1 + sum over its negatives n of exp(scale (cos_n - cos_p))).

    A positive is compared with the negatives alone: were the other positives in the sum, they would push each other
    away, and the best loss would be log(positives) and not 0. Rows without a positive or a negative do not count.

    Args:
        embeddings: Rows of unit length; what absent rows hold (even NaN) is not read.
        logit_scale: Positive multiplier of cosines, not its log.
        across: Rows of one modality also look for near windows in each other modality.
        of_person: Modalities that are the same in all rows of a subject. With them only strangers are negatives; among
            themselves they are no group, since a row would be its own positive.

    Returns:
        The loss in nats, log(1 + negatives) at chance level, and what it rested on.

    Numerics: float32 logits and sums for half-precision rows (also under autocast), float64 for float64.
    Source: Khosla et al. 2020, eq. 2 (mean over positives outside the logarithm), the other positives left out of the
        sum. Abbaspourazad et al. 2024 take any two windows of a person as positives: within_s = inf.
    """
    modalities = len(embeddings)
    every = [(i, j) for i in range(modalities) for j in range(modalities) if across or i == j]
    groups = tuple((i, j) for i, j in every if not {i, j} <= set(of_person))
    strangers = replace(among, negative=among.stranger)
    with torch.autocast(embeddings.device.type, enabled=False):
        exact = embeddings.to(torch.promote_types(embeddings.dtype, torch.float32))
        scale = logit_scale.to(exact.dtype)
        found = [
            _group(exact, present, strangers if {i, j} & set(of_person) else among, scale, i, j) for i, j in groups
        ]
        counts = torch.tensor([rows for _, rows in found], dtype=torch.long, device=exact.device)
        # An empty slice: 0 with a path to every input, whatever absent rows hold.
        nothing = exact[:, :0].sum() + 0.0 * scale
        group_loss = torch.stack([nothing, *(nothing if loss is None else loss for loss, _ in found)])[1:]
        loss = group_loss.sum() / max(1, int((counts > 0).sum()))
    return NearInTimeOutput(loss=loss, group_loss=group_loss, group_rows=counts, groups=groups)


def _group(
    embeddings: Tensor, present: Tensor, among: Company, scale: Tensor, i: int, j: int
) -> tuple[Tensor | None, int]:
    query, key = present[:, i].nonzero().squeeze(1), present[:, j].nonzero().squeeze(1)
    positive, negative = among.positive[query][:, key], among.negative[query][:, key]
    counts = positive.any(1) & negative.any(1)
    rows = int(counts.sum())
    if not rows:
        return None, 0
    logits = scale * (embeddings[i, query[counts]] @ embeddings[j, key].T)
    return multi_positive(logits, positive[counts], negative[counts]), rows


def multi_positive(
    logits: Float[Tensor, "row other"], positive: Bool[Tensor, "row other"], negative: Bool[Tensor, "row other"]
) -> Float[Tensor, ""]:
    """Mean over rows of the mean over their positives; every row has a positive and a negative."""
    against = torch.logsumexp(logits.masked_fill(~negative, -torch.inf), dim=1, keepdim=True)
    margin = against - logits
    losses = torch.where(positive, torch.logaddexp(margin, torch.zeros_like(margin)), 0.0)
    return (losses.sum(1) / positive.sum(1)).mean()
