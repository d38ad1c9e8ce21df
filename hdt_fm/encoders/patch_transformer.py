"""A transformer over patches of a sampled signal: any rate, any channel count, any window length."""

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from hdt_fm.layers.attention import TransformerBlock
from hdt_fm.layers.channels import ChannelTable, SummaryToken
from hdt_fm.layers.input_scale import InputScale
from hdt_fm.layers.patch_embed import PatchEmbed, slow_rhythms
from hdt_fm.layers.rhythm import MOMENTS, Rhythm, fit_rhythm
from hdt_fm.layers.rotary import rotary_angles
from hdt_fm.layers.slots import slot_means, slot_shares
from hdt_fm.layers.spectra import PatchSpectra
from hdt_fm.schema.batch import Signal


class PatchTransformer(nn.Module):
    """Tokens are patches of the signal; their order in time is rotary, their channels are merged by a learned mean.

    Channels: the embedding does not change when channels are permuted together with the rows of the
    channel tables. It does change when channels alone are permuted, so axes can be told apart; channel
    numbers past the table (16) share its last row and cannot be.

    Args:
        width: Components of tokens and of the embedding; divisible by 2 * heads.
        depth: Transformer blocks; with 0, patches are pooled as they are.
        patch_s: Seconds of one patch. Attention's cost grows with (window_s / patch_s) squared.
        patch_points: Points at which a patch is read, whatever the sampling rate.
        slow_s: Seconds of a second, longer kind of patch for rhythms slower than a patch (breathing); None for none.
        slow_points: Points of those.
        rhythm_s: Seconds of the spectrum in which a slow rhythm is looked for, see `Rhythm`; None for none.
        rhythm_low_hz, rhythm_high_hz: Its band.
        rhythm_of: Modality that teaches at the start of pretraining what the rhythm is; None leaves it to the loss.
        slots: Equal stretches of the window that are pooled apart, so that the embedding knows when, not only what.
        slot_width: Components that a slot keeps. Few: what two modalities share at one moment is little, and the
            layer that reads all slots would else learn training windows by heart.
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
        patch_s: float = 1.0,
        patch_points: int = 32,
        slow_s: float | None = None,
        slow_points: int = 128,
        rhythm_s: float | None = None,
        rhythm_low_hz: float = 0.06,
        rhythm_high_hz: float = 0.62,
        rhythm_of: str | None = None,
        slots: int = 30,
        slot_width: int = 8,
        dropout: float = 0.0,
        center: float = 0.0,
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.width, self.patch_s, self.slots, self.head_width = width, patch_s, slots, width // heads
        self.input_scale = InputScale(center=center, scale=scale)
        self.embed = PatchEmbed(patch_s=patch_s, points=patch_points, width=width)
        self.slow = None if slow_s is None else PatchSpectra(patch_s=slow_s, points=slow_points)
        self.rhythm = None
        if rhythm_s is not None:
            self.rhythm = Rhythm(span_s=rhythm_s, low_hz=rhythm_low_hz, high_hz=rhythm_high_hz)
        self.taught_by = rhythm_of if self.rhythm else None
        self.direct = MOMENTS if self.rhythm else 0
        self.channel = ChannelTable(width=width)
        self.level = nn.Linear(2, width, bias=False)
        self.merge = nn.Sequential(nn.GELU(), nn.Linear(width, width))
        self.blocks = nn.ModuleList([TransformerBlock(width=width, heads=heads, dropout=dropout) for _ in range(depth)])
        self.norm = nn.LayerNorm(width)
        self.summary = SummaryToken(width=width)
        self.narrow = nn.Linear(width, slot_width)
        self.drop = nn.Dropout(dropout)
        self.readout = nn.Linear(slots * slot_width + width + self._slow_features(), width)
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
        """What the last layer reads: every slot; level and spread; slow spectrum; shares and place of the rhythm."""
        waveform, summary = self.input_scale(values, observed)
        place = (self.channel(values.shape[1]) + self.level(summary))[:, :, None]
        by_channel, share = self.embed(waveform, observed, sampling_rate_hz)
        by_channel = by_channel + place
        x = (by_channel + self.merge(by_channel)).mean(1)
        count = share.shape[1]
        angles = rotary_angles(torch.arange(count, device=x.device, dtype=torch.float32), self.head_width)
        keys = self._keys(share)
        for block in self.blocks:
            x = block(x, angles, keys)
        slots = slot_means(self.narrow(self.norm(x)), share, shares=slot_shares(count, self.slots, x.device))
        pooled = [rearrange(slots, "batch slot width -> batch (slot width)"), self.summary(summary)]
        if self.slow is not None:
            _, lines, share = self.slow(waveform, observed, sampling_rate_hz)
            pooled.append(slow_rhythms(lines, share))
        if self.rhythm is not None:
            pooled.extend(self.rhythm(waveform, observed, sampling_rate_hz))
        return pooled

    def learn_from(self, own: Signal, teacher: Signal, subject: Int[Tensor, " batch"]) -> None:
        """Fit the rhythm to where the teacher's is strongest in the same windows."""
        if self.rhythm is not None and len(subject) > 0:
            fit_rhythm(self.rhythm, self._rhythm_shares(own), self._rhythm_shares(teacher), subject)

    @torch.no_grad()
    def _rhythm_shares(self, signal: Signal) -> Float[Tensor, "batch line"]:
        assert self.rhythm is not None
        # Each window is scaled by itself, so that a teacher's unit does not matter.
        waveform, _ = InputScale()(signal.values, signal.observed)
        return self.rhythm.shares(waveform, signal.observed, signal.sampling_rate_hz)

    def _slow_features(self) -> int:
        return (self.slow.lines if self.slow else 0) + (self.rhythm.lines + MOMENTS if self.rhythm else 0)

    @torch.no_grad()
    def calibrate(
        self,
        values: Float[Tensor, "batch channel time"],
        observed: Bool[Tensor, "batch time"],
        sampling_rate_hz: float,
    ) -> None:
        """Learn the scale of each spectral line from windows of training people."""
        waveform, _ = self.input_scale(values, observed)
        self.embed.spectra.calibrate(waveform, observed, sampling_rate_hz)
        if self.slow is not None:
            self.slow.calibrate(waveform, observed, sampling_rate_hz)

    @staticmethod
    def _keys(weight: Float[Tensor, "batch token"]) -> Bool[Tensor, "batch token"] | None:
        seen = weight > 0
        if bool(seen.all()):
            return None
        # A window without any token may look at all of them: they hold zeros and get no weight in the pool.
        return seen | ~seen.any(1, keepdim=True)
