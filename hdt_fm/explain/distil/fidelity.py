"""How well students follow their teacher on people they were not fitted to, with intervals over people."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Num
from scipy.stats import rankdata

from hdt_fm.explain.distil.named import NamedFeatures, people_folds
from hdt_fm.explain.distil.students import KINDS, MEAN, Role
from hdt_fm.explain.distil.teacher import Teacher
from hdt_fm.metrics.bootstrap import Interval, paired_difference, subject_bootstrap

FOLDS = 5
R2, RANK, WITHIN, GAP, AGREEMENT, KAPPA = (
    "R2",
    "rank correlation",
    "R2 within people",
    "mean absolute difference",
    "same decision",
    "kappa",
)
Said = Float[np.ndarray, " window"]
Sums = Float[np.ndarray, " person"]
Weight = Num[np.ndarray, " person"]
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Score:
    """One number of the table; `unit` is empty for a bare one."""

    model: str
    role: Role
    metric: str
    value: float
    low: float
    high: float
    unit: str = ""


def out_of_fold(
    teacher: Teacher, named: NamedFeatures, *, folds: int = FOLDS, seed: int = 0, progress: Progress | None = None
) -> dict[str, Said]:
    """What each student says of people whom it was not fitted to, and so each floor and the ceiling.

    The teacher's labels are not used: a student learns what the model says, not what is true.
    """
    fold = people_folds(named.subject, folds, seed)
    said = {name: np.full(len(named), np.nan) for name in KINDS}
    total = int(fold.max()) + 1
    for number in range(total):
        asked = fold == number
        for name, kind in KINDS.items():
            student = kind.fit(named.values[~asked], teacher.output[~asked], named.subject[~asked], seed=seed)
            said[name][asked] = student.predict(named.values[asked])
        if progress:
            progress(number + 1, total, "students")
    return said


def fidelity(
    teacher: Teacher, said: Mapping[str, Said], subject: Int[np.ndarray, " window"], *, draws: int = 1000, seed: int = 0
) -> tuple[Score, ...]:
    """Scores of every student against the teacher's output.

    Args:
        said: Out-of-fold answers by name of the student; the mean of the teacher must be among them.

    Returns:
        R2, rank correlation, R2 after each person's mean is taken off both, the mean absolute difference, and where
        the output decides something how often the decision is the same, plain and beyond chance (Cohen's kappa).
    """
    rows = []
    for name, answer in said.items():
        # What a fold's people mean on average ranks folds backwards, whatever the student says of windows.
        ranked = answer - said[MEAN]
        for metric, (score, columns) in measures(teacher, answer, subject, ranked).items():
            found = over_people(score, columns, draws=draws, seed=seed)
            # Who says the same of all ranks nothing.
            found = Interval(0.0, np.nan, np.nan) if metric == RANK and not np.ptp(ranked) > 0 else found
            unit = teacher.unit if metric == GAP else ""
            rows.append(Score(name, KINDS[name].role, metric, *found, unit))
    return tuple(rows)


def beyond(
    teacher: Teacher,
    better: Said,
    floor: Said,
    subject: Int[np.ndarray, " window"],
    *,
    draws: int = 1000,
    seed: int = 0,
) -> Interval:
    """How much more R2 one student has than another, on the same draws of people."""
    score, first = measures(teacher, better, subject)[R2]
    _, second = measures(teacher, floor, subject)[R2]
    return paired_difference(score, np.arange(len(first[0])), first, second, draws=draws, seed=seed)


def measures(
    teacher: Teacher, said: Said, subject: Int[np.ndarray, " window"], ranked: Said | None = None
) -> dict[str, tuple[Callable[..., float], tuple[Sums, ...]]]:
    """Each measure as a function of sums over a person's windows: an interval then costs no more for more windows.

    Args:
        ranked: What is ranked in place of `said`.
    """
    _, person = np.unique(subject, return_inverse=True)
    true, miss = teacher.output - teacher.output.mean(), said - teacher.output
    ranks = [rankdata(one) / len(said) - 0.5 for one in (teacher.output, said if ranked is None else ranked)]
    here = np.ones(len(said))
    own = [one - _own_mean(one, person) for one in (true, miss)]
    found: dict[str, tuple[Callable[..., float], tuple[Sums, ...]]] = {
        R2: (r2_of_sums, sums(person, here, true, true**2, miss**2)),
        RANK: (correlation_of_sums, sums(person, here, *ranks, ranks[0] ** 2, ranks[1] ** 2, ranks[0] * ranks[1])),
        # Means are off already, so a sum of squares is all there is to a person.
        WITHIN: (r2_of_sums, sums(person, here, np.zeros(len(said)), own[0] ** 2, own[1] ** 2)),
        GAP: (mean_of_sums, sums(person, here, np.abs(miss))),
    }
    if teacher.decides_at is not None:
        yes, also = teacher.output > teacher.decides_at, said > teacher.decides_at
        found[AGREEMENT] = (mean_of_sums, sums(person, here, yes == also))
        found[KAPPA] = (kappa_of_sums, sums(person, here, yes, also, yes & also))
    return found


def over_people(
    score: Callable[..., float], columns: tuple[Sums, ...], *, draws: int = 1000, seed: int = 0
) -> Interval:
    """The score of everybody and its interval, a person being a row."""
    return subject_bootstrap(score, np.arange(len(columns[0])), *columns, draws=draws, seed=seed)


def sums(person: Int[np.ndarray, " window"], *columns: np.ndarray) -> tuple[Sums, ...]:
    """Of each column over each person's windows."""
    return tuple(np.bincount(person, np.asarray(one, dtype=np.float64)) for one in columns)


def _own_mean(values: Said, person: Int[np.ndarray, " window"]) -> Said:
    return (np.bincount(person, values) / np.bincount(person))[person]


def _total(weight: Weight | None, *columns: Sums) -> list[float]:
    return [float(one.sum() if weight is None else weight @ one) for one in columns]


def mean_of_sums(count: Sums, value: Sums, *, weight: Weight | None = None) -> float:
    """Mean over windows."""
    many, whole = _total(weight, count, value)
    return whole / many if many else float("nan")


def r2_of_sums(count: Sums, true: Sums, square: Sums, miss: Sums, *, weight: Weight | None = None) -> float:
    """1 - squared miss / squared distance from the mean; NaN where the teacher says the same of all."""
    many, first, second, missed = _total(weight, count, true, square, miss)
    spread = second - first**2 / many if many else 0.0
    return 1 - missed / spread if spread > 1e-12 * max(second, 1e-12) else float("nan")


def correlation_of_sums(
    count: Sums, x: Sums, y: Sums, xx: Sums, yy: Sums, xy: Sums, *, weight: Weight | None = None
) -> float:
    """Pearson's, of ranks or of values; NaN where one side is constant."""
    many, a, b, aa, bb, ab = _total(weight, count, x, y, xx, yy, xy)
    spread = (aa - a * a / many) * (bb - b * b / many) if many else 0.0
    return (ab - a * b / many) / float(np.sqrt(spread)) if spread > 1e-18 else float("nan")


def kappa_of_sums(count: Sums, yes: Sums, also: Sums, both: Sums, *, weight: Weight | None = None) -> float:
    """Cohen's kappa of two decisions; 0 where the student always decides alike, NaN where the teacher does too."""
    many, first, second, together = (one for one in _total(weight, count, yes, also, both))
    if not many:
        return float("nan")
    same = 1 - (first + second - 2 * together) / many
    by_chance = (first * second + (many - first) * (many - second)) / many**2
    return (same - by_chance) / (1 - by_chance) if by_chance < 1 else float("nan")
