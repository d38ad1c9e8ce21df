"""A transformer over single samples: slow series that are measured now and then (glucose, heart rate, temperature)."""

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from hdt_fm.layers.attention import TransformerBlock
from hdt_fm.layers.channels import ChannelTable, SummaryToken
from hdt_fm.layers.durations import durations
from hdt_fm.layers.input_scale import InputScale
from hdt_fm.layers.patches import points_of
from hdt_fm.layers.rotary import rotary_angles
from hdt_fm.layers.slots import slot_means, slot_shares

# Waves of the standardised value that a token holds beside it; the slowest turns once in 8 standard deviations.
WAVES = 4
SLOWEST = 2 * torch.pi / 8


class Irregular(nn.Module):
    """Tokens are samples, each with the seconds that it stands for: attention and pool are integrals over time.

    So the same course, measured every 5 or every 15 minutes or with samples missing, gives nearly the same embedding.
    Channels: merged as in `PatchTransformer`.

    Args:
        width: Components of tokens and of the embedding; divisible by 2 * heads.
        depth: Transformer blocks; with 0, samples are pooled as they are.
        time_unit_s: Attention tells times apart down to this; no shorter than samples usually lie apart, since what
            changes faster between two samples depends on where they fell.
        max_tokens: A window of more samples is read at so many points, means of what lies around them.
        slots: Equal stretches of the window that are pooled apart. A sample stands for one such stretch at most.
        slot_width: Components that a slot keeps.
        dropout: Of the blocks and of what is pooled.
        center, scale: Input statistics of the training people, in the modality's unit.

    Units: values in the modality's canonical unit; the embedding has none (layer-normalised).
    """

    def __init__(
        self,
        *,
        width: int = 64,
        depth: int = 1,
        heads: int = 4,
        time_unit_s: float = 300.0,
        max_tokens: int = 288,
        slots: int = 12,
        slot_width: int = 8,
        dropout: float = 0.0,
        center: float = 0.0,
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.width, self.slots, self.head_width = width, slots, width // heads
        self.time_unit_s, self.max_tokens = time_unit_s, max_tokens
        self.input_scale = InputScale(center=center, scale=scale)
        self.value = nn.Linear(1 + 2 * WAVES, width)
        self.channel = ChannelTable(width=width)
        self.level = nn.Linear(2, width, bias=False)
        self.merge = nn.Sequential(nn.GELU(), nn.Linear(width, width))
        self.blocks = nn.ModuleList([TransformerBlock(width=width, heads=heads, dropout=dropout) for _ in range(depth)])
        self.norm = nn.LayerNorm(width)
        self.summary = SummaryToken(width=width)
        self.narrow = nn.Linear(width, slot_width)
        self.drop = nn.Dropout(dropout)
        self.readout = nn.Linear(slots * slot_width + width, width)
        self.direct = 0
        self.out_norm = nn.LayerNorm(width)

    def forward(
        self,
        values: Float[Tensor, "batch channel time"],
        observed: Bool[Tensor, "batch time"],
        sampling_rate_hz: float,
    ) -> Float[Tensor, "batch width"]:
        """Embed each window; a window without an observed sample gives one fixed vector."""
        pooled = torch.cat(self.pooled(values, observed, sampling_rate_hz), dim=-1)
        return self.out_norm(self.readout(self.drop(pooled)))

    def pooled(
        self,
        values: Float[Tensor, "batch channel time"],
        observed: Bool[Tensor, "batch time"],
        sampling_rate_hz: float,
    ) -> list[Float[Tensor, "batch _"]]:
        """What the last layer reads: every slot; level and spread."""
        window_s = values.shape[-1] / sampling_rate_hz
        most_s = window_s / self.slots
        weight = durations(observed, 1 / sampling_rate_hz, most_s=most_s).to(values.dtype)
        waveform, summary = self.input_scale(values, observed, weight)
        if values.shape[-1] > self.max_tokens:
            rate_hz = self.max_tokens / window_s
            waveform, share = points_of(waveform, observed, sampling_rate_hz, rate_hz, self.max_tokens)
            observed = share > 0
        count = observed.shape[1]
        seconds = durations(observed, window_s / count, most_s=most_s).to(waveform.dtype)
        place = (self.channel(values.shape[1]) + self.level(summary))[:, :, None]
        by_channel = self.value(_waves(waveform)) + place
        x = (by_channel + self.merge(by_channel)).mean(1)
        middle_s = (torch.arange(count, device=x.device, dtype=torch.float32) + 0.5) * (window_s / count)
        angles = rotary_angles(middle_s / self.time_unit_s, self.head_width)
        keys = self._keys(seconds)
        for block in self.blocks:
            x = block(x, angles, keys)
        slots = slot_means(
            self.narrow(self.norm(x)), seconds, shares=slot_shares(count, self.slots, x.device).to(seconds)
        )
        return [rearrange(slots, "batch slot width -> batch (slot width)"), self.summary(summary)]

    @staticmethod
    def _keys(seconds: Float[Tensor, "batch token"]) -> Float[Tensor, "batch token"]:
        """Log weights of attention. A window without any sample looks at all places: they get no weight in the pool."""
        return torch.where((seconds > 0).any(1, keepdim=True), seconds, 1.0).log()


def _waves(x: Float[Tensor, "*place"]) -> Float[Tensor, "*place feature"]:
    """The value, and its sines and cosines, so that a mean over time also knows how often it was high or low."""
    angle = x[..., None] * (SLOWEST * 2.0 ** torch.arange(WAVES, device=x.device)).to(x.dtype)
    return torch.cat((x[..., None], angle.sin(), angle.cos()), dim=-1)
