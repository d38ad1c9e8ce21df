"""Quantiles of a track over the horizon, from frozen embeddings and the track's own past."""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from hdt_fm.layers.attention import TransformerBlock
from hdt_fm.layers.context import last_known
from hdt_fm.layers.rotary import rotary_angles
from hdt_fm.schema.errors import ConfigError, ShapeError
from hdt_fm.schema.protocols import HeadInput

Kind = Literal["gru", "transformer"]
# Steps between neighbouring quantiles before anything was learned, in target scales.
FIRST_STEP = 0.25


class Forecast(nn.Module):
    """Starts as persistence with a fixed spread; everything learned is a change from the last known value.

    Quantiles never cross: the one nearest to the median is predicted, the others are sums of positive
    steps away from it. `inputs.plan` is not used: this head answers what comes if nothing is decided.

    Args:
        in_features: Components of a context feature.
        horizon: Steps ahead, on the context grid.
        quantiles: Levels, rising, between 0 and 1.
        width: Hidden components; divisible by 8 for the transformer.
        kind: What reads the context; the transformer sees its windows in any number, the GRU in order.
        center, scale: Of the target in training people, in its unit; `center` stands in for an unknown past.

    Units: out as the target's; the loss is in units of `scale`.
    """

    def __init__(
        self,
        *,
        in_features: int,
        horizon: int,
        quantiles: Sequence[float] = (0.1, 0.25, 0.5, 0.75, 0.9),
        width: int = 64,
        kind: Kind = "gru",
        center: float = 0.0,
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        levels = tuple(float(level) for level in quantiles)
        rising = all(low < high for low, high in zip((0.0, *levels), (*levels, 1.0), strict=True))
        if not levels or not rising or kind not in ("gru", "transformer") or horizon < 1 or not scale > 0:
            raise ConfigError(
                "The forecast head cannot be built",
                where="heads/forecast",
                expected='rising quantiles between 0 and 1, kind "gru" or "transformer", horizon >= 1, scale > 0',
                got=f"quantiles {levels}, kind {kind!r}, horizon {horizon}, scale {scale}",
            )
        self.quantiles, self.horizon = levels, horizon
        self.center, self.scale = float(center), float(scale)
        self.pivot = min(range(len(levels)), key=lambda k: abs(levels[k] - 0.5))
        self.enter = nn.Linear(in_features + 4, width)
        self.gru = nn.GRU(width, width, batch_first=True) if kind == "gru" else None
        heads = 4 if kind == "transformer" else 0
        self.head_width = width // heads if heads else 0
        self.blocks = nn.ModuleList([TransformerBlock(width=width, heads=heads) for _ in range(2)] if heads else [])
        self.norm = nn.LayerNorm(width)
        self.leave = nn.Linear(width, horizon * len(levels))
        self._start_as_persistence()

    def _start_as_persistence(self) -> None:
        nn.init.zeros_(self.leave.weight)
        with torch.no_grad():
            bias = self.leave.bias.view(self.horizon, len(self.quantiles))
            bias.fill_(math.log(math.expm1(FIRST_STEP)))
            bias[:, self.pivot] = 0.0

    def forward(self, inputs: HeadInput) -> Float[Tensor, "batch horizon quantile"]:
        recent = inputs.recent
        if recent is None:
            recent = torch.full_like(inputs.context[..., 0], torch.nan)
        last, has_last = last_known(recent.to(inputs.context.dtype))
        start = torch.where(has_last, last, self.center)
        raw = self.leave(self.norm(self._read(inputs, recent, start)))
        raw = rearrange(raw, "batch (horizon quantile) -> batch horizon quantile", horizon=self.horizon)
        return start[:, None, None] + self.scale * self._spread(raw)

    def _read(self, inputs: HeadInput, recent: Tensor, start: Tensor) -> Float[Tensor, "batch width"]:
        known = ~recent.isnan()
        change = torch.where(known, (recent - start[:, None]) / self.scale, 0.0)
        level = ((start - self.center) / self.scale)[:, None].expand_as(change)
        flags = torch.stack((change, level, known.to(change.dtype), inputs.observed.to(change.dtype)), dim=-1)
        context = torch.where(inputs.observed[..., None], inputs.context, 0.0)
        x = self.enter(torch.cat((context, flags.to(context.dtype)), dim=-1))
        if self.gru is not None:
            return self.gru(F.gelu(x))[1].squeeze(0)
        keys = known | inputs.observed
        keys = keys | ~keys.any(1, keepdim=True)
        # Counted back from the newest window, so that a longer context does not move the near past.
        position = torch.arange(1 - x.shape[1], 1, device=x.device, dtype=torch.float32)
        angles = rotary_angles(position, self.head_width)
        for block in self.blocks:
            x = block(x, angles, keys)
        return x[:, -1]

    def _spread(self, raw: Float[Tensor, "batch horizon quantile"]) -> Float[Tensor, "batch horizon quantile"]:
        middle = raw[..., self.pivot : self.pivot + 1]
        up = F.softplus(raw[..., self.pivot + 1 :]).cumsum(-1)
        down = F.softplus(raw[..., : self.pivot]).flip(-1).cumsum(-1).flip(-1)
        return torch.cat((middle - down, middle, middle + up), dim=-1)

    def loss(
        self, output: Float[Tensor, "batch horizon quantile"], target: Tensor, counts: Tensor
    ) -> Float[Tensor, ""]:
        """Mean pinball loss over counted targets and quantiles, in units of `scale`.

        Args:
            target: (batch, horizon); anything where not counted.
            counts: Bool, like `target`.

        Raises:
            ShapeError: If `target` or `counts` is not (batch, horizon).
        """
        if target.shape != output.shape[:2] or counts.shape != target.shape:
            raise ShapeError(
                "The target does not fit the forecast",
                expected=f"(batch, horizon) = {tuple(output.shape[:2])}",
                got=f"target {tuple(target.shape)}, counts {tuple(counts.shape)}",
            )
        under = torch.where(counts[..., None], target[..., None].to(output.dtype) - output, 0.0) / self.scale
        level = torch.tensor(self.quantiles, dtype=output.dtype, device=output.device)
        each = torch.maximum(level * under, (level - 1) * under)
        return each.sum() / (counts.sum().clamp(min=1) * len(self.quantiles))
