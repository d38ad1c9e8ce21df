"""Ways of moving a population's linear probe towards one person, with few of that person's own windows."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from hdt_fm.evaluation.audit import FittedOn
from hdt_fm.evaluation.probes import Fit
from hdt_fm.evaluation.standardise import Standardise
from hdt_fm.schema.errors import ShapeError

NONE = "no own data"
NEWTON_STEPS = 25
NEIGHBOURS = 5
TEMPERATURE = 0.2


@dataclass(frozen=True)
class Population:
    """A linear probe of the training people: log-odds = scaled features @ weights + offset."""

    scale: Standardise
    weights: Float[np.ndarray, " feature"]
    offset: float
    fitted_on: FittedOn

    def logits(self, scaled: Float[np.ndarray, "row feature"]) -> Float[np.ndarray, " row"]:
        """Log-odds of the second class."""
        return scaled @ self.weights + self.offset


@dataclass(frozen=True)
class Own:
    """A person's own windows, scaled as the population's are, and their labels (0 or 1)."""

    x: Float[np.ndarray, "own feature"]
    y: Float[np.ndarray, " own"]

    @property
    def weight(self) -> Float[np.ndarray, " own"]:
        """Each class counts as much as the other; all weights sum to the number of windows."""
        sizes = np.bincount(self.y.astype(np.int64), minlength=2)
        return len(self.y) / (max((sizes > 0).sum(), 1) * np.maximum(sizes, 1)[self.y.astype(np.int64)])


Adapt = Callable[[Population, np.ndarray, Own, float], np.ndarray]


def population(fit: Fit, x: np.ndarray, y: np.ndarray, group: np.ndarray) -> Population:
    """Fit a probe and read off its line: a linear probe's log-odds at zero and at each unit vector give it whole."""
    scale = Standardise.fit(x, group)
    fitted = fit(scale(x), y, group)

    def odds(rows: np.ndarray) -> np.ndarray:
        p = fitted.predict(rows)
        return np.log(p[:, 1]) - np.log(p[:, 0])

    offset = float(odds(np.zeros((1, x.shape[1])))[0])
    weights = odds(np.eye(x.shape[1])) - offset
    inputs = scale(x[:50])
    if not np.allclose(inputs @ weights + offset, odds(inputs), atol=1e-5):
        raise ShapeError("Only a linear probe of two classes can be moved", expected="log-odds that are linear")
    return Population(scale, weights, offset, fitted.fitted_on)


def own_scaling(probe: Population, asked: np.ndarray, own: Own, strength: float) -> Float[np.ndarray, " row"]:
    """Unlabelled: the person's own mean becomes the population's, the less of it the fewer windows made it."""
    share = len(own.x) / (len(own.x) + strength)
    return probe.logits(asked - share * own.x.mean(axis=0))


def affine(probe: Population, asked: np.ndarray, own: Own, strength: float) -> Float[np.ndarray, " row"]:
    """Two numbers, a slope and an offset of the log-odds, held to 1 and 0 by a ridge."""
    z = probe.logits(own.x)
    inputs = np.stack([z, np.ones_like(z)], axis=1)
    found = _newton(inputs, own, start=np.array([1.0, 0.0]), ridge=strength)
    # A falling slope would turn the person's answers round on the word of a few windows.
    return max(found[0], 0.05) * probe.logits(asked) + found[1]


def retrieval(probe: Population, asked: np.ndarray, own: Own, strength: float) -> Float[np.ndarray, " row"]:
    """Votes of the nearest own windows by cosine, added to the log-odds; `strength` makes them count less."""
    cosine = _unit(asked) @ _unit(own.x).T
    near = np.exp((cosine - cosine.max(axis=1, keepdims=True)) / TEMPERATURE)
    if near.shape[1] > NEIGHBOURS:
        near[near < np.partition(near, -NEIGHBOURS, axis=1)[:, [-NEIGHBOURS]]] = 0.0
    votes = near * own.weight
    share = (votes @ own.y) / votes.sum(axis=1)
    return probe.logits(asked) + (2 * share - 1) / strength


def warm_start(probe: Population, asked: np.ndarray, own: Own, strength: float) -> Float[np.ndarray, " row"]:
    """The maximum a posteriori probe around the population's: log-loss of the own windows plus a ridge to it.

    Its weights differ from the population's by a mix of the own windows, so the change is of low rank: as many
    numbers are sought as there are own windows, and one for the offset.
    """
    joined = np.concatenate([own.x, np.ones((len(own.x), 1))], axis=1)
    left, sizes, right = np.linalg.svd(joined, full_matrices=False)
    inputs = left * sizes
    found = _newton(inputs, own, start=np.zeros(len(sizes)), ridge=strength, base=probe.logits(own.x))
    change = found @ right
    return probe.logits(asked) + asked @ change[:-1] + change[-1]


# Grids run from cautious to bold, so that the first of equals is the most cautious.
METHODS: Mapping[str, tuple[Adapt, tuple[float, ...]]] = {
    "own scaling, unlabelled": (own_scaling, (1e6, 100.0, 30.0, 10.0, 3.0)),
    "affine": (affine, (1e3, 30.0, 10.0, 3.0, 1.0)),
    "retrieval": (retrieval, (1e3, 4.0, 2.0, 1.0, 0.5)),
    "warm-started probe": (warm_start, (1e6, 1e4, 3e3, 1e3, 300.0, 100.0)),
}


def _newton(
    inputs: Float[np.ndarray, "own number"],
    own: Own,
    *,
    start: Float[np.ndarray, " number"],
    ridge: float,
    base: Float[np.ndarray, " own"] | float = 0.0,
) -> Float[np.ndarray, " number"]:
    """Minimises weighted log-loss of `base + inputs @ found` plus ridge/2 of the squared distance to `start`."""

    def loss(found: np.ndarray) -> float:
        z = base + inputs @ found
        fit = own.weight * np.logaddexp(0.0, np.where(own.y > 0, -z, z))
        return float(fit.sum() + ridge / 2 * ((found - start) ** 2).sum())

    found = start.copy()
    for _ in range(NEWTON_STEPS):
        p = 1.0 / (1.0 + np.exp(-(base + inputs @ found).clip(-30, 30)))
        slope = inputs.T @ (own.weight * (p - own.y)) + ridge * (found - start)
        bend = (inputs.T * (own.weight * p * (1 - p))) @ inputs + ridge * np.eye(len(start))
        step, length, before = np.linalg.solve(bend, slope), 1.0, loss(found)
        while loss(found - length * step) > before and length > 1e-4:
            length /= 2
        found = found - length * step
        if np.abs(length * step).max() < 1e-8:
            break
    return found


def _unit(rows: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(length > 0, length, 1.0)
