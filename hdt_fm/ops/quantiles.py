"""Quantiles that never cross, and what a mean with quantiles has missed."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def rising(raw: Float[Tensor, "*place level"], middle: int) -> Float[Tensor, "*place level"]:
    """Free numbers -> rising ones: that at `middle` stays, the others become sums of positive steps away from it."""
    center = raw[..., middle : middle + 1]
    up = F.softplus(raw[..., middle + 1 :]).cumsum(-1)
    down = F.softplus(raw[..., :middle]).flip(-1).cumsum(-1).flip(-1)
    return torch.cat((center - down, center, center + up), dim=-1)


def middle_of(levels: Sequence[float]) -> int:
    """Place of the level nearest to the median."""
    return min(range(len(levels)), key=lambda place: abs(levels[place] - 0.5))


def forecast_loss(
    output: Float[Tensor, "batch horizon mean_and_level"],
    target: Float[Tensor, "batch horizon"],
    levels: Sequence[float],
) -> Float[Tensor, ""]:
    """Squared error of the mean and four times the mean pinball loss of the quantiles, over known targets.

    Args:
        target: NaN where unknown; 0 with zero gradient where nothing is known.

    The factor brings both to one size where errors are normal.
    """
    known = target.isfinite()
    truth = target.nan_to_num()
    squared = torch.where(known, (output[..., 0] - truth) ** 2, 0.0).sum()
    edge = torch.tensor(tuple(levels), dtype=output.dtype, device=output.device)
    under = truth[..., None] - output[..., 1:]
    pinball = torch.maximum(edge * under, (edge - 1) * under).mean(dim=-1)
    return (squared + 4 * torch.where(known, pinball, 0.0).sum()) / known.sum().clamp(min=1)
