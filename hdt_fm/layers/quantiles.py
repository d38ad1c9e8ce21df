"""Features -> a mean and quantiles that never cross, for several horizons at once."""

import math
from collections.abc import Sequence

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from hdt_fm.ops.quantiles import forecast_loss, middle_of, rising
from hdt_fm.schema.errors import ConfigError

# Steps between neighbouring quantiles before anything was learned, in target scales.
FIRST_STEP = 0.25


class QuantileNetwork(nn.Module):
    """A small network on features of one moment; it starts by saying that nothing changes.

    The mean and the middle quantile are free; other quantiles are positive steps away from the middle one.

    Args:
        levels: Rising, between 0 and 1.
        width, depth: Of the hidden layers.

    Raises:
        ConfigError: If the levels do not rise between 0 and 1, or a size is below 1.
    """

    def __init__(
        self,
        *,
        in_features: int,
        horizons: int,
        levels: Sequence[float],
        width: int = 128,
        depth: int = 2,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        edges = (0.0, *levels, 1.0)
        if min(in_features, horizons, width, depth, len(levels)) < 1 or list(edges) != sorted(set(edges)):
            raise ConfigError(
                "The quantile network cannot be built",
                expected="levels that rise between 0 and 1, sizes of 1 or more",
                got=f"levels {list(levels)}, {in_features} features, {horizons} horizons, {depth} x {width}",
            )
        self.horizons, self.levels = horizons, tuple(levels)
        self.middle = middle_of(levels)
        layers: list[nn.Module] = []
        for place in range(depth):
            layers += [nn.Linear(width if place else in_features, width), nn.SiLU(), nn.Dropout(dropout)]
        self.hidden = nn.Sequential(*layers)
        self.leave = nn.Linear(width, horizons * (1 + len(levels)))
        nn.init.zeros_(self.leave.weight)
        with torch.no_grad():
            bias = self.leave.bias.view(horizons, 1 + len(levels))
            bias.fill_(math.log(math.expm1(FIRST_STEP)))
            bias[:, 0] = bias[:, 1 + self.middle] = 0.0

    def forward(self, features: Float[Tensor, "batch feature"]) -> Float[Tensor, "batch horizon mean_and_level"]:
        raw = rearrange(
            self.leave(self.hidden(features)), "batch (horizon out) -> batch horizon out", horizon=self.horizons
        )
        return torch.cat((raw[..., :1], rising(raw[..., 1:], self.middle)), dim=-1)

    def loss(
        self, output: Float[Tensor, "batch horizon mean_and_level"], target: Float[Tensor, "batch horizon"]
    ) -> Float[Tensor, ""]:
        """See `forecast_loss`; targets in the units of the output, NaN where unknown."""
        return forecast_loss(output, target, self.levels)
