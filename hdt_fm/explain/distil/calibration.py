"""Teacher and students against the truth: does what they say come true, and how often, on the same people."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int, Num

from hdt_fm.explain.distil.fidelity import (
    Said,
    Score,
    Sums,
    Weight,
    correlation_of_sums,
    mean_of_sums,
    sums,
)
from hdt_fm.explain.distil.named import MIN_PEOPLE, people_of
from hdt_fm.explain.distil.students import KINDS, MEAN, Role
from hdt_fm.explain.distil.teacher import Teacher, chance
from hdt_fm.metrics.bootstrap import paired_difference, subject_bootstrap

TEACHER = "the model itself"
AUROC, BRIER, ECE = "AUROC", "Brier score", "calibration error"
CORRELATION, ERROR, SLOPE, INTERCEPT = "correlation", "mean absolute error", "slope", "intercept"
BINS, LEVELS = 10, 5


@dataclass(frozen=True)
class Level:
    """A fifth of the windows by the teacher's output: what was said, what came; None under five people."""

    people: int
    teacher: float | None
    student: float | None
    truth: float | None


@dataclass(frozen=True)
class Calibration:
    """Against the labels of people whom the teacher was not trained on.

    Attributes:
        scores: Of the teacher, the students, the best single feature and the ceiling. Class: AUROC, Brier score,
            expected calibration error over ten bins. Value: correlation, mean absolute error, slope and intercept of
            the label on what was said (1 and 0 is perfect).
        gaps: Student less teacher, on the same draws of people.
        levels: From the lowest fifth to the highest.
    """

    people: int
    windows: int
    scores: tuple[Score, ...]
    gaps: tuple[Score, ...]
    levels: tuple[Level, ...]


def calibration(
    teacher: Teacher,
    said: Mapping[str, Said],
    subject: Int[np.ndarray, " window"],
    *,
    lead: str,
    draws: int = 1000,
    seed: int = 0,
) -> Calibration | None:
    """None where fewer than five people have a label that may be compared.

    Args:
        lead: The student whose levels are shown beside the teacher's.
    """
    known, label = teacher.known, teacher.label
    if label is None or people_of(subject, known) < MIN_PEOPLE:
        return None
    truth = label[known]
    _, person = np.unique(subject[known], return_inverse=True)
    as_said = chance if teacher.kind == "class" else np.asarray
    all_said = {TEACHER: teacher.output, **{name: one for name, one in said.items() if name != MEAN}}
    shown = {name: as_said(one[known]) for name, one in all_said.items()}
    measures = {name: _measures(teacher.kind, one, truth, person) for name, one in shown.items()}
    scores, gaps = list[Score](), list[Score]()
    for name, own in measures.items():
        role: Role = "reference" if name == TEACHER else KINDS[name].role
        for metric, (score, columns) in own.items():
            unit, beside = teacher.unit if metric in (ERROR, INTERCEPT) else "", measures[TEACHER][metric][1]
            # AUROC is of windows; all others are of sums over a person's windows.
            rows = person if metric == AUROC else np.arange(len(columns[0]))
            found = subject_bootstrap(score, rows, *columns, draws=draws, seed=seed)
            scores.append(Score(name, role, metric, *found, unit))
            if name != TEACHER:
                found = paired_difference(score, rows, columns, beside, draws=draws, seed=seed)
                gaps.append(Score(name, role, metric, *found, unit))
    levels = _levels(shown[TEACHER], shown[lead], truth, person)
    return Calibration(len(np.unique(person)), len(truth), tuple(scores), tuple(gaps), levels)


def _measures(
    kind: str, said: Said, truth: Said, person: Int[np.ndarray, " window"]
) -> dict[str, tuple[Callable[..., float], tuple[np.ndarray, ...]]]:
    """As functions of sums over a person's windows, and AUROC of windows."""
    here = np.ones(len(said))
    if kind == "class":
        bins = np.minimum((said * BINS).astype(int), BINS - 1)
        gaps = [(said - truth) * (bins == one) for one in range(BINS)]
        rank = np.unique(said, return_inverse=True)[1]
        return {
            AUROC: (auroc_of_ranks, (rank, truth)),
            BRIER: (mean_of_sums, sums(person, here, (said - truth) ** 2)),
            ECE: (ece_of_sums, sums(person, here, *gaps)),
        }
    # About the truth's mean, so that squares of large levels lose no digits; told back for the intercept.
    middle = float(truth.mean())
    x, y = said - middle, truth - middle
    pairs = sums(person, here, x, y, x * x, y * y, x * y)
    return {
        CORRELATION: (correlation_of_sums, pairs),
        ERROR: (mean_of_sums, sums(person, here, np.abs(said - truth))),
        SLOPE: (slope_of_sums, pairs),
        INTERCEPT: (intercept_of_sums, (*pairs, _level_of(person, middle))),
    }


def _level_of(person: Int[np.ndarray, " window"], value: float) -> Sums:
    """A number that is the same for all, as a column over people."""
    return np.full(int(person.max()) + 1, value)


def auroc_of_ranks(
    rank: Int[np.ndarray, " window"], label: Said, *, weight: Num[np.ndarray, " window"] | None = None
) -> float:
    """As `metrics.classification.auroc`, of places in the order (equal for ties): a draw then sorts nothing."""
    whole = np.ones(len(label)) if weight is None else np.asarray(weight, dtype=np.float64)
    positive, negative = np.bincount(rank, whole * label), np.bincount(rank, whole * (1 - label))
    total = float(positive.sum() * negative.sum())
    below = np.cumsum(negative) - negative
    return float(positive @ (below + 0.5 * negative)) / total if total else float("nan")


def ece_of_sums(count: Sums, *gaps: Sums, weight: Weight | None = None) -> float:
    """Sum over bins of |said - came|, over windows."""
    whole = np.ones(len(count)) if weight is None else np.asarray(weight, dtype=np.float64)
    many = float(whole @ count)
    return float(np.abs(np.stack(gaps) @ whole).sum()) / many if many else float("nan")


def slope_of_sums(
    count: Sums, x: Sums, y: Sums, xx: Sums, yy: Sums, xy: Sums, *, weight: Weight | None = None
) -> float:
    """Of the truth on what was said; NaN where the same was said of all."""
    whole = np.ones(len(count)) if weight is None else np.asarray(weight, dtype=np.float64)
    many, a, b, aa, ab = (float(whole @ one) for one in (count, x, y, xx, xy))
    spread = aa - a * a / many if many else 0.0
    return (ab - a * b / many) / spread if spread > 1e-12 * max(aa, 1e-12) else float("nan")


def intercept_of_sums(
    count: Sums, x: Sums, y: Sums, xx: Sums, yy: Sums, xy: Sums, middle: Sums, *, weight: Weight | None = None
) -> float:
    """What the truth is where 0 is said; `middle` was taken off both."""
    whole = np.ones(len(count)) if weight is None else np.asarray(weight, dtype=np.float64)
    slope, many = slope_of_sums(count, x, y, xx, yy, xy, weight=weight), float(whole @ count)
    level = float(middle[0])
    return float(whole @ y) / many + level - slope * (float(whole @ x) / many + level) if many else float("nan")


def _levels(teacher: Said, student: Said, truth: Said, person: Int[np.ndarray, " window"]) -> tuple[Level, ...]:
    order = np.argsort(teacher, kind="stable")
    levels = []
    for rows in np.array_split(order, LEVELS):
        people = people_of(person, rows)
        shown = people >= MIN_PEOPLE
        means = [float(one[rows].mean()) if shown else None for one in (teacher, student, truth)]
        levels.append(Level(people if shown else 0, *means))
    return tuple(levels)


def labelled_error(
    teacher: Teacher, said: Said, rows: Bool[np.ndarray, " window"], subject: Int[np.ndarray, " window"]
) -> tuple[float, float] | None:
    """Mean error of teacher and student against the truth in some windows: squared misses of the probability, or
    absolute ones of the value. None under five people with a label."""
    here = rows & teacher.known
    if teacher.label is None or people_of(subject, here) < MIN_PEOPLE:
        return None
    truth = teacher.label[here]
    if teacher.kind == "class":
        misses = [np.square(chance(one[here]) - truth) for one in (teacher.output, said)]
    else:
        misses = [np.abs(one[here] - truth) for one in (teacher.output, said)]
    first, second = (float(one.mean()) for one in misses)
    return first, second
