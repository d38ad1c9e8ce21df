"""A recurrent network over equal stretches of a window, the newest last: slow series whose end matters most."""

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from hdt_fm.layers.channels import ChannelTable
from hdt_fm.layers.input_scale import InputScale
from hdt_fm.layers.patches import patches
from hdt_fm.schema.errors import ConfigError, ShapeError

# Deviations from the newest level beyond this are held there, in cohort scales.
FAR = 8.0


class Recurrent(nn.Module):
    """Stretches are read in the order that they came; each tells its level, and how far it lies from the newest one.

    With `ahead_s` the end of each window is not read, whoever embeds it and whatever it holds: a window is then about
    the moment `ahead_s` before its end, and what comes after is left for a loss that asks for it (`readings_ahead`).

    Channels: maps of single channels, with a learned vector each, are averaged, as in `PatchTransformer`.

    Args:
        width: Components of the state and of the embedding.
        patch_s: Seconds of a stretch; `points` means are taken of each.
        layers: Recurrent layers on each other.
        ahead_s: Seconds at the end of a window that are not read.
        center, scale: Input statistics of the training people, in the modality's unit.

    Units: values in the modality's canonical unit; the embedding has none (layer-normalised).
    """

    def __init__(
        self,
        *,
        width: int = 96,
        patch_s: float = 3600.0,
        points: int = 4,
        layers: int = 1,
        ahead_s: float = 0.0,
        dropout: float = 0.0,
        center: float = 0.0,
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        if not patch_s > 0 or min(width, points, layers) < 1 or ahead_s < 0:
            raise ConfigError(
                "The recurrent encoder cannot be built",
                where="encoder",
                expected="patch_s > 0, ahead_s >= 0, width, points and layers of 1 or more",
                got=f"patch_s {patch_s:g}, ahead_s {ahead_s:g}, width {width}, points {points}, layers {layers}",
            )
        self.width, self.patch_s, self.points, self.ahead_s = width, float(patch_s), points, float(ahead_s)
        self.input_scale = InputScale(center=center, scale=scale)
        self.value = nn.Linear(2 * points + 1, width)
        self.channel = ChannelTable(width=width)
        self.summary = nn.Linear(2, width, bias=False)
        self.merge = nn.Sequential(nn.GELU(), nn.Linear(width, width))
        self.steps = nn.GRU(width, width, num_layers=layers, batch_first=True)
        self.drop = nn.Dropout(dropout)
        self.out_norm = nn.LayerNorm(width)

    def forward(
        self,
        values: Float[Tensor, "batch channel time"],
        observed: Bool[Tensor, "batch time"],
        sampling_rate_hz: float,
    ) -> Float[Tensor, "batch width"]:
        """Embed each window; a window without an observed sample gives one fixed vector.

        Raises:
            ShapeError: If a window is no longer than what is not read of it.
        """
        kept = values.shape[-1] - round(self.ahead_s * sampling_rate_hz)
        if kept < 1:
            raise ShapeError(
                "A window ends before it is read",
                expected=f"more than {self.ahead_s:g} s, the encoder's ahead_s",
                got=f"{values.shape[-1] / sampling_rate_hz:g} s",
            )
        values, observed = values[..., :kept], observed[:, :kept]
        center, scale = self.input_scale.center, self.input_scale.scale
        _, summary = self.input_scale(values, observed)
        level = torch.where(observed[:, None], (values - center) / scale, 0.0).clamp(-4 * FAR, 4 * FAR)
        # Stretches are counted from the end, so that the newest is whole; what lies before the window is unobserved.
        pad = -kept % max(1, round(self.patch_s * sampling_rate_hz))
        level, observed = F.pad(level, (pad, 0)), F.pad(observed, (pad, 0))
        points, share = patches(level, observed, sampling_rate_hz, self.patch_s, self.points)
        newest = _newest(level, observed)[:, :, None, None]
        there = share[:, None, :, None] > 0
        change = torch.where(there, (points - newest).clamp(-FAR, FAR), 0.0)
        token = torch.cat((points, change, share[:, None, :, None].expand(*points.shape[:3], 1)), dim=-1)
        place = (self.channel(values.shape[1]) + self.summary(summary))[:, :, None]
        by_channel = self.value(token) + place
        x = (by_channel + self.merge(by_channel)).mean(1)
        return self.out_norm(self.drop(self.steps(x)[0][:, -1]))


def _newest(level: Float[Tensor, "batch channel time"], observed: Bool[Tensor, "batch time"]) -> Tensor:
    """Of each channel the last observed sample; 0 where there is none."""
    place = torch.where(observed, torch.arange(observed.shape[1], device=observed.device), -1).amax(1)
    index = rearrange(place.clamp(min=0), "batch -> batch 1 1").expand(-1, level.shape[1], 1)
    return torch.where((place >= 0)[:, None], level.gather(2, index).squeeze(2), 0.0)
