"""A transformer over patches of a sampled signal: any rate, any channel count, any window length."""

from collections.abc import Mapping
from typing import Any

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
from hdt_fm.schema.errors import ConfigError, unknown_name
from hdt_fm.schema.registry import check_arguments
from hdt_fm.schema.rhythm import RhythmFound


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
        rhythms: Rhythms that are looked for, by a name of your own (breath, pulse): the arguments of a `Rhythm` each.
        slots: Equal stretches of the window that are pooled apart, so that the embedding knows when, not only what.
        slot_width: Components that a slot keeps. Few: what two modalities share at one moment is little, and the
            layer that reads all slots would else learn training windows by heart.
        dropout: Of the blocks and of what is pooled.
        center, scale: Input statistics of the training people, in the modality's unit.

    Units: values in the modality's canonical unit; the embedding has none (layer-normalised, but for the last `direct`
    components: places of rhythms in their bands, -1 to 1).
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
        rhythms: Mapping[str, Mapping[str, Any]] | None = None,
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
        for name, asked in (rhythms or {}).items():
            check_arguments(Rhythm, asked, where=f"patch_transformer.rhythms.{name}")
        # Learned at the start alone: what the loss wants of two modalities is not what a rhythm was taught to be.
        self.rhythms = nn.ModuleDict({name: Rhythm(**asked) for name, asked in (rhythms or {}).items()})
        self.rhythms.requires_grad_(False)
        self.direct = MOMENTS * len(self.rhythms)
        if self.direct >= width:
            raise ConfigError(
                "Rhythms leave no component to anything else",
                where="patch_transformer",
                expected=f"width above {self.direct}, {MOMENTS} for each of {len(self.rhythms)} rhythms",
                got=f"width {width}",
                fix="widen the encoder or look for fewer rhythms",
            )
        self.channel = ChannelTable(width=width)
        self.level = nn.Linear(2, width, bias=False)
        self.merge = nn.Sequential(nn.GELU(), nn.Linear(width, width))
        self.blocks = nn.ModuleList([TransformerBlock(width=width, heads=heads, dropout=dropout) for _ in range(depth)])
        self.norm = nn.LayerNorm(width)
        self.summary = SummaryToken(width=width)
        self.narrow = nn.Linear(width, slot_width)
        self.drop = nn.Dropout(dropout)
        self.readout = nn.Linear(slots * slot_width + width + self._slow_features(), width - self.direct)
        self.out_norm = nn.LayerNorm(width - self.direct)

    def forward(
        self,
        values: Float[Tensor, "batch channel time"],
        observed: Bool[Tensor, "batch time"],
        sampling_rate_hz: float,
    ) -> Float[Tensor, "batch width"]:
        """Embed each window; a window without an observed sample gives one fixed vector."""
        pooled = torch.cat(self.pooled(values, observed, sampling_rate_hz), dim=-1)
        mixed = self.out_norm(self.readout(self.drop(pooled)))
        # The places of rhythms are answers: mixed with others, or divided by how far those spread, they would be none.
        return torch.cat((mixed, pooled[:, pooled.shape[1] - self.direct :]), dim=-1)

    def pooled(
        self,
        values: Float[Tensor, "batch channel time"],
        observed: Bool[Tensor, "batch time"],
        sampling_rate_hz: float,
    ) -> list[Float[Tensor, "batch _"]]:
        """What the last layer reads: slots; level and spread; slow spectrum; shares of rhythms, then their places."""
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
        found = [rhythm(waveform, observed, sampling_rate_hz) for rhythm in self.rhythms.values()]
        # Places come last: they are `direct`.
        return [*pooled, *(weight for weight, _ in found), *(place for _, place in found)]

    @torch.no_grad()
    def find_rhythm(
        self,
        name: str,
        values: Float[Tensor, "batch channel time"],
        observed: Bool[Tensor, "batch time"],
        sampling_rate_hz: float,
    ) -> RhythmFound:
        """What each window says of one of the `rhythms`, read off directly: no label, no probe.

        Raises:
            UnknownNameError: If no rhythm has the name.
        """
        rhythm = dict(zip(self.rhythms, self._looked_for(), strict=True)).get(name)
        if rhythm is None:
            raise unknown_name("rhythm", name, sorted(self.rhythms), where="patch_transformer.rhythms")
        waveform, _ = self.input_scale(values, observed)
        return RhythmFound(rhythm.hz, rhythm.log_share(waveform, observed, sampling_rate_hz))

    @property
    def teachers(self) -> frozenset[str]:
        """Modalities that teach a rhythm."""
        return frozenset(one.taught_by for one in self._looked_for() if one.taught_by is not None)

    def learn_from(self, teacher: str, own: Signal, other: Signal, subject: Int[Tensor, " batch"]) -> None:
        """Fit the rhythms that `teacher` teaches to where they are strongest in its signal of the same windows."""
        if len(subject) == 0:
            return
        for rhythm in self._looked_for():
            if rhythm.taught_by == teacher:
                rhythm.requires_grad_(True)
                fit_rhythm(rhythm, _shares(rhythm, own), _shares(rhythm, other), subject)
                rhythm.requires_grad_(False)

    def _looked_for(self) -> list[Rhythm]:
        return [rhythm for rhythm in self.rhythms.values() if isinstance(rhythm, Rhythm)]

    def _slow_features(self) -> int:
        rhythms = sum(rhythm.lines + MOMENTS for rhythm in self._looked_for())
        return (self.slow.lines if self.slow else 0) + rhythms

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


@torch.no_grad()
def _shares(rhythm: Rhythm, signal: Signal) -> Float[Tensor, "batch line"]:
    # Each window is scaled by itself, so that a teacher's unit does not matter.
    waveform, _ = InputScale()(signal.values, signal.observed)
    return rhythm.shares(waveform, signal.observed, signal.sampling_rate_hz)
