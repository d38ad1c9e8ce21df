"""From a window in its unit to a waveform that a network can read, without losing the level."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

# Parts of the cohort's scale. The first keeps a dead-flat window from being blown up to unit noise; the
# second only keeps the logarithm finite.
FLAT_SHARE = 0.05
LOG_SHARE = 1e-3


def observed_moments(
    values: Float[Tensor, "batch channel time"],
    observed: Bool[Tensor, "batch time"],
    weight: Float[Tensor, "batch time"] | None = None,
) -> tuple[Float[Tensor, "batch channel"], Float[Tensor, "batch channel"]]:
    """Mean and variance over the observed samples of each window and channel; 0 where none was observed.

    Args:
        weight: How much each sample counts, 0 where unobserved; None counts all alike.

    Numerics: two passes, so a small variance on a large level keeps its digits. NaN where unobserved is ignored.
    """
    seen = observed[:, None, :]
    if weight is not None:
        share = (weight / weight.sum(-1, keepdim=True).clamp(min=torch.finfo(weight.dtype).tiny))[:, None]
        mean = (torch.where(seen, values, 0.0) * share).sum(-1)
        return mean, (torch.where(seen, values - mean[..., None], 0.0).square() * share).sum(-1)
    count = seen.sum(-1).clamp(min=1).to(values.dtype)
    mean = torch.where(seen, values, 0.0).sum(-1) / count
    deviation = torch.where(seen, values - mean[..., None], 0.0)
    return mean, deviation.square().sum(-1) / count


class InputScale(nn.Module):
    """Standardise each window and channel by itself, and hand its level and spread on as two numbers.

    Args:
        center: Typical level of the modality in the training people, in its unit.
        scale: Typical deviation in the training people, in its unit; positive.

    Units: in, the modality's canonical unit; out, standard deviations (waveform), cohort scales (summary).
    """

    def __init__(self, *, center: float = 0.0, scale: float = 1.0) -> None:
        super().__init__()
        self.center = float(center)
        # A constant training signal has scale 0; its windows are then read in their own unit.
        self.scale = float(scale) if scale > 0 else 1.0

    def forward(
        self,
        values: Float[Tensor, "batch channel time"],
        observed: Bool[Tensor, "batch time"],
        weight: Float[Tensor, "batch time"] | None = None,
    ) -> tuple[Float[Tensor, "batch channel time"], Float[Tensor, "batch channel 2"]]:
        """Returns the waveform (0 where unobserved) and per channel (asinh of the level, log of the spread).

        asinh is the identity near the cohort's range and a logarithm far off, so that a device whose
        arbitrary unit is a thousand times larger still gives a finite, ordered number.

        Args:
            weight: As in `observed_moments`.
        """
        seen = observed[:, None, :]
        # Cleared first, and not only at the end: 0 * NaN in a gradient is NaN.
        values = torch.where(seen, values, 0.0)
        mean, variance = observed_moments(values, observed, weight)
        # A root of a sum, not a sum of roots: its gradient is finite for a flat window.
        spread = torch.sqrt(variance + (FLAT_SHARE * self.scale) ** 2)
        waveform = torch.where(seen, (values - mean[..., None]) / spread[..., None], 0.0)
        level = torch.asinh((mean - self.center) / self.scale)
        log_spread = 0.5 * torch.log(variance / self.scale**2 + LOG_SHARE**2)
        summary = torch.stack((level, log_spread), dim=-1)
        return waveform, torch.where(seen.any(-1, keepdim=True), summary, 0.0)
