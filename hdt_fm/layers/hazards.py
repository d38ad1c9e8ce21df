"""Features -> log-odds that events happen within horizons, each horizon's risk at least that of a shorter one."""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from hdt_fm.schema.errors import ConfigError

# Log-odds of a hazard below this are held: single precision knows no smaller risk of a sum.
LEAST = -30.0


class HazardNetwork(nn.Module):
    """A small network on features of one moment; it starts with the same risk for every moment.

    Its outputs are log-odds of hazards: that the event happens between one horizon and the next if it had not happened
    before. Risks within a horizon follow, 1 - prod(1 - hazard), so that none falls as the horizon grows.

    Args:
        width, depth: Of the hidden layers.

    Raises:
        ConfigError: If a size is below 1.
    """

    def __init__(
        self, *, in_features: int, horizons: int, events: int, width: int = 128, depth: int = 2, dropout: float = 0.1
    ) -> None:
        super().__init__()
        if min(in_features, horizons, events, width, depth) < 1:
            raise ConfigError(
                "The hazard network cannot be built",
                expected="sizes of 1 or more",
                got=f"{in_features} features, {horizons} horizons, {events} events, {depth} x {width}",
            )
        self.horizons, self.events = horizons, events
        layers: list[nn.Module] = []
        for place in range(depth):
            layers += [nn.Linear(width if place else in_features, width), nn.SiLU(), nn.Dropout(dropout)]
        self.hidden = nn.Sequential(*layers)
        self.leave = nn.Linear(width, horizons * events)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def forward(self, features: Float[Tensor, "batch feature"]) -> Float[Tensor, "batch horizon event"]:
        raw = self.leave(self.hidden(features))
        return within(rearrange(raw, "batch (horizon event) -> batch horizon event", horizon=self.horizons))

    @torch.no_grad()
    def begin_at(self, rate: Float[Tensor, "horizon event"]) -> None:
        """Say these risks of every moment.

        Args:
            rate: How often each event happened within each horizon, strictly between 0 and 1.
        """
        before = torch.cat((torch.zeros_like(rate[:1]), rate.cummax(0).values[:-1]))
        hazard = ((rate - before) / (1 - before)).clamp(min=1e-4)
        self.leave.bias.copy_(torch.logit(hazard).flatten())


def within(hazard: Float[Tensor, "batch horizon event"]) -> Float[Tensor, "batch horizon event"]:
    """Log-odds of hazards -> log-odds of the event within each horizon.

    Odds of at least one are prod(1 + odds) - 1, here in logarithms. One horizon gives its hazard unchanged.
    """
    either = F.softplus(hazard.clamp(min=LEAST)).cumsum(1)
    return either + torch.log(-torch.expm1(-either))
