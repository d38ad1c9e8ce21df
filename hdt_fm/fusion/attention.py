"""The mean of the modalities present, and what attention among them adds."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from hdt_fm.layers.attention import TransformerBlock
from hdt_fm.layers.context import masked_mean


class Attention(nn.Module):
    """Modalities are tokens of a set: each is read by a layer of its own, sees the others, and adds to their mean.

    It starts as the mean exactly, since the last layer starts at zero. Weights of a modality are named after it and no
    other weight knows how many there are, so one that is added later takes nothing from those that were there.

    Args:
        modalities: Names, in the order of `present`.
        width: Components of an embedding; divisible by 2 * heads.
        depth: Attention blocks.
    """

    def __init__(
        self, *, modalities: Sequence[str], width: int, depth: int = 1, heads: int = 4, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.width, self.head_width = width, width // heads
        self.read = nn.ModuleDict({name: nn.Linear(width, width) for name in modalities})
        self.blocks = nn.ModuleList(TransformerBlock(width=width, heads=heads, dropout=dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.add = nn.Linear(width, width)
        nn.init.zeros_(self.add.weight)
        nn.init.zeros_(self.add.bias)

    def forward(
        self, values: Float[Tensor, "batch modality width"], present: Bool[Tensor, "batch modality"]
    ) -> Float[Tensor, "batch width"]:
        """One embedding a window; what absent modalities hold is not read."""
        values = torch.where(present[..., None], values, 0.0)
        tokens = torch.stack([read(values[:, k]) for k, read in enumerate(self.read.values())], dim=1)
        # Modalities have no order, so rotary positions turn nothing.
        angles = tokens.new_zeros(tokens.shape[1], self.head_width // 2)
        # A window of nothing may look at all of its tokens: none of them counts below.
        keys = present | ~present.any(1, keepdim=True)
        for block in self.blocks:
            tokens = block(tokens, angles, keys)
        return masked_mean(values, present) + self.add(self.norm(masked_mean(tokens, present)))
