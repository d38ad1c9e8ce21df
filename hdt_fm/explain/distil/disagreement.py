"""Where a student and its teacher differ most, as conditions on features; never as a person."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from hdt_fm.explain.distil.calibration import labelled_error
from hdt_fm.explain.distil.fidelity import FOLDS, Said, mean_of_sums, over_people, r2_of_sums, sums
from hdt_fm.explain.distil.named import NamedFeatures, people_folds, people_of
from hdt_fm.explain.distil.rules import conditions
from hdt_fm.explain.distil.teacher import Teacher
from hdt_fm.explain.distil.tree import fit_tree
from hdt_fm.metrics.bootstrap import Interval

MOST_DEPTH = 2


@dataclass(frozen=True)
class Region:
    """Windows that share conditions.

    Attributes:
        gap: Mean size of student less teacher, in the output's unit.
        bias: Mean of student less teacher: above 0 the student says more.
        errors: Of teacher and student against the truth, where five people or more have a label.
    """

    conditions: tuple[str, ...]
    windows: int
    people: int
    gap: Interval
    bias: float
    errors: tuple[float, float] | None


@dataclass(frozen=True)
class Disagreement:
    """Regions, the largest gap first; one without conditions where none foretells the gap.

    Attributes:
        foretold: Share of the gap's spread that the conditions foretell on people left out (R2).
    """

    student: str
    gap: Interval
    foretold: Interval
    regions: tuple[Region, ...]


def disagreement(
    teacher: Teacher, student: str, said: Said, named: NamedFeatures, *, draws: int = 1000, seed: int = 0
) -> Disagreement:
    """A tree of two questions at the most on |student - teacher|, all answers being out-of-fold.

    Args:
        said: The student's answers on people whom it was not fitted to.
    """
    signed = said - teacher.output
    size = np.abs(signed)
    fold = people_folds(named.subject, FOLDS, seed)
    foretold = np.full(len(size), np.nan)
    for number in range(int(fold.max()) + 1):
        asked = fold == number
        tree = fit_tree(named.values[~asked], size[~asked], named.subject[~asked], most=MOST_DEPTH, seed=seed)
        foretold[asked] = tree.predict(named.values[asked])
    found = []
    for way, rows in fit_tree(named.values, size, named.subject, most=MOST_DEPTH, seed=seed).walk(named.values):
        here = np.zeros(len(size), dtype=bool)
        here[rows] = True
        found.append(
            Region(
                conditions=conditions(way, named),
                windows=len(rows),
                people=people_of(named.subject, here),
                gap=_mean(size[here], named.subject[here], draws, seed),
                bias=float(signed[here].mean()),
                errors=labelled_error(teacher, said, here, named.subject),
            )
        )
    spread = size - size.mean()
    held = _over(r2_of_sums, named.subject, draws, seed, spread, spread**2, (foretold - size) ** 2)
    regions = tuple(sorted(found, key=lambda one: -one.gap.value))
    return Disagreement(student, _mean(size, named.subject, draws, seed), held, regions)


def _mean(values: Said, subject: Int[np.ndarray, " window"], draws: int, seed: int) -> Interval:
    return _over(mean_of_sums, subject, draws, seed, values)


def _over(
    score: Callable[..., float], subject: Int[np.ndarray, " window"], draws: int, seed: int, *columns: np.ndarray
) -> Interval:
    _, person = np.unique(subject, return_inverse=True)
    return over_people(score, sums(person, np.ones(len(subject)), *columns), draws=draws, seed=seed)
