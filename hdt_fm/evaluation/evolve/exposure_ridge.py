"""How much doses explain beyond a base in people who taught nothing: ridge in closed form, many draws at once.

Everything rests on sums of products by fold, so a placebo costs microseconds and an outcome with an effect put in
costs no more. Base terms are taken out of doses and outcome in the training folds; what is left is fitted by ridge on
doses scaled to one size there; the strength is chosen by folds inside of the training folds, one of them being
"nothing at all", so that doses that help nobody explain about 0 and not less.
"""

from dataclasses import dataclass
from functools import reduce
from operator import add

import numpy as np
from jaxtyping import Float64, Int

# Of the mean size of a scaled dose's eigenvalues, 1; the last is nothing at all.
STRENGTHS = (0.1, 1.0, 10.0, np.inf)
# Base terms may be each other's copies (weekdays of a person with few days).
_BASE_RIDGE = 1e-3


def within(
    values: Float64[np.ndarray, "*draw row column"], person: Int[np.ndarray, " row"]
) -> Float64[np.ndarray, "*draw row column"]:
    """Values less the mean of their own person's known rows; what is not known becomes 0, that mean.

    Args:
        person: Of each row; rows of one person lie together.
    """
    starts = np.flatnonzero(np.concatenate([[True], np.diff(person) != 0]))
    known = ~np.isnan(values)
    filled = np.where(known, values, 0.0)
    means = np.add.reduceat(filled, starts, axis=-2) / np.maximum(np.add.reduceat(known, starts, axis=-2), 1)
    return (filled - np.repeat(means, np.diff(np.append(starts, len(person))), axis=-2)) * known


@dataclass(frozen=True)
class _Sums:
    """Products summed over the rows of one fold or of several; letters: b base, d doses, y outcome."""

    bb: np.ndarray
    bd: np.ndarray
    dd: np.ndarray

    def __sub__(self, other: "_Sums") -> "_Sums":
        return _Sums(self.bb - other.bb, self.bd - other.bd, self.dd - other.dd)

    def __add__(self, other: "_Sums") -> "_Sums":
        return _Sums(self.bb + other.bb, self.bd + other.bd, self.dd + other.dd)


@dataclass(frozen=True)
class _Learned:
    """Of training folds: base out of the doses, and the doses left over turned to axes of their own.

    `turn` (draw, dose, axis) brings axes back to doses, `size` (draw, axis) is their scaled variance.
    """

    inverse: np.ndarray
    out: np.ndarray
    turn: np.ndarray
    size: np.ndarray

    @classmethod
    def of(cls, sums: _Sums) -> "_Learned":
        ridge = _BASE_RIDGE * np.diag(np.maximum(np.diag(sums.bb), 1e-12))
        inverse = np.linalg.inv(sums.bb + ridge)
        out = inverse @ sums.bd
        left = sums.dd - np.swapaxes(sums.bd, 1, 2) @ out
        spread = np.sqrt(np.maximum(np.diagonal(left, axis1=1, axis2=2), 1e-12))
        size, axes = np.linalg.eigh(left / spread[:, :, None] / spread[:, None, :])
        return cls(inverse, out, axes / spread[:, :, None], np.maximum(size, 0.0))


class DoseRidge:
    """Doses of many draws and base terms, ready to explain any outcome of the same rows.

    Args:
        base, doses: Already less each person's mean.
        fold: Of each row; people lie in one fold.
    """

    def __init__(
        self,
        base: Float64[np.ndarray, "row term"],
        doses: Float64[np.ndarray, "draw row dose"],
        fold: Int[np.ndarray, " row"],
    ) -> None:
        self._base, self._doses, self._count = base, doses, int(fold.max()) + 1
        self._rows = [np.flatnonzero(fold == one) for one in range(self._count)]
        folds = [self._sums(rows) for rows in self._rows]
        self._folds = folds
        whole = reduce(add, folds)
        self._taught: dict[tuple[int, ...], _Learned] = {}
        for one in range(self._count):
            self._taught[one,] = _Learned.of(whole - folds[one])
            for two in range(one):
                self._taught[two, one] = _Learned.of(whole - folds[one] - folds[two])

    def _sums(self, rows: np.ndarray) -> _Sums:
        base, doses = self._base[rows], self._doses[:, rows]
        return _Sums(base.T @ base, np.matmul(base.T, doses), np.matmul(np.swapaxes(doses, 1, 2), doses))

    def explained(self, outcome: Float64[np.ndarray, "row case"]) -> Float64[np.ndarray, "draw case"]:
        """Sum of squares that doses explain beyond the base in folds that taught nothing, as a share of all.

        Args:
            outcome: Less each person's mean; a case is an outcome of its own.
        """
        by, dy = self._products(outcome)
        gained = np.zeros((len(self._doses), outcome.shape[1]))
        for one in range(self._count):
            best = self._inner(one, by, dy).argmax(axis=0)
            outer = self._gains((one,), one, by, dy)
            gained += np.take_along_axis(outer, best[None], axis=0)[0]
        return gained / np.maximum((outcome**2).sum(axis=0), 1e-12)

    def _products(self, outcome: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Base and doses times outcome, by fold: (fold, term, case), (fold, draw, dose, case)."""
        by = np.stack([self._base[rows].T @ outcome[rows] for rows in self._rows])
        dy = np.stack([np.matmul(np.swapaxes(self._doses[:, rows], 1, 2), outcome[rows]) for rows in self._rows])
        return by, dy

    def _inner(self, left_out: int, by: np.ndarray, dy: np.ndarray) -> np.ndarray:
        """Squares explained in the other folds, each by the rest of them: (strength, draw, case)."""
        others = [one for one in range(self._count) if one != left_out]
        return np.sum([self._gains((min(left_out, one), max(left_out, one)), one, by, dy) for one in others], axis=0)

    def _gains(self, left_out: tuple[int, ...], test: int, by: np.ndarray, dy: np.ndarray) -> np.ndarray:
        """Squares explained in fold `test` when `left_out` taught nothing: (strength, draw, case)."""
        taught, sums = self._taught[left_out], self._folds[test]
        keep = [one for one in range(self._count) if one not in left_out]
        base_y, dose_y = by[keep].sum(axis=0), dy[keep].sum(axis=0)
        base_fit = taught.inverse @ base_y
        turned = np.swapaxes(taught.turn, 1, 2)
        learned = turned @ (dose_y - np.swapaxes(taught.out, 1, 2) @ base_y)
        # What is left of the doses in the test fold, against each other, the base and the outcome's rest.
        crossed = sums.bd - sums.bb @ taught.out
        square = sums.dd - np.swapaxes(taught.out, 1, 2) @ sums.bd - np.swapaxes(sums.bd, 1, 2) @ taught.out
        square = turned @ (square + np.swapaxes(taught.out, 1, 2) @ sums.bb @ taught.out) @ taught.turn
        met = turned @ (dy[test] - np.swapaxes(taught.out, 1, 2) @ by[test] - np.swapaxes(crossed, 1, 2) @ base_fit)
        gains = []
        for strength in STRENGTHS:
            weights = learned / (taught.size + strength)[:, :, None]
            gains.append((weights * (2 * met - square @ weights)).sum(axis=1))
        return np.stack(gains)

    def fitted(
        self, outcome: Float64[np.ndarray, " row"]
    ) -> tuple[Float64[np.ndarray, " row"], Float64[np.ndarray, " row"]]:
        """Out-of-fold answers of the base alone, and of the base and the first draw's doses."""
        by, dy = self._products(outcome[:, None])
        alone, both = np.zeros(len(outcome)), np.zeros(len(outcome))
        for one, rows in enumerate(self._rows):
            strength = STRENGTHS[int(self._inner(one, by, dy)[:, 0, 0].argmax())]
            taught = self._taught[one,]
            keep = [two for two in range(self._count) if two != one]
            base_y = by[keep].sum(axis=0)[:, 0]
            rest = taught.turn[0].T @ (dy[keep].sum(axis=0)[0, :, 0] - taught.out[0].T @ base_y)
            dose_fit = taught.turn[0] @ (rest / (taught.size[0] + strength))
            alone[rows] = self._base[rows] @ (taught.inverse @ base_y)
            both[rows] = alone[rows] + (self._doses[0][rows] - self._base[rows] @ taught.out[0]) @ dose_fit
        return alone, both
