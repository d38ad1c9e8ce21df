"""What a head is taught on, as a table of numbers: a row a moment, scaled as the members read it."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Float32, Num, Shaped
from torch import Tensor

from hdt_fm.schema.errors import ShapeError
from hdt_fm.schema.protocols import Ensemble, HeadInput

Target = Literal["value", "class", "event"]


@dataclass(frozen=True)
class Layout:
    """How wide the parts of a row are.

    Attributes:
        known: Features of the moment, then as many flags that say which of them are known.
        windows, width: Embeddings, and their components.
        horizons: Answers.
        target: What these are: numbers, the number of a class, or whether events happened (1 or 0).
    """

    known: int
    windows: int
    width: int
    horizons: int
    target: Target = "value"

    @property
    def inputs(self) -> int:
        """Columns that a head reads: features, embeddings, and for each window whether it is there."""
        return self.known + self.windows * (self.width + 1)


@dataclass(frozen=True)
class Taught:
    """Moments of one domain (a cohort, a site, a device, a season), scaled by the head that is taught.

    Attributes:
        inputs: As members read them, a row a moment.
        target: What came, as members are taught it (of a series: less the newest reading, in the head's spreads); NaN
            where unknown.
        person: Pseudonym of each row's person, as text.
        group: Of people who must be on one side; None where everyone is a group of their own.
    """

    layout: Layout
    inputs: Float32[np.ndarray, "row column"]
    target: Float32[np.ndarray, "_ horizon"]
    person: Shaped[np.ndarray, " _"]
    group: Shaped[np.ndarray, " _"] | None = None

    def __post_init__(self) -> None:
        wanted = (len(self.person), self.layout.inputs), (len(self.person), self.layout.horizons)
        if (self.inputs.shape, self.target.shape) != wanted or len(self.groups) != len(self.person):
            raise ShapeError(
                "Rows that teach do not hold together",
                where="Taught",
                expected=f"inputs and target of shapes {wanted}",
                got=f"{(self.inputs.shape, self.target.shape)}",
            )

    def __len__(self) -> int:
        return len(self.person)

    @property
    def groups(self) -> np.ndarray:
        """Who must be on one side, a row each."""
        return self.person if self.group is None else self.group

    def of(self, rows: np.ndarray) -> "Taught":
        """Some of the rows."""
        group = None if self.group is None else self.group[rows]
        return Taught(self.layout, self.inputs[rows], self.target[rows], self.person[rows], group)

    def joined(self, other: "Taught") -> "Taught":
        """These rows, then the other ones."""
        names = ("inputs", "target", "person", "groups")
        return Taught(self.layout, *(np.concatenate([getattr(self, name), getattr(other, name)]) for name in names))


@torch.no_grad()
def taught(
    head: Ensemble,
    inputs: HeadInput,
    change: Float[np.ndarray, "row horizon"],
    person: Shaped[np.ndarray, " row"],
    group: Shaped[np.ndarray, " row"] | None = None,
) -> Taught:
    """Rows as this head's members read them. Its scale stays that of those who taught it first; features that they did
    not have get one now.

    Args:
        inputs: As the head itself is asked.
        change: What came, less the newest reading, in the unit of the series; NaN where unknown.
        group: As of `Taught`.

    Raises:
        ShapeError: If rows differ in number.
    """
    head.learn_unseen(inputs)
    return laid_out(head.scaled(inputs), change / float(head.spread), person, group)


def laid_out(
    scaled: HeadInput,
    came: Num[np.ndarray, "row answer"],
    person: Shaped[np.ndarray, " row"],
    group: Shaped[np.ndarray, " row"] | None = None,
    *,
    target: Target = "value",
) -> Taught:
    """What members are given, as a table.

    Args:
        scaled: As members read it; features of the moment may be none.
        came: As members are taught it.

    Raises:
        ShapeError: If rows differ in number.
    """
    known = scaled.known if scaled.known is not None else scaled.context.new_zeros(len(scaled.context), 0)
    windows, width = scaled.context.shape[1:]
    layout = Layout(known.shape[1], windows, width, came.shape[1], target)
    flat = torch.cat((known, scaled.context.flatten(1), scaled.observed.float()), dim=1)
    return Taught(layout, flat.float().numpy(), came.astype(np.float32), person, group)


def read(layout: Layout, rows: Float[Tensor, "row column"]) -> HeadInput:
    """Rows as members are given them."""
    known, context, observed = rows.split((layout.known, layout.windows * layout.width, layout.windows), dim=1)
    shaped = context.unflatten(1, (layout.windows, layout.width))
    return HeadInput(context=shaped, observed=observed > 0.5, known=known)
