"""Patches of a signal -> tokens that carry the waveform and, on a logarithmic scale, its spectrum."""

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


class SlowSpectrum(nn.Module):
    """The standardised log spectrum of long patches: rhythms slower than a patch, such as breathing.

    Nothing here is trained. The mean over channels, and over patches by their observed share.

    Args:
        patch_s: Seconds of one patch; lines are 1 / patch_s Hz apart.
        points: Points at which it is read: lines up to points / (2 * patch_s) Hz.
    """

    taper: Tensor

    def __init__(self, *, patch_s: float, points: int) -> None:
        super().__init__()
        self.patch_s, self.points, self.lines = patch_s, points, points // 2 + 1
        self.standardise = Standardise(self.lines)
        self.register_buffer("taper", TAPER_FLOOR + torch.hann_window(points, periodic=False), persistent=False)

    def forward(
        self, waveform: Float[Tensor, "batch channel time"], observed: Bool[Tensor, "batch time"], rate_hz: float
    ) -> Float[Tensor, "batch line"]:
        points, share = patches(waveform, observed, rate_hz, self.patch_s, self.points)
        lines = self.standardise(log_spectrum(points, self.taper)).mean(1)
        total = share.sum(1, keepdim=True)
        weight = share / torch.where(total > 0, total, 1.0)
        return (lines * weight[..., None]).sum(1).to(points.dtype)

    @torch.no_grad()
    def calibrate(
        self, waveform: Float[Tensor, "batch channel time"], observed: Bool[Tensor, "batch time"], rate_hz: float
    ) -> None:
        """Learn the scale from patches that were fully observed."""
        points, share = patches(waveform, observed, rate_hz, self.patch_s, self.points)
        self.standardise.learn(_whole(log_spectrum(points, self.taper), share))


class PatchEmbed(nn.Module):
    """Linear in the waveform and in the standardised log spectrum of each patch, so that energy needs no learning.

    A linear layer over samples cannot tell how strong a rhythm is without knowing its phase; with little data a
    network hardly learns to. The log spectrum says it outright, and its standardisation by training people keeps
    what all windows share from drowning what tells them apart.

    Args:
        patch_s: Seconds of one patch.
        points: Points at which a patch is read, whatever the sampling rate: lines up to points / (2 * patch_s) Hz.
    """

    taper: Tensor

    def __init__(self, *, patch_s: float, points: int, width: int) -> None:
        super().__init__()
        self.patch_s, self.points = patch_s, points
        self.waveform = nn.Linear(points, width)
        self.standardise = Standardise(points // 2 + 1)
        self.spectrum = nn.Linear(points // 2 + 1, width, bias=False)
        self.share = nn.Linear(1, width, bias=False)
        taper = TAPER_FLOOR + torch.hann_window(points, periodic=False)
        self.register_buffer("taper", taper, persistent=False)

    def forward(
        self, waveform: Float[Tensor, "batch channel time"], observed: Bool[Tensor, "batch time"], rate_hz: float
    ) -> tuple[Float[Tensor, "batch channel patch width"], Float[Tensor, "batch patch"]]:
        """Tokens, and the observed share of each patch."""
        points, share = patches(waveform, observed, rate_hz, self.patch_s, self.points)
        lines = self.standardise(log_spectrum(points, self.taper)).to(points.dtype)
        return self.waveform(points) + self.spectrum(lines) + self.share(share[:, None, :, None]), share

    @torch.no_grad()
    def calibrate(
        self, waveform: Float[Tensor, "batch channel time"], observed: Bool[Tensor, "batch time"], rate_hz: float
    ) -> None:
        """Learn the scale of the spectrum from patches that were fully observed."""
        points, share = patches(waveform, observed, rate_hz, self.patch_s, self.points)
        self.standardise.learn(_whole(log_spectrum(points, self.taper), share))


def _whole(
    lines: Float[Tensor, "batch channel patch line"], share: Float[Tensor, "batch patch"]
) -> Float[Tensor, "row line"]:
    return lines.movedim(1, 2)[share >= 1 - 1e-6].flatten(0, 1)
