"""Where the readouts of several modalities start: what they share and what is their own, in closed form."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from hdt_fm.ops.multiview import own_directions, shared_directions

RIDGE = 0.3
# A feature that varies a thousand times less than the strongest one is rounding.
SCALE_FLOOR = 1e-3


@dataclass(frozen=True)
class Pooled:
    """A modality's readout and what it reads.

    Attributes:
        blocks: Side by side what `readout` reads, a block for each kind of thing; a row for each window in `here`.
        here: Which windows have the modality.
        direct: Last features that get a component each, as they are.
        cohort: Number of each row's cohort; None where there is one.
    """

    readout: nn.Linear
    blocks: Sequence[Float[Tensor, "row _"]]
    here: Bool[Tensor, " window"]
    direct: int = 0
    cohort: Int[Tensor, " row"] | None = None


@torch.no_grad()
def start_readouts(parts: Mapping[str, Pooled], shared: int) -> None:
    """Write the weights of each modality's readout; components have about unit variance.

    What is a modality's own is looked for with equal weight for each block: hundreds of numbers on when something
    was strong would else leave no component to the few on level or slow rhythms. A `direct` feature is not mixed
    with others: a probe with few people could not find it again among all components.

    What tells cohorts apart has no say: rows are centered by their cohort, since every device has a level of its own
    and it is no news of a person.

    Args:
        shared: First components, for what modalities share; the rest of a readout is for what is a modality's own.

    Raises:
        ConfigError: If no two modalities are present together.
    """
    if not parts:
        return
    present = torch.stack([part.here.cpu() for part in parts.values()], dim=1)
    shared = min(shared, *(part.readout.out_features for part in parts.values()))
    scaled = [_standardised(torch.cat(list(part.blocks), dim=1).double(), part.cohort) for part in parts.values()]
    views = [rows.new_zeros(len(present), rows.shape[1]) for rows, _, _ in scaled]
    for view, here, (rows, _, _) in zip(views, present.T, scaled, strict=True):
        view[here] = rows
    common = shared_directions(views, present, dim=shared, ridge=RIDGE)
    for part, first, (rows, center, scale) in zip(parts.values(), common, scaled, strict=True):
        first = first / (rows @ first).square().mean().sqrt().clamp(min=SCALE_FLOOR)
        sizes = [block.shape[1] for block in part.blocks]
        even = torch.cat([rows.new_full((size,), (sum(sizes) / len(sizes) / size) ** 0.5) for size in sizes])[:, None]
        free = part.readout.out_features - shared
        direct = torch.eye(len(even), dtype=even.dtype)[:, len(even) - min(part.direct, free) :]
        known = torch.cat((first, direct), dim=1)
        rest = own_directions(rows * even.T, known / even, count=free - direct.shape[1], ridge=RIDGE) * even
        weight = torch.cat((known, rest), dim=1).T / scale
        part.readout.weight.copy_(weight)
        part.readout.bias.copy_(-weight @ center)


def _standardised(
    features: Float[Tensor, "row feature"], cohort: Int[Tensor, " row"] | None = None
) -> tuple[Float[Tensor, "row feature"], Float[Tensor, " feature"], Float[Tensor, " feature"]]:
    """Rows by the center of their cohort, the center and scale of all; features without variance become zeros."""
    center, spread = features.mean(0), features.std(0)
    own = features - center
    if cohort is not None:
        level = torch.stack([own[cohort == number].mean(0) for number in range(int(cohort.max()) + 1)])
        own = own - level[cohort]
        spread = own.std(0)
    scale = torch.where(spread > SCALE_FLOOR * spread.max(), spread, torch.inf)
    return own / scale, center, scale
