"""Features on one scale before the first weight reads them, by numbers taken from training people once."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

# A tenth of a unit on a logarithmic scale. A feature that varies less, such as a spectral line that stays at its
# floor, is rounding; it must not be blown up to the size of the others, in training people or in anyone else.
MIN_SCALE = 0.1


class Standardise(nn.Module):
    """(x - center) / scale with stored numbers; the identity until `learn` has been called.

    Unlike batch normalisation a row never depends on the other rows of its batch, in training too: large batches
    in pieces, several processes and a resumed run give the same numbers as one batch in one process.
    """

    center: Tensor
    scale: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("center", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))

    @torch.no_grad()
    def learn(self, rows: Float[Tensor, "row feature"]) -> None:
        """Mean and standard deviation of `rows`; fewer than two rows change nothing."""
        if len(rows) > 1:
            self.center.copy_(rows.mean(0))
            self.scale.copy_(rows.std(0).clamp(min=MIN_SCALE))

    def forward(self, x: Float[Tensor, "*row feature"]) -> Float[Tensor, "*row feature"]:
        return (x - self.center) / self.scale
