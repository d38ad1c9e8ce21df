"""Ridge regression that takes up one feature at a time, on cross-products alone.

Cross-products of people add up: folds, draws of people and all penalties are read off sums of small matrices, so that
the windows are gone through once. A matrix is of the columns (1, columns, output).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Num

PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
# A student is there to be read: the fewest features whose inner error is within this of the least.
NEAR = 1.02
_AT_ONCE = 20_000_000
_NOTHING = 1e-9

Moment = Float[np.ndarray, "column column"]
Blocks = Int[np.ndarray, "feature size"]


def moments(
    columns: Float[np.ndarray, "window column"], output: Float[np.ndarray, " window"], part: Int[np.ndarray, " window"]
) -> Float[np.ndarray, "part _ _"]:
    """Cross-products of the windows of each part (0, 1, ...)."""
    whole = np.column_stack([np.ones(len(output)), columns, output])
    order = np.argsort(part, kind="stable")
    pieces = np.split(whole[order], np.flatnonzero(np.diff(part[order])) + 1)
    return np.stack([one.T @ one for one in pieces])


def drawn_moments(
    columns: Float[np.ndarray, "window column"],
    output: Float[np.ndarray, " window"],
    person: Int[np.ndarray, " window"],
    counts: Num[np.ndarray, "draw person"],
) -> Float[np.ndarray, "draw _ _"]:
    """Cross-products of each draw of people; some people at a time, so that memory does not grow with them."""
    side = columns.shape[1] + 2
    step = max(1, _AT_ONCE // side**2)
    total = np.zeros((len(counts), side * side))
    for first in range(0, counts.shape[1], step):
        some = (person >= first) & (person < first + step)
        found = moments(columns[some], output[some], person[some])
        total += counts[:, first : first + step].astype(np.float64) @ found.reshape(len(found), -1)
    return total.reshape(-1, side, side)


def covariances(moment: Float[np.ndarray, "*draw column column"]) -> Float[np.ndarray, "*draw _ _"]:
    """Of columns and output, from cross-products with the ones; the last row is of the output."""
    count = moment[..., :1, :1]
    mean = moment[..., :1, 1:] / count
    return moment[..., 1:, 1:] / count - np.swapaxes(mean, -1, -2) * mean


@dataclass(frozen=True)
class Path:
    """Features in the order in which they were taken up; `solve` fits the first few."""

    chosen: tuple[int, ...]
    blocks: Blocks
    penalty: float

    def columns(self, count: int) -> Int[np.ndarray, " some"]:
        """Of the first `count` features."""
        found = self.blocks[list(self.chosen[:count])].ravel()
        return found[found >= 0].astype(np.int64)

    def solve(self, moment: Moment, count: int) -> Float[np.ndarray, " some"]:
        """Coefficients of the columns of the first `count` features."""
        return solved(covariances(moment), self.columns(count), self.penalty)

    def error(self, fitted: Moment, asked: Moment, count: int) -> float:
        """Sum of squared errors on the windows of `asked`, of what was fitted on those of `fitted`."""
        some, weight = self.columns(count), self.solve(fitted, count)
        means = fitted[0, 1:] / fitted[0, 0]
        whole = np.zeros(len(asked))
        whole[0] = means[some] @ weight - means[-1]
        whole[1 + some] = -weight
        whole[-1] = 1.0
        return float(whole @ asked @ whole)


def solved(
    covariance: Float[np.ndarray, "*draw column column"], some: Int[np.ndarray, " some"], penalty: float
) -> Float[np.ndarray, "*draw some"]:
    """Ridge coefficients of some columns, for one matrix or for one a draw."""
    inner = covariance[..., some[:, None], some] + penalty * np.eye(len(some))
    return np.linalg.solve(inner, covariance[..., some, -1:])[..., 0]


def forward(moment: Moment, blocks: Blocks, *, most: int, penalty: float) -> Path:
    """Take up features one by one, each time the one that lowers the ridge objective most.

    Args:
        blocks: Columns of each feature; -1 fills up, and a feature of -1 alone is never taken.
        most: Features to take at the most; fewer where none is left that adds anything.
    """
    columns, (features, size) = len(moment) - 2, blocks.shape
    # Columns of nothing behind the true ones stand in where a feature has fewer than the others.
    rest = np.eye(columns + 1 + size)
    rest[: columns + 1, : columns + 1] = covariances(moment)
    rest[range(columns), range(columns)] += penalty
    index = np.where(blocks >= 0, blocks, columns + 1 + np.arange(size))
    least, chosen = _NOTHING * max(rest[columns, columns], np.finfo(float).tiny), list[int]()
    free = np.array((blocks >= 0).any(axis=1))
    while len(chosen) < min(most, features):
        towards = rest[index, columns]
        inner = np.linalg.solve(rest[index[:, :, None], index[:, None, :]], towards[..., None])[..., 0]
        gain = np.where(free, (towards * inner).sum(axis=1), -np.inf)
        best = int(gain.argmax())
        if gain[best] <= least:
            break
        chosen.append(best)
        free[best] = False
        own = index[best]
        rest -= rest[:, own] @ np.linalg.solve(rest[own[:, None], own], rest[own])
        # What was taken up explains itself; ones keep the solver well.
        rest[:, own] = rest[own] = 0.0
        rest[own, own] = 1.0
    return Path(tuple(chosen), blocks, penalty)


def best_path(parts: Float[np.ndarray, "part column column"], blocks: Blocks, *, most: int) -> tuple[Path, int]:
    """The penalty and the number of features of least error on people left out, then fitted on all.

    Args:
        parts: Cross-products of each inner fold's test people.

    Returns:
        The path over everybody, and how many of its features to use.
    """
    whole = parts.sum(axis=0)
    errors = np.zeros((len(PENALTIES), most + 1))
    for row, penalty in enumerate(PENALTIES):
        for asked in parts if len(parts) > 1 else ():
            path = forward(whole - asked, blocks, most=most, penalty=penalty)
            errors[row] += list(_errors(path, whole - asked, asked, most))
    count = int(np.flatnonzero(errors.min(axis=0) <= NEAR * errors.min())[0]) if len(parts) > 1 else most
    # Of equal errors the strongest penalty.
    row = len(PENALTIES) - 1 - int(errors[::-1, count].argmin())
    path = forward(whole, blocks, most=count, penalty=PENALTIES[row])
    return path, min(count, len(path.chosen))


def _errors(path: Path, fitted: Moment, asked: Moment, most: int) -> Iterator[float]:
    """With none, one, two ... features; a path that ended early stays where it ended."""
    for count in range(most + 1):
        yield path.error(fitted, asked, min(count, len(path.chosen)))
