"""Where the readouts of several modalities start: what they share and what is their own, in closed form."""

from collections.abc import Iterable, Mapping, Sequence
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
        direct: Last features, which the embedding holds as they are, beside what the readout gives.
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
    was strong would else leave no component to the few on level or slow rhythms. What `direct` features tell is left
    out of it, since the embedding has them as they are.

    What tells cohorts apart has no say: rows are centered by their cohort, and nothing is read in
    which cohorts differ in the mean. Every device has a level of its own; it is no news of a person, and added to all
    windows of a cohort it would drown how they differ. Each cohort gets as many of the shared components as any
    other: the modalities of one that agree on much would else leave none to another.

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
    views = [part.rows.new_zeros(len(present), part.rows.shape[1]) for part in scaled]
    for view, here, part in zip(views, present.T, scaled, strict=True):
        view[here] = part.rows
    common = _shared(views, present, _cohorts(parts.values(), len(present)), shared)
    for pooled, first, part in zip(parts.values(), common, scaled, strict=True):
        rows = part.rows
        first = first / (rows @ first).square().mean().sqrt().clamp(min=SCALE_FLOOR)
        sizes = [block.shape[1] for block in pooled.blocks]
        even = torch.cat([rows.new_full((size,), (sum(sizes) / len(sizes) / size) ** 0.5) for size in sizes])[:, None]
        known = torch.cat((first, torch.eye(len(even), dtype=even.dtype)[:, len(even) - pooled.direct :]), dim=1)
        free = pooled.readout.out_features - shared
        rest = own_directions(rows * even.T, known / even, count=free, ridge=RIDGE) * even
        weight = (part.alike @ torch.cat((first, rest), dim=1)).T / part.scale
        pooled.readout.weight.copy_(weight)
        pooled.readout.bias.copy_(-weight @ part.center)


def _cohorts(parts: Iterable[Pooled], windows: int) -> Int[Tensor, " window"]:
    """Number of each window's cohort; 0 where no modality knows it."""
    number = torch.zeros(windows, dtype=torch.long)
    for part in parts:
        if part.cohort is not None:
            number[part.here.cpu()] = part.cohort
    return number


def _shared(
    views: Sequence[Float[Tensor, "window _"]],
    present: Bool[Tensor, "window view"],
    cohort: Int[Tensor, " window"],
    dim: int,
) -> list[Float[Tensor, "_ {dim}"]]:
    """Directions of what is shared within each cohort, side by side; zeros for a modality that a cohort lacks."""
    able = [
        own for number in cohort.unique() if (present[own := (cohort == number).nonzero().squeeze(1)].sum(1) > 1).any()
    ]
    if len(able) < 2:
        return shared_directions(views, present, dim=dim, ridge=RIDGE)
    sizes = [len(some) for some in torch.arange(dim).tensor_split(len(able))]
    found = [
        shared_directions([view[own] for view in views], present[own], dim=size, ridge=RIDGE)
        for own, size in zip(able, sizes, strict=True)
    ]
    return [torch.cat(some, dim=1) for some in zip(*found, strict=True)]


@dataclass(frozen=True)
class Standardised:
    """Features by the center of their cohort and on one scale; those without variance are zeros.

    Attributes:
        center, scale: Of all rows; infinite where there is no variance.
        alike: Projects onto the directions in which cohorts have one mean; the rows lie there.
    """

    rows: Float[Tensor, "row feature"]
    center: Float[Tensor, " feature"]
    scale: Float[Tensor, " feature"]
    alike: Float[Tensor, "feature feature"]


def _standardised(features: Float[Tensor, "row feature"], cohort: Int[Tensor, " row"] | None = None) -> Standardised:
    center, spread = features.mean(0), features.std(0)
    own, level = features - center, features.new_zeros(0, features.shape[1])
    if cohort is not None:
        number, cohort = cohort.unique(return_inverse=True)
        level = torch.stack([own[cohort == k].mean(0) for k in range(len(number))])
        own = own - level[cohort]
        spread = own.std(0)
    scale = torch.where(spread > SCALE_FLOOR * spread.max(), spread, torch.inf)
    rows, level = own / scale, level / scale
    alike = torch.eye(len(scale), dtype=rows.dtype)
    if len(level) > 1:
        alike = alike - torch.linalg.pinv(level) @ level
        rows = rows @ alike
    return Standardised(rows, center, scale, alike)
