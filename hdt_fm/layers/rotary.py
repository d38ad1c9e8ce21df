"""Rotary positions: attention sees how far apart two tokens are, not where the window began."""

import torch
from jaxtyping import Float
from torch import Tensor

BASE = 10_000.0


def rotary_angles(position: Float[Tensor, " token"], width: int) -> Float[Tensor, "token half"]:
    """Angles of each token for heads of `width` (even) components.

    Source: Su et al. 2021 (RoFormer), eq. 34; components are paired as first half with second half.
    """
    half = width // 2
    frequency = BASE ** (-torch.arange(half, device=position.device, dtype=torch.float32) / half)
    return position.float()[:, None] * frequency


def rotate(x: Float[Tensor, "batch head token width"], angles: Float[Tensor, "token half"]) -> Tensor:
    """Turn each pair of components by its angle; lengths stay as they are."""
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, first * sin + second * cos), dim=-1)
