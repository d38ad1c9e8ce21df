"""Two students made of one term a feature: straight lines (`linear`) and smooth curves (`additive`)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from hdt_fm.explain.distil.basis import Basis, Shape
from hdt_fm.explain.distil.moments import Path, best_path, covariances, drawn_moments, forward, moments, solved
from hdt_fm.explain.distil.named import people_folds

INNER_FOLDS = 3
MOST_TERMS = 8
DRAWS = 200


@dataclass(frozen=True)
class Terms:
    """Output = base + a term of each chosen feature; every term is 0 on average over the training windows.

    Attributes:
        chosen: Numbers of the features, the most telling first.
        some, weight: Columns of the basis that are used, and their coefficients.
        mean: Of those columns, over the training windows.
    """

    basis: Basis
    chosen: tuple[int, ...]
    some: Int[np.ndarray, " some"]
    weight: Float[np.ndarray, " some"]
    mean: Float[np.ndarray, " some"]
    base: float
    penalty: float

    @classmethod
    def of(cls, basis: Basis, path: Path, count: int, whole: Float[np.ndarray, "column column"]) -> "Terms":
        """The first `count` features of a path, fitted on the windows of `whole`."""
        some, means = path.columns(count), whole[0, 1:] / whole[0, 0]
        chosen = path.chosen[:count]
        weight = path.solve(whole, count)
        return cls(basis, chosen, some, weight, means[some], float(means[-1]), path.penalty)

    def parts(self, values: Float[np.ndarray, "window feature"]) -> Float[np.ndarray, "window feature"]:
        """What each feature adds to the base, in the output's unit; 0 for one that is not used."""
        columns = (self.basis.columns(values)[:, self.some] - self.mean) * self.weight
        parts = np.zeros(values.shape)
        for feature in self.chosen:
            parts[:, feature] = columns[:, np.isin(self.some, self.basis.blocks[feature])].sum(axis=1)
        return parts

    def predict(self, values: Float[np.ndarray, "window feature"]) -> Float[np.ndarray, " window"]:
        """The student's answer."""
        return self.base + self.parts(values).sum(axis=1)

    def drawn_weights(
        self,
        values: Float[np.ndarray, "window feature"],
        output: Float[np.ndarray, " window"],
        subject: Int[np.ndarray, " window"],
        *,
        draws: int = DRAWS,
        seed: int = 0,
    ) -> Float[np.ndarray, "draw some"]:
        """Coefficients for draws of people with replacement; features, penalty and scales are held."""
        person, counts = _drawn(subject, draws, seed)
        drawn = covariances(drawn_moments(self.basis.columns(values)[:, self.some], output, person, counts))
        return solved(drawn, np.arange(len(self.some)), self.penalty)

    def chosen_again(
        self,
        values: Float[np.ndarray, "window feature"],
        output: Float[np.ndarray, " window"],
        subject: Int[np.ndarray, " window"],
        *,
        draws: int = DRAWS,
        seed: int = 0,
    ) -> Float[np.ndarray, " feature"]:
        """In which share of draws of people each feature would have been among as many chosen ones."""
        person, counts = _drawn(subject, draws, seed)
        found = np.zeros(values.shape[1])
        for drawn in drawn_moments(self.basis.columns(values), output, person, counts):
            path = forward(drawn, self.basis.blocks, most=len(self.chosen), penalty=self.penalty)
            found[list(path.chosen)] += 1.0 / draws
        return found


def fit_terms(
    values: Float[np.ndarray, "window feature"],
    output: Float[np.ndarray, " window"],
    subject: Int[np.ndarray, " window"],
    *,
    shape: Shape,
    most: int = MOST_TERMS,
    seed: int = 0,
) -> Terms:
    """Number of features and penalty by inner folds over people, then fitted on everybody.

    Args:
        most: Features at the most; past eight nobody reads them.
    """
    basis = Basis.fit(values, subject, shape)
    inner = people_folds(subject, INNER_FOLDS, seed)
    parts = moments(basis.columns(values), output, inner)
    path, count = best_path(parts, basis.blocks, most=most)
    return Terms.of(basis, path, count, parts.sum(axis=0))


def _drawn(
    subject: Int[np.ndarray, " window"], draws: int, seed: int
) -> tuple[Int[np.ndarray, " window"], Int[np.ndarray, "draw person"]]:
    """Each window's person as 0, 1, ..., and how often each person is in each draw."""
    people, person = np.unique(subject, return_inverse=True)
    chosen = np.random.default_rng(seed).integers(0, len(people), (draws, len(people)))
    counts = np.stack([np.bincount(one, minlength=len(people)) for one in chosen])
    return person, counts
