"""What a head is taught on, as a table of numbers: a row a moment, scaled as the members read it."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32, Shaped
from torch import Tensor

from hdt_fm.schema.errors import ShapeError
from hdt_fm.schema.protocols import Ensemble, HeadInput


@dataclass(frozen=True)
class Layout:
    """How wide the parts of a row are.

    Attributes:
        known: Features of the moment, then as many flags that say which of them are known.
        windows, width: Embeddings, and their components.
        horizons: Answers.
    """

    known: int
    windows: int
    width: int
    horizons: int

    @property
    def inputs(self) -> int:
        """Columns that a head reads: features, embeddings, and for each window whether it is there."""
        return self.known + self.windows * (self.width + 1)


@dataclass(frozen=True)
class Taught:
    """Moments of one domain (a cohort, a site, a device, a season), scaled by the head that is taught.

    Attributes:
        inputs: As members read them, a row a moment.
        target: What came, less the newest reading, in the head's spreads; NaN where unknown.
        person: Pseudonym of each row's person, as text.
    """

    layout: Layout
    inputs: Float32[np.ndarray, "row column"]
    target: Float32[np.ndarray, "_ horizon"]
    person: Shaped[np.ndarray, " _"]

    def __post_init__(self) -> None:
        wanted = (len(self.person), self.layout.inputs), (len(self.person), self.layout.horizons)
        if (self.inputs.shape, self.target.shape) != wanted:
            raise ShapeError(
                "Rows that teach do not hold together",
                where="Taught",
                expected=f"inputs and target of shapes {wanted}",
                got=f"{(self.inputs.shape, self.target.shape)}",
            )

    def __len__(self) -> int:
        return len(self.person)

    def of(self, rows: np.ndarray) -> "Taught":
        """Some of the rows."""
        return Taught(self.layout, self.inputs[rows], self.target[rows], self.person[rows])

    def joined(self, other: "Taught") -> "Taught":
        """These rows, then the other ones."""
        both = [np.concatenate([getattr(self, name), getattr(other, name)]) for name in ("inputs", "target", "person")]
        return Taught(self.layout, *both)


@torch.no_grad()
def taught(
    head: Ensemble, inputs: HeadInput, change: Float[np.ndarray, "row horizon"], person: Shaped[np.ndarray, " row"]
) -> Taught:
    """Rows as this head's members read them. Its scale stays that of those who taught it first; features that they did
    not have get one now.

    Args:
        inputs: As the head itself is asked.
        change: What came, less the newest reading, in the unit of the series; NaN where unknown.

    Raises:
        ShapeError: If rows differ in number.
    """
    head.learn_unseen(inputs)
    scaled = head.scaled(inputs)
    assert scaled.known is not None
    windows, width = scaled.context.shape[1:]
    layout = Layout(scaled.known.shape[1], windows, width, change.shape[1])
    flat = torch.cat((scaled.known, scaled.context.flatten(1), scaled.observed.float()), dim=1)
    spread = float(head.spread)
    return Taught(layout, flat.float().numpy(), (change / spread).astype(np.float32), person)


def read(layout: Layout, rows: Float[Tensor, "row column"]) -> HeadInput:
    """Rows as members are given them."""
    known, context, observed = rows.split((layout.known, layout.windows * layout.width, layout.windows), dim=1)
    shaped = context.unflatten(1, (layout.windows, layout.width))
    return HeadInput(context=shaped, observed=observed > 0.5, known=known)
