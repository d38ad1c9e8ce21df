"""What a dose does: nothing up to a knot and more with every unit beyond, or a step; knots are learned."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hdt_fm.schema.errors import ConfigError


def hinge(dose: Float[Tensor, "*rows"], knots: Float[Tensor, " knot"]) -> Float[Tensor, "*rows knot"]:
    """What lies above each knot, in the unit of the dose; 0 below."""
    return (dose[..., None] - knots).clamp(min=0.0)


def threshold(
    dose: Float[Tensor, "*rows"], knots: Float[Tensor, " knot"], width: Float[Tensor, " knot"]
) -> Float[Tensor, "*rows knot"]:
    """From 0 to 1 around each knot; three quarters are reached about one width (above 0) beyond it."""
    return torch.sigmoid((dose[..., None] - knots) / width)


class Hinges(nn.Module):
    """A line that bends at learned knots: slope dose + sum of bends hinge(dose, knot).

    Args:
        knots: Where they start, in the unit of the dose.

    Raises:
        ConfigError: If there is none.
    """

    def __init__(self, knots: Sequence[float]) -> None:
        super().__init__()
        if not len(knots):
            raise ConfigError("The form has no knot", where="Hinges", expected="one knot or more")
        self.knots = nn.Parameter(torch.tensor(list(knots), dtype=torch.float64))
        self.slope = nn.Parameter(torch.zeros((), dtype=torch.float64))
        self.bends = nn.Parameter(torch.zeros(len(knots), dtype=torch.float64))

    def forward(self, dose: Float[Tensor, "*rows"]) -> Float[Tensor, "*rows"]:
        return self.slope * dose + hinge(dose, self.knots) @ self.bends
