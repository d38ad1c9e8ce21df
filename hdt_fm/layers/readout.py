"""Where the readouts of several modalities start: what they share and what is their own, in closed form."""

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from hdt_fm.ops.multiview import own_directions, shared_directions

RIDGE = 0.3
# A feature that varies a thousand times less than the strongest one is rounding.
SCALE_FLOOR = 1e-3


@torch.no_grad()
def start_readouts(
    parts: Mapping[str, tuple[nn.Linear, Float[Tensor, "_ _"], Bool[Tensor, " window"]]], shared: int
) -> None:
    """Write the weights of each modality's readout; components have about unit variance.

    Args:
        parts: Per modality its readout, its features (one row for each window that has it) and which windows have it.
        shared: First components, for what modalities share; the rest of a readout is for what is a modality's own.

    Raises:
        ConfigError: If no two modalities are present together.
    """
    if not parts:
        return
    present = torch.stack([here.cpu() for _, _, here in parts.values()], dim=1)
    centers, scales, views = [], [], []
    for column, (_, features, _) in enumerate(parts.values()):
        center, spread = features.mean(0), features.std(0)
        scale = torch.where(spread > SCALE_FLOOR * spread.max(), spread, torch.inf)
        view = features.new_zeros(len(present), features.shape[1])
        view[present[:, column]] = (features - center) / scale
        centers.append(center)
        scales.append(scale)
        views.append(view)
    shared = min(shared, *(readout.out_features for readout, _, _ in parts.values()))
    common = shared_directions(views, present, dim=shared, ridge=RIDGE)
    for column, (readout, _, _) in enumerate(parts.values()):
        rows, first = views[column][present[:, column]], common[column]
        first = first / (rows @ first).square().mean().sqrt().clamp(min=SCALE_FLOOR)
        rest = own_directions(rows, first, count=readout.out_features - shared, ridge=RIDGE)
        weight = torch.cat((first, rest), dim=1).T / scales[column]
        readout.weight.copy_(weight)
        readout.bias.copy_(-weight @ centers[column])
