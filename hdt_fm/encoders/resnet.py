"""A small 1-D convolutional encoder, the plain counterpart of the transformer."""

import itertools
import math

import torch
from einops import rearrange, repeat
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from hdt_fm.layers.channels import ChannelTable, SummaryToken
from hdt_fm.layers.input_scale import InputScale
from hdt_fm.layers.patches import points_of


class ConvBlock(nn.Module):
    """Two convolutions beside a shortcut; halves the time axis."""

    def __init__(self, *, inside: int, outside: int, groups: int = 8) -> None:
        super().__init__()
        self.first = nn.Conv1d(inside, outside, 7, stride=2, padding=3, bias=False)
        self.first_norm = nn.GroupNorm(math.gcd(groups, outside), outside)
        self.second = nn.Conv1d(outside, outside, 7, padding=3, bias=False)
        self.second_norm = nn.GroupNorm(math.gcd(groups, outside), outside)
        self.shortcut = nn.Conv1d(inside, outside, 1, stride=2, bias=False)

    def forward(self, x: Float[Tensor, "batch width time"]) -> Float[Tensor, "batch outside half"]:
        hidden = F.gelu(self.first_norm(self.first(x)))
        return F.gelu(self.second_norm(self.second(hidden)) + self.shortcut(x))


class Resnet(nn.Module):
    """Convolutions over the waveform at a fixed rate, each channel by itself, pooled over what was observed.

    Channels: as in `PatchTransformer`, a learned vector per channel number is added, here after the stem.

    Args:
        width: Components of the embedding.
        depth: Convolution blocks; each halves the time axis and the last ones are `width` wide.
        rate_hz: Every window is read at this rate, so that a kernel spans the same time on every device.
        center, scale: Input statistics of the training people, in the modality's unit.
    """

    def __init__(
        self, *, width: int = 96, depth: int = 3, rate_hz: float = 32.0, center: float = 0.0, scale: float = 1.0
    ) -> None:
        super().__init__()
        self.width, self.rate_hz = width, rate_hz
        self.input_scale = InputScale(center=center, scale=scale)
        first = max(16, width // 4)
        # Two planes in: the waveform and what of it was observed.
        self.stem = nn.Conv1d(2, first, 15, stride=4, padding=7)
        self.channel = ChannelTable(width=first)
        sizes = [first, *(min(width, first * 2 ** (k + 1)) for k in range(depth))]
        self.blocks = nn.ModuleList([ConvBlock(inside=a, outside=b) for a, b in itertools.pairwise(sizes)])
        self.summary = SummaryToken(width=width)
        self.readout = nn.Linear(sizes[-1] + width, width)
        self.direct = 0
        self.out_norm = nn.LayerNorm(width)

    def forward(
        self,
        values: Float[Tensor, "batch channel time"],
        observed: Bool[Tensor, "batch time"],
        sampling_rate_hz: float,
    ) -> Float[Tensor, "batch width"]:
        """Embed each window; a window without an observed sample gives one fixed vector."""
        return self.out_norm(self.readout(torch.cat(self.pooled(values, observed, sampling_rate_hz), dim=-1)))

    def pooled(
        self,
        values: Float[Tensor, "batch channel time"],
        observed: Bool[Tensor, "batch time"],
        sampling_rate_hz: float,
    ) -> list[Float[Tensor, "batch _"]]:
        """What the last layer reads: the mean over time; level and spread."""
        waveform, summary = self.input_scale(values, observed)
        channels = values.shape[1]
        count = max(1, round(values.shape[-1] / sampling_rate_hz * self.rate_hz))
        points, share = points_of(waveform, observed, sampling_rate_hz, self.rate_hz, count)
        planes = torch.stack((points, repeat(share, "batch time -> batch channel time", channel=channels)), dim=2)
        x = self.stem(rearrange(planes, "batch channel plane time -> (batch channel) plane time"))
        x = F.gelu(x + repeat(self.channel(channels), "channel width -> (batch channel) width 1", batch=len(values)))
        for block in self.blocks:
            x = block(x)
        by_channel = rearrange(x, "(batch channel) width time -> batch channel width time", channel=channels)
        weight = F.adaptive_avg_pool1d(share[:, None], x.shape[-1])
        total = weight.sum(-1)
        pooled = (by_channel.mean(1) * weight).sum(-1) / torch.where(total > 0, total, 1.0)
        return [pooled, self.summary(summary)]
