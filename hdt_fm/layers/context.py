"""Reductions over context windows of which some do not exist."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def masked_mean(
    values: Float[Tensor, "batch context feature"], observed: Bool[Tensor, "batch context"]
) -> Float[Tensor, "batch feature"]:
    """Mean over observed windows; zeros where there is none. What unobserved windows hold is not read."""
    kept = torch.where(observed[..., None], values, 0.0)
    return kept.sum(1) / observed.sum(1, keepdim=True).clamp(min=1).to(values.dtype)


def last_known(
    values: Float[Tensor, "batch context"],
) -> tuple[Float[Tensor, " batch"], Bool[Tensor, " batch"]]:
    """Newest value that is not NaN, and whether there is one (0 if not)."""
    known = ~values.isnan()
    step = torch.arange(1, values.shape[1] + 1, device=values.device)
    newest = (known * step).amax(1)
    picked = values.nan_to_num(0.0).gather(1, (newest - 1).clamp(min=0)[:, None]).squeeze(1)
    return picked, newest > 0
