"""A transformer over patches of a sampled signal: any rate, any channel count, any window length."""

import torch
from einops import rearrange, repeat
from jaxtyping import Bool, Float
from torch import Tensor, nn

from hdt_fm.layers.attention import TransformerBlock
from hdt_fm.layers.channels import ChannelTable, SummaryToken
from hdt_fm.layers.input_scale import InputScale
from hdt_fm.layers.patches import patches
from hdt_fm.layers.rotary import rotary_angles
from hdt_fm.layers.slots import slot_means, slot_shares


class PatchTransformer(nn.Module):
    """Tokens are patches of single channels; their order in time is rotary, their channel a learned vector.

    Channels: the embedding does not change when channels are permuted together with the rows of the
    channel tables. It does change when channels alone are permuted, so axes can be told apart; channel
    numbers past the table (16) share its last row and cannot be.

    Args:
        width: Components of tokens and of the embedding; divisible by 2 * heads.
        patch_s: Seconds of one patch. Cost grows with channels * window_s / patch_s (squared in attention).
        patch_points: Points at which a patch is read, whatever the sampling rate.
        slots: Equal stretches of the window that are pooled apart, so that the embedding knows when, not only what.
        center, scale: Input statistics of the training people, in the modality's unit.

    Units: values in the modality's canonical unit; the embedding has none (layer-normalised).
    """

    def __init__(
        self,
        *,
        width: int = 96,
        depth: int = 3,
        heads: int = 4,
        patch_s: float = 1.0,
        patch_points: int = 32,
        slots: int = 6,
        dropout: float = 0.0,
        center: float = 0.0,
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.width, self.patch_s, self.patch_points, self.slots = width, patch_s, patch_points, slots
        self.head_width = width // heads
        self.input_scale = InputScale(center=center, scale=scale)
        self.enter = nn.Linear(patch_points, width)
        self.share = nn.Linear(1, width, bias=False)
        self.channel = ChannelTable(width=width)
        self.level = nn.Linear(2, width, bias=False)
        self.blocks = nn.ModuleList([TransformerBlock(width=width, heads=heads, dropout=dropout) for _ in range(depth)])
        self.norm = nn.LayerNorm(width)
        self.summary = SummaryToken(width=width)
        self.leave = nn.Linear((slots + 1) * width, width)
        self.out_norm = nn.LayerNorm(width)

    def forward(
        self,
        values: Float[Tensor, "batch channel time"],
        observed: Bool[Tensor, "batch time"],
        sampling_rate_hz: float,
    ) -> Float[Tensor, "batch width"]:
        """Embed each window; a window without an observed sample gives one fixed vector."""
        waveform, summary = self.input_scale(values, observed)
        points, share = patches(waveform, observed, sampling_rate_hz, self.patch_s, self.patch_points)
        channels, count = points.shape[1], points.shape[2]
        tokens = self.enter(points) + self.share(share[:, None, :, None])
        tokens = tokens + (self.channel(channels) + self.level(summary))[:, :, None]
        x = rearrange(tokens, "batch channel patch width -> batch (channel patch) width")
        weight = repeat(share, "batch patch -> batch (channel patch)", channel=channels)
        position = torch.arange(count, device=x.device, dtype=torch.float32).repeat(channels)
        angles = rotary_angles(position, self.head_width)
        keys = self._keys(weight)
        for block in self.blocks:
            x = block(x, angles, keys)
        pooled = slot_means(self.norm(x), weight, shares=slot_shares(count, self.slots, x.device).repeat(1, channels))
        pooled = rearrange(pooled, "batch slot width -> batch (slot width)")
        return self.out_norm(self.leave(torch.cat((pooled, self.summary(summary)), dim=-1)))

    @staticmethod
    def _keys(weight: Float[Tensor, "batch token"]) -> Bool[Tensor, "batch token"] | None:
        seen = weight > 0
        if bool(seen.all()):
            return None
        # A window without any token may look at all of them: they hold zeros and get no weight in the pool.
        return seen | ~seen.any(1, keepdim=True)
