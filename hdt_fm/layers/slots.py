"""Pool tokens over a few stretches of the window, so that what is pooled still tells when it was."""

import torch
from jaxtyping import Float
from torch import Tensor


def slot_shares(count: int, slots: int, device: torch.device) -> Float[Tensor, "slot patch"]:
    """How much each of `count` patches in a row belongs to each of `slots` equal stretches.

    Overlapping triangles, level past the outermost centers, so that every patch has shares that add up to 1. They
    are taken in shares of the window: the same for every patch and window length, and a small shift in time is
    a small change.
    """
    place = ((torch.arange(count, device=device, dtype=torch.float32) + 0.5) / count * slots).clamp(0.5, slots - 0.5)
    center = torch.arange(slots, device=device, dtype=torch.float32) + 0.5
    return (1 - (place - center[:, None]).abs()).clamp(min=0)


def slot_means(
    tokens: Float[Tensor, "batch token width"],
    weight: Float[Tensor, "batch token"],
    *,
    shares: Float[Tensor, "slot token"],
) -> Float[Tensor, "batch slot width"]:
    """Weighted mean of the tokens of each slot; 0 where none of a slot was observed."""
    own = weight[:, None] * shares
    total = own.sum(-1, keepdim=True)
    return (own @ tokens) / torch.where(total > 0, total, 1.0)
