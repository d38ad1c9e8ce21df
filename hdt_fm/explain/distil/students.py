"""The students, and what they are held against: two floors below them and what the features can say at the most."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int
from sklearn.ensemble import HistGradientBoostingRegressor

from hdt_fm.explain.distil.terms import fit_terms
from hdt_fm.explain.distil.tree import fit_tree

Role = Literal["ours", "baseline", "reference"]
MEAN, SINGLE, CEILING = "mean of the teacher", "best single feature", "gradient boosting"
TREE, LINEAR, ADDITIVE = "tree", "linear", "additive"
ROUNDS = 100


@runtime_checkable
class Student(Protocol):
    """A fitted student."""

    def predict(self, values: Float[np.ndarray, "window feature"]) -> Float[np.ndarray, " window"]:
        """Its answer for any windows; features may be NaN."""
        ...


@runtime_checkable
class ReadableStudent(Student, Protocol):
    """One whose answer is a sum over features."""

    @property
    def base(self) -> float:
        """Its answer where no feature says anything."""
        ...

    def parts(self, values: Float[np.ndarray, "window feature"]) -> Float[np.ndarray, "window feature"]:
        """What each feature adds to the base; base and parts add up to the answer."""
        ...


Fit = Callable[..., Student]


@dataclass(frozen=True)
class Kind:
    """A student, a floor or the ceiling.

    Attributes:
        fit: Called as fit(values, output, subject, seed=...).
        meaning: One plain sentence.
    """

    role: Role
    fit: Fit
    title: str
    meaning: str


@dataclass(frozen=True)
class Constant:
    """Says the same of every window."""

    base: float

    def predict(self, values: Float[np.ndarray, "window feature"]) -> Float[np.ndarray, " window"]:
        return np.full(len(values), self.base)


def fit_mean(
    values: Float[np.ndarray, "window feature"],
    output: Float[np.ndarray, " window"],
    subject: Int[np.ndarray, " window"],
    *,
    seed: int = 0,
) -> Student:
    """The least that a student must beat."""
    return Constant(float(output.mean()))


def fit_boosted(
    values: Float[np.ndarray, "window feature"],
    output: Float[np.ndarray, " window"],
    subject: Int[np.ndarray, " window"],
    *,
    seed: int = 0,
) -> Student:
    """A hundred boosted trees, which nobody reads: about what these features can say of the output at all."""
    # A feature that nobody has cannot be binned.
    known = np.isfinite(values).any(axis=0)
    model = HistGradientBoostingRegressor(
        max_iter=ROUNDS, max_leaf_nodes=15, max_bins=63, early_stopping=False, random_state=seed
    )
    return _Boosted(model.fit(values[:, known], output), known)


@dataclass(frozen=True)
class _Boosted:
    model: HistGradientBoostingRegressor
    known: np.ndarray

    def predict(self, values: Float[np.ndarray, "window feature"]) -> Float[np.ndarray, " window"]:
        return self.model.predict(values[:, self.known])


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        TREE: Kind("ours", fit_tree, "Decision tree", "At most four questions in a row, each answered by yes or no."),
        LINEAR: Kind(
            "ours",
            partial(fit_terms, shape="line"),
            "Linear",
            "At most eight features, each with one number: what a standard deviation more of it adds.",
        ),
        ADDITIVE: Kind(
            "ours",
            partial(fit_terms, shape="curve"),
            "Additive",
            "At most eight features, each with a curve of what its level adds.",
        ),
        MEAN: Kind("baseline", fit_mean, "Mean of the model's output", "Says the same of every window."),
        SINGLE: Kind(
            "baseline",
            partial(fit_terms, shape="curve", most=1),
            "Best single feature",
            "A curve of the one feature that tells most.",
        ),
        CEILING: Kind(
            "reference",
            fit_boosted,
            "Gradient boosting",
            "A hundred trees that nobody can read: about what these features can say at the most.",
        ),
    }
)
OURS = tuple(name for name, kind in KINDS.items() if kind.role == "ours")
