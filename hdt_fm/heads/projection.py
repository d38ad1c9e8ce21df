"""The training-time head to the space that all modalities share."""

import torch
from torch import nn

from hdt_fm.schema.errors import ShapeError
from hdt_fm.schema.protocols import Embeddings


class Projection(nn.Module):
    """A linear map per modality, to unit length; rows of absent modalities stay zero.

    It starts as the first `dim` components of an embedding, and so keeps what an encoder starts with.

    Args:
        modalities: How many; each has its own perceptron, in the order of `present`.
        width: Components of an embedding.
        dim: Components of a projection.
    """

    def __init__(self, *, modalities: int, width: int, dim: int = 32) -> None:
        super().__init__()
        self.dim = dim
        parts = [nn.Linear(width, dim) for _ in range(modalities)]
        for part in parts:
            nn.init.eye_(part.weight)
            nn.init.zeros_(part.bias)
        self.parts = nn.ModuleList(parts)

    def forward(self, embeddings: Embeddings) -> Embeddings:
        """Projections of unit length.

        Raises:
            ShapeError: If the number of modalities is not the one this head was made for.

        Numerics: the length is taken in float32 at least, whatever autocast chose for the products.
        """
        if embeddings.values.shape[1] != len(self.parts):
            raise ShapeError(
                "Embeddings do not fit the projection head",
                expected=f"{len(self.parts)} modalities",
                got=str(embeddings.values.shape[1]),
            )
        raw = torch.stack([part(embeddings.values[:, k]) for k, part in enumerate(self.parts)], dim=1)
        raw = raw.to(torch.promote_types(raw.dtype, torch.float32))
        # The floor keeps a dead row at zero with a finite gradient.
        unit = raw / raw.norm(dim=-1, keepdim=True).clamp(min=1e-6)
        values = torch.where(embeddings.present[..., None], unit, 0.0)
        return Embeddings(values=values, present=embeddings.present)
