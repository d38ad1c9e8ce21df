"""Spectra of patches -> tokens that carry waveform and spectrum; of long patches -> slow rhythms of a window."""

from jaxtyping import Bool, Float
from torch import Tensor, nn

from hdt_fm.layers.spectra import PatchSpectra


class PatchEmbed(nn.Module):
    """Linear in the waveform and in the standardised log spectrum of each patch, so that energy needs no learning.

    A linear layer over samples cannot tell how strong a rhythm is without knowing its phase; with little data a
    network hardly learns to. The log spectrum says it outright, and its standardisation by training people keeps
    what all windows share from drowning what tells them apart.

    Args:
        patch_s, points: As in `PatchSpectra`.
    """

    def __init__(self, *, patch_s: float, points: int, width: int) -> None:
        super().__init__()
        self.spectra = PatchSpectra(patch_s=patch_s, points=points)
        self.waveform = nn.Linear(points, width)
        self.spectrum = nn.Linear(self.spectra.lines, width, bias=False)
        self.share = nn.Linear(1, width, bias=False)

    def forward(
        self, waveform: Float[Tensor, "batch channel time"], observed: Bool[Tensor, "batch time"], rate_hz: float
    ) -> tuple[Float[Tensor, "batch channel patch width"], Float[Tensor, "batch patch"]]:
        """Tokens, and the observed share of each patch."""
        points, lines, share = self.spectra(waveform, observed, rate_hz)
        return self.waveform(points) + self.spectrum(lines) + self.share(share[:, None, :, None]), share


def slow_rhythms(
    lines: Float[Tensor, "batch channel patch line"], share: Float[Tensor, "batch patch"]
) -> Float[Tensor, "batch line"]:
    """Mean of spectra over channels, and over patches by their observed share; 0 where none was observed."""
    total = share.sum(1, keepdim=True)
    weight = share / (total + (total == 0))
    return (lines.mean(1) * weight[..., None]).sum(1)
