"""Whose signal a student goes by beside whose signal its teacher does: shares of credit of the modalities."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from hdt_fm.explain.distil.fidelity import mean_of_sums, over_people, sums
from hdt_fm.explain.distil.named import MIN_PEOPLE, NamedFeatures, people_of
from hdt_fm.explain.distil.students import ReadableStudent
from hdt_fm.metrics.bootstrap import Interval
from hdt_fm.schema.errors import ExplainError


@dataclass(frozen=True)
class TeacherShares:
    """Shares of credit by a method's maps.

    Attributes:
        method: Whose maps, in words.
        values: As `Explanation.shares`; rows of NaN for windows that were not explained.
    """

    method: str
    modalities: tuple[str, ...]
    values: Float[np.ndarray, "window modality"]


@dataclass(frozen=True)
class Credit:
    """Mean shares of each modality over windows, and how alike they are.

    Attributes:
        students: By student, then modality. A student's credit of a modality in a window is the size of what its
            features add together, so that ten features of one signal that cancel out get none.
        teacher: By modality; empty where no maps were given, or of fewer than five people.
        overlap: By student: 1 - half the sum of |differences| of the mean shares, over the windows that both
            have. 1 is the same shares, 0 nothing in common.
    """

    modalities: tuple[str, ...]
    students: Mapping[str, Mapping[str, Interval]]
    teacher: Mapping[str, Interval]
    method: str
    overlap: Mapping[str, Interval]


def credit_of(
    students: Mapping[str, ReadableStudent],
    named: NamedFeatures,
    given: TeacherShares | None = None,
    *,
    draws: int = 1000,
    seed: int = 0,
) -> Credit:
    """Shares of each student over all windows, and of the teacher over those that it was explained in.

    Raises:
        ExplainError: If the teacher's shares are not of these windows.
    """
    if given is not None and given.values.shape != (len(named), len(given.modalities)):
        raise ExplainError(
            "Shares do not fit the windows",
            expected=f"({len(named)}, {len(given.modalities)}), NaN where a window was not explained",
            got=str(given.values.shape),
        )
    all_names = (*named.modalities, *(given.modalities if given else ()))
    names = tuple(dict.fromkeys(all_names))
    found = {name: _placed(shares(one, named), named.modalities, names) for name, one in students.items()}
    theirs = _placed(given.values, given.modalities, names) if given else np.full((len(named), len(names)), np.nan)
    usable = people_of(named.subject, _there(theirs)) >= MIN_PEOPLE
    return Credit(
        modalities=names,
        students={name: _means(one, names, named.subject, draws, seed) for name, one in found.items()},
        teacher=_means(theirs, names, named.subject, draws, seed) if usable else {},
        method=given.method if given else "",
        overlap={name: _overlap(one, theirs, named.subject, draws, seed) for name, one in found.items() if usable},
    )


def shares(student: ReadableStudent, named: NamedFeatures) -> Float[np.ndarray, "window modality"]:
    """Of |what a modality's features add|; NaN in windows where nothing adds anything."""
    size = np.abs(named.over_modalities(student.parts(named.values)))
    whole = size.sum(axis=1, keepdims=True)
    return np.divide(size, whole, out=np.full_like(size, np.nan), where=whole > 1e-12)


def _placed(
    values: Float[np.ndarray, "window some"], own: Sequence[str], names: Sequence[str]
) -> Float[np.ndarray, "window modality"]:
    """With a column for each name; 0 for what is not there, where the row is known."""
    placed = np.zeros((len(values), len(names))) * values[:, :1]
    placed[:, [names.index(one) for one in own]] = values
    return placed


def _there(values: Float[np.ndarray, "window modality"]) -> np.ndarray:
    return np.isfinite(values).all(axis=1)


def _means(
    values: Float[np.ndarray, "window modality"],
    names: Sequence[str],
    subject: Int[np.ndarray, " window"],
    draws: int,
    seed: int,
) -> dict[str, Interval]:
    here = _there(values)
    if people_of(subject, here) < MIN_PEOPLE:
        return {}
    _, person = np.unique(subject[here], return_inverse=True)
    ones = np.ones(len(person))
    return {
        name: over_people(mean_of_sums, sums(person, ones, column), draws=draws, seed=seed)
        for name, column in zip(names, values[here].T, strict=True)
    }


def _overlap(
    first: Float[np.ndarray, "window modality"],
    second: Float[np.ndarray, "window modality"],
    subject: Int[np.ndarray, " window"],
    draws: int,
    seed: int,
) -> Interval:
    here = _there(first) & _there(second)
    if people_of(subject, here) < MIN_PEOPLE:
        return Interval(np.nan, np.nan, np.nan)
    _, person = np.unique(subject[here], return_inverse=True)
    columns = sums(person, np.ones(len(person)), *(first - second)[here].T)
    return over_people(overlap_of_sums, columns, draws=draws, seed=seed)


def overlap_of_sums(count: np.ndarray, *differences: np.ndarray, weight: np.ndarray | None = None) -> float:
    """1 - half the sum over modalities of |mean difference|."""
    whole = np.ones(len(count)) if weight is None else np.asarray(weight, dtype=np.float64)
    return 1 - 0.5 * float(np.abs(np.stack(differences) @ whole).sum()) / float(whole @ count)
