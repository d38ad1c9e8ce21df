"""When in the window a token lies: waves of several periods, read at the token's middle."""

import torch
from jaxtyping import Float
from torch import Tensor

PERIODS_S = (8.0, 16.0, 32.0, 64.0, 128.0)
CLOCK_FEATURES = 2 * len(PERIODS_S)


def clock_features(count: int, patch_s: float, device: torch.device) -> Float[Tensor, "patch feature"]:
    """Sine and cosine of the seconds from the window's start; the same on every device, rate and modality.

    Rotary angles tell tokens how far apart they are; pooled over the window, nothing tells when a thing
    happened. Two modalities of one moment agree on just that, so it must reach the embedding.
    """
    middle_s = (torch.arange(count, device=device, dtype=torch.float32) + 0.5) * patch_s
    angle = 2 * torch.pi * middle_s[:, None] / torch.tensor(PERIODS_S, device=device)
    return torch.cat((angle.sin(), angle.cos()), dim=-1)
