"""Patches of a signal and, on a logarithmic scale and standardised by training people, their spectra."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from hdt_fm.layers.patches import patches
from hdt_fm.layers.standardise import Standardise

# Of the power of a window of unit variance: below it, a spectral line is taken as rounding noise.
POWER_FLOOR = 1e-4
# A raised Hann window: the ends of a patch keep some weight, since no other patch overlaps them.
TAPER_FLOOR = 0.08


def log_spectrum(points: Float[Tensor, "*row point"], taper: Float[Tensor, " point"]) -> Float[Tensor, "*row line"]:
    """Log power at 0, 1, ... points/2 cycles a patch, in float32 at least; line 0 is the patch's squared mean."""
    points = points.to(torch.promote_types(points.dtype, torch.float32))
    mean = points.mean(-1, keepdim=True)
    lines = torch.fft.rfft((points - mean) * taper)[..., 1:]
    # real^2 + imag^2 and not abs()^2: the gradient of a modulus is not finite at 0.
    power = (lines.real.square() + lines.imag.square()) / points.shape[-1]
    return torch.log(torch.cat((mean.square(), power), dim=-1) + POWER_FLOOR)


class PatchSpectra(nn.Module):
    """Patches at so many points and their standardised log spectra. Nothing here is trained.

    Args:
        patch_s: Seconds of one patch; lines are 1 / patch_s Hz apart.
        points: Points at which a patch is read, whatever the sampling rate: lines up to points / (2 * patch_s) Hz.
    """

    taper: Tensor

    def __init__(self, *, patch_s: float, points: int) -> None:
        super().__init__()
        self.patch_s, self.points, self.lines = patch_s, points, points // 2 + 1
        self.standardise = Standardise(self.lines)
        self.register_buffer("taper", TAPER_FLOOR + torch.hann_window(points, periodic=False), persistent=False)

    def forward(
        self, waveform: Float[Tensor, "batch channel time"], observed: Bool[Tensor, "batch time"], rate_hz: float
    ) -> tuple[
        Float[Tensor, "batch channel patch point"],
        Float[Tensor, "batch channel patch line"],
        Float[Tensor, "batch patch"],
    ]:
        """Points, lines, and the observed share of each patch."""
        points, share = patches(waveform, observed, rate_hz, self.patch_s, self.points)
        return points, self.standardise(log_spectrum(points, self.taper)).to(points.dtype), share

    @torch.no_grad()
    def calibrate(
        self, waveform: Float[Tensor, "batch channel time"], observed: Bool[Tensor, "batch time"], rate_hz: float
    ) -> None:
        """Learn the scale of each line from patches that were fully observed."""
        points, share = patches(waveform, observed, rate_hz, self.patch_s, self.points)
        lines = log_spectrum(points, self.taper).movedim(1, 2)
        self.standardise.learn(lines[share >= 1 - 1e-6].flatten(0, 1))
