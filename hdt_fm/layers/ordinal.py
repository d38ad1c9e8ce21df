"""Features -> log-odds that an outcome is at least so severe: one score, cutpoints that rise, proportional odds."""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from hdt_fm.schema.errors import ConfigError

# Neighbouring cutpoints are at least so far apart, in log-odds: every class keeps some probability.
LEAST_STEP = 1e-3


class OrdinalNetwork(nn.Module):
    """A small network on features of one moment; it starts by saying the same of every moment.

    Of each horizon and outcome it gives one score, from which cutpoints are taken that do not depend on the features:
    what makes a mild outcome twice as likely, in odds, makes a severe one twice as likely too. So the few severe
    outcomes lean on the many mild ones. Classes never cross, and no horizon's log-odds are below a shorter one's.

    Args:
        classes: From none to the worst.
        width, depth: Of the hidden layers.

    Raises:
        ConfigError: If there are fewer than two classes, or a size is below 1.

    Source: McCullagh 1980, with horizons held to rise.
    """

    def __init__(
        self,
        *,
        in_features: int,
        horizons: int,
        outcomes: int,
        classes: int,
        width: int = 128,
        depth: int = 2,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if min(in_features, horizons, outcomes, width, depth, classes - 1) < 1:
            raise ConfigError(
                "The ordinal network cannot be built",
                expected="two classes or more, sizes of 1 or more",
                got=f"{in_features} features, {horizons} horizons, {outcomes} outcomes of {classes} classes, "
                f"{depth} x {width}",
            )
        self.horizons = horizons
        layers: list[nn.Module] = []
        for place in range(depth):
            layers += [nn.Linear(width if place else in_features, width), nn.SiLU(), nn.Dropout(dropout)]
        self.hidden = nn.Sequential(*layers)
        self.leave = nn.Linear(width, horizons * outcomes, bias=False)
        nn.init.zeros_(self.leave.weight)
        self.first = nn.Parameter(torch.zeros(horizons, outcomes))
        self.steps = nn.Parameter(torch.zeros(horizons, outcomes, classes - 2))

    @property
    def cuts(self) -> Float[Tensor, "horizon outcome threshold"]:
        """Rising."""
        steps = F.softplus(self.steps) + LEAST_STEP
        return torch.cat((self.first[..., None], self.first[..., None] + steps.cumsum(-1)), dim=-1)

    def forward(self, features: Float[Tensor, "batch feature"]) -> Float[Tensor, "batch horizon outcome threshold"]:
        score = rearrange(
            self.leave(self.hidden(features)), "batch (horizon outcome) -> batch horizon outcome", horizon=self.horizons
        )
        # The worst of a longer span is at least that of a shorter one.
        return (score[..., None] - self.cuts).cummax(dim=1).values

    @torch.no_grad()
    def begin_at(self, rate: Float[Tensor, "horizon outcome threshold"]) -> None:
        """Say these rates of every moment.

        Args:
            rate: How often an outcome was at least so severe; strictly between 0 and 1, falling with severity.
        """
        cuts = -torch.logit(rate)
        self.first.copy_(cuts[..., 0])
        self.steps.copy_((cuts.diff(dim=-1) - LEAST_STEP).clamp(min=LEAST_STEP).expm1().log())


def class_loss(log_odds: Float[Tensor, "*place threshold"], target: Float[Tensor, "*place"]) -> Float[Tensor, "*place"]:
    """Cross-entropy of the class that came, in nats; 0 with zero gradient where the target is NaN.

    Args:
        log_odds: That the class is at least 1, 2, ...; falling.
        target: 0 is none.

    Numerics: sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - exp(b - a)), in logarithms; no difference of
    probabilities near 0 or 1 is taken.
    """
    known = target.isfinite()
    came = torch.where(known, target, 0.0).long()[..., None]
    edges = _with_ends(log_odds)
    reached, passed = edges.gather(-1, came)[..., 0], edges.gather(-1, came + 1)[..., 0]
    apart = (reached - passed).clamp(min=LEAST_STEP)
    each = F.softplus(-reached) + F.softplus(passed) - torch.log(-torch.expm1(-apart))
    return torch.where(known, each, 0.0)


def class_probabilities(log_odds: Float[Tensor, "*place threshold"]) -> Float[Tensor, "*place class"]:
    """Of each class, from none to the worst.

    Numerics: as `class_loss`, so that no class is lost beside one that is nearly sure.
    """
    edges = _with_ends(log_odds)
    reached, passed = edges[..., :-1], edges[..., 1:]
    return torch.sigmoid(reached) * torch.sigmoid(-passed) * -torch.expm1(passed - reached)


def _with_ends(log_odds: Float[Tensor, "*place threshold"]) -> Float[Tensor, "*place edge"]:
    """The first class is at least itself for sure, and nothing is worse than the last."""
    sure = torch.full_like(log_odds[..., :1], torch.inf)
    return torch.cat((sure, log_odds, -sure), dim=-1)
