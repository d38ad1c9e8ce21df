"""How alike a window and a reference are to the model: cosines of projections, in the space where it was trained."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hdt_fm.checkpoint import Model
from hdt_fm.schema.batch import Batch
from hdt_fm.schema.errors import ExplainError, unknown_name
from hdt_fm.schema.protocols import Embeddings

WHOLE = "all"


class SimilarityTarget(nn.Module):
    """Encoder, then projection: windows -> (batch, 1 + modality), cosines to a reference.

    Column 0 is of the whole window: its fusion where the model has one, else the mean of what its modalities project
    to. Column 1 + m is of modality m with the same of the reference. A modality that is absent on either side has 0.

    Args:
        to: One window, or several that are a prototype: the mean of their unit vectors. They go through the model each
            time, so that a model with random weights is compared with its own reference.
    """

    def __init__(self, model: Model, to: Batch) -> None:
        super().__init__()
        if not len(to) or not bool(to.present.any()):
            raise ExplainError(
                "There is nothing to compare with", expected="a reference window with a modality", got=f"{len(to)}"
            )
        self.encoder = model.encoder
        self.fusion, self.fused_projection = model.fusion, model.fused_projection
        self.projection = model.projection
        self.modalities, self.reference = model.modalities, to

    def forward(self, batch: Batch) -> Float[Tensor, "batch cosine"]:
        own = self._unit(batch)
        with torch.no_grad():
            named = nn.functional.normalize(self._unit(self.reference).mean(0), dim=-1)
        return torch.einsum("bcd,cd->bc", own, named)

    def _unit(self, batch: Batch) -> Float[Tensor, "batch one_and_modality dim"]:
        """Of the whole window, then of each modality; zeros where absent."""
        embeddings = self.encoder(batch)
        projected = self.projection(embeddings).values
        if self.fusion is None or self.fused_projection is None:
            whole = nn.functional.normalize(projected.sum(1, keepdim=True), dim=-1)
        else:
            fused = self.fusion(embeddings.values, embeddings.present)
            whole = self.fused_projection(Embeddings(fused[:, None], embeddings.present.any(1, keepdim=True))).values
        return torch.cat([whole, projected], dim=1)

    def column_of(self, name: str) -> tuple[int, str]:
        """The column of a modality, or of `all`, and its words.

        Raises:
            UnknownNameError: If the model knows no such modality, or the reference has it not.
        """
        held = self.reference
        there = [name for name in self.modalities if name in held.modalities and bool(held.column(name).any())]
        if name == WHOLE:
            return 0, "likeness to the reference window (cosine)"
        if name not in there:
            raise unknown_name("modality of the reference window", name, [WHOLE, *there], where="explain.similar")
        return 1 + self.modalities.index(name), f"likeness to the reference window in {name} (cosine)"
