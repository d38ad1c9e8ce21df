"""Facts about a person: numbers and levels, each of which may not be known."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from hdt_fm.schema.covariates import Covariate
from hdt_fm.schema.errors import ShapeError

# In standard deviations of the training people. A typing error must not outweigh all other columns.
LARGEST = 5.0


class Static(nn.Module):
    """A vector for each column, added up, and a small network over the sum.

    A number is standardised by training people; a level has a learned vector. Not known is a learned vector of the
    column, which starts as nothing; so is a level without a vector.

    Args:
        columns: What is known of each column (`Covariate`), in the order of the time axis.
        hidden: Of the network.
        dropout: Inside the network.

    Units: values are numbers in their own unit and places of levels; the embedding has none (layer-normalised).
    """

    def __init__(
        self, *, columns: Sequence[Mapping[str, Any]], width: int = 64, hidden: int = 64, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.width = width
        self.columns = tuple(Covariate.model_validate(column) for column in columns)
        # A number and its bend: with the line alone, young and old could not both differ from the middle.
        self.parts = nn.ModuleList(
            nn.Sequential(nn.Linear(1, width), nn.GELU())
            if column.is_number
            else nn.Embedding(len(column.levels), width)
            for column in self.columns
        )
        self.unknown = nn.Parameter(torch.zeros(len(self.columns), width))
        self.norm = nn.LayerNorm(width)
        self.mix = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, width))
        self.out_norm = nn.LayerNorm(width)

    def forward(
        self,
        values: Float[Tensor, "batch channel time"],
        observed: Bool[Tensor, "batch time"],
        sampling_rate_hz: float,
    ) -> Float[Tensor, "batch width"]:
        """Embed each window; one of which nothing is known gives one fixed vector. The rate means nothing here.

        Raises:
            ShapeError: If there is more than one channel, or not one place a column.
        """
        if values.shape[1:] != (1, len(self.columns)):
            raise ShapeError(
                "Facts about people do not fit the model",
                where="modality static",
                expected=f"(batch, 1, {len(self.columns)}): one place a column",
                got=str(tuple(values.shape)),
                fix="read them by the model's own columns: ShardFolder.with_static(model.config.covariates)",
            )
        total = self.unknown.new_zeros(len(values), self.width)
        for place, (column, part) in enumerate(zip(self.columns, self.parts, strict=True)):
            own, seen = values[:, 0, place], observed[:, place]
            # Cleared first, and not only at the end: 0 * NaN in a gradient is NaN.
            own = torch.where(seen, own, 0.0)
            if column.is_number:
                vector = part(((own - column.center) / column.scale).clamp(-LARGEST, LARGEST)[:, None])
            else:
                level = own.round()
                seen = seen & (level >= 0) & (level < len(column.levels))
                vector = part(torch.where(seen, level, 0.0).long())
            total = total + torch.where(seen[:, None], vector, self.unknown[place])
        total = self.norm(total)
        return self.out_norm(total + self.mix(total))
