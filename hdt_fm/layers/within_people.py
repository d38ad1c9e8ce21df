"""What is left of columns within a person: own means, and what goes with the calendar, taken out of all alike.

Season moves exposures and outcomes both. What is left after its terms were taken out cannot be put down to it; people
are compared with themselves alone.
"""

from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from hdt_fm.schema.errors import ShapeError

Season = Literal["shared", "own", "none"]
YEAR_D = 365.25
HARMONICS = 2
HARDLY = 1e-8


def calendar(day: Float[np.ndarray, " row"]) -> Float[np.ndarray, "row term"]:
    """Sines and cosines of the year, and its half, and a line over years."""
    turn = 2 * np.pi * day / YEAR_D
    waves = [wave(turn * times) for times in range(1, HARMONICS + 1) for wave in (np.sin, np.cos)]
    return np.stack([*waves, day / YEAR_D], axis=1)


class WithinPeople:
    """Takes person means and calendar terms out of columns by least squares.

    Args:
        person: Of each row; rows of a person stand together.
        day: Of each row, on one calendar for all.
        season: "shared": people have one season; "own": each their own; "none": only the mean is taken out.

    Raises:
        ShapeError: If there is no row, or rows of a person do not stand together.
    """

    def __init__(
        self, person: Int[np.ndarray, " row"], day: Float[np.ndarray, " row"], *, season: Season = "shared"
    ) -> None:
        changes = np.flatnonzero(np.diff(person)) + 1
        self.first = np.concatenate([[0], changes]) if len(person) else changes
        if not len(person) or len(np.unique(person[self.first])) != len(self.first):
            raise ShapeError("Rows are not those of people", where="WithinPeople", expected="rows of a person together")
        self.count = np.diff(np.append(self.first, len(person)))
        terms = calendar(day)
        self.shared, self.own = np.zeros((len(person), 0)), []
        if season == "shared":
            self.shared = orthonormal(self._demeaned(terms))
        elif season == "own":
            blocks = zip(self.first, self.count, strict=True)
            self.own = [orthonormal(self._one_demeaned(terms[at : at + many])) for at, many in blocks]

    @property
    def people(self) -> int:
        return len(self.first)

    def left(self, columns: Float[np.ndarray, "row column"]) -> Float[np.ndarray, "row column"]:
        """The columns without what means and calendar say of them."""
        out = self._demeaned(columns)
        for at, many, basis in zip(self.first, self.count, self.own, strict=False):
            part = out[at : at + many]
            part -= basis @ (basis.T @ part)
        return out - self.shared @ (self.shared.T @ out)

    def sums(self, columns: Float[np.ndarray, "row column"]) -> Float[np.ndarray, "person column"]:
        """Of each person."""
        out: np.ndarray = np.add.reduceat(columns, self.first, axis=0)
        return out

    def _demeaned(self, columns: np.ndarray) -> np.ndarray:
        out: np.ndarray = columns - np.repeat(self.sums(columns) / self.count[:, None], self.count, axis=0)
        return out

    def _one_demeaned(self, columns: np.ndarray) -> np.ndarray:
        out: np.ndarray = columns - columns.mean(axis=0)
        return out


def orthonormal(columns: Float[np.ndarray, "row column"]) -> Float[np.ndarray, "row direction"]:
    """Directions of the columns, each on its own scale; those that they hardly have are left out."""
    size = np.sqrt(np.square(columns).sum(axis=0))
    left, share, _ = np.linalg.svd(columns[:, size > 0] / size[size > 0], full_matrices=False)
    out: np.ndarray = left[:, share > HARDLY]
    return out
