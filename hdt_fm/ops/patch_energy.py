"""What a patch of a signal holds, in a few numbers: its level and the log energy of its rhythms, by band."""

from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor


@dataclass(frozen=True)
class Patches:
    """Patches of a batch of windows.

    Attributes:
        level: Mean of each channel.
        energy: Mean power of the lines of each band, summed over channels.
        observed: Every sample of the patch was observed; elsewhere the numbers mean nothing, but are finite.
    """

    level: Float[Tensor, "batch patch channel"]
    energy: Float[Tensor, "batch patch band"]
    observed: Bool[Tensor, "batch patch"]


def points_of_patch(patch_s: float, sampling_rate_hz: float) -> int:
    """Samples of a patch; a signal that is slower than that gets one sample a patch."""
    return max(1, round(patch_s * sampling_rate_hz))


def bands_of_patch(points: int, bands: int) -> Float[Tensor, "band line"]:
    """Which lines, 1 to points / 2 cycles a patch, make up a band: equal widths on a logarithmic axis, rows sum to 1.

    A patch with fewer lines than `bands` has as many bands as lines; a patch of one sample has none.
    """
    lines = points // 2
    count = min(bands, lines)
    weight = torch.zeros(count, lines)
    edges = [round(lines ** (number / count)) for number in range(count + 1)] if count else []
    start = 0
    for number in range(count):
        # Low bands would be empty where the lines are too far apart; each takes one line at least, and leaves enough.
        stop = min(max(edges[number + 1], start + 1), lines - (count - 1 - number))
        weight[number, start:stop] = 1 / (stop - start)
        start = stop
    return weight


def patch_energy(
    values: Float[Tensor, "batch channel time"],
    observed: Bool[Tensor, "batch time"],
    points: int,
    bands: Float[Tensor, "band line"],
) -> Patches:
    """Cut windows into patches of `points` samples and measure each; samples that fill no patch are left out.

    What unobserved samples hold, even NaN, is not read.

    Numerics: float32 at least. Power of a line is |rfft|^2 / points^2 of the patch less its mean.
    """
    with torch.autocast(values.device.type, enabled=False):
        values = values.to(torch.promote_types(values.dtype, torch.float32))
        values = torch.where(observed[:, None], values, torch.zeros_like(values))
        kept = values.shape[-1] // points * points
        cut = rearrange(values[..., :kept], "batch channel (patch point) -> batch patch channel point", point=points)
        level = cut.mean(-1)
        lines = torch.fft.rfft(cut - level[..., None])[..., 1 : points // 2 + 1]
        power = ((lines.real.square() + lines.imag.square()) / points**2).sum(2)
        energy = power @ bands.to(power.dtype).T
    return Patches(level=level, energy=energy, observed=by_patch(observed, points).all(-1))


def by_patch(observed: Bool[Tensor, "batch time"], points: int) -> Bool[Tensor, "batch patch point"]:
    """What was observed of each patch."""
    kept = observed.shape[-1] // points * points
    return rearrange(observed[:, :kept], "batch (patch point) -> batch patch point", point=points)
