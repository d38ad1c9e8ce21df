"""The plain mean: what every other fusion begins as, and must beat."""

from collections.abc import Sequence

from jaxtyping import Bool, Float
from torch import Tensor, nn

from hdt_fm.layers.context import masked_mean


class Mean(nn.Module):
    """The mean of the embeddings present; zeros where there is none. Nothing is learned.

    Args:
        modalities: Names, in the order of `present`; a mean need not know them.
        width: Components of an embedding.
    """

    def __init__(self, *, modalities: Sequence[str], width: int) -> None:
        super().__init__()
        self.width = width

    def forward(
        self, values: Float[Tensor, "batch modality width"], present: Bool[Tensor, "batch modality"]
    ) -> Float[Tensor, "batch width"]:
        """One embedding a window."""
        return masked_mean(values, present)
