"""What is scored of each cell: classes by right and wrong, calibration and rates; values by error, bias, coverage."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from hdt_fm.audit.fairness.answers import INTERVAL, Asked, as_common_as_taught, half_widths
from hdt_fm.evaluation import people
from hdt_fm.evaluation.people import Score

BINS = 10
MANY = 2


@dataclass(frozen=True)
class Measure:
    """A score of answers over people.

    Attributes:
        score: Answers (row, output) -> a score over people.
        rests_on: People who have any window that it counts.
        aim: "higher" or "lower" is better, or the number that it should be.
    """

    name: str
    score: Callable[[np.ndarray], Score]
    rests_on: Bool[np.ndarray, " person"]
    aim: Literal["higher", "lower"] | float
    unit: str = ""

    def badness(self, values: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        """How far from good each value is; more is worse."""
        return {"higher": -values, "lower": values}[self.aim] if isinstance(self.aim, str) else abs(values - self.aim)


def measures_of(asked: Asked) -> list[Measure]:
    """Those of this kind of label; the one that leads is first."""
    return _of_classes(asked) if asked.classes else _of_values(asked)


def _of_classes(asked: Asked) -> list[Measure]:
    labels, person = asked.truth.astype(np.int64), asked.person
    everyone = np.bincount(person, minlength=asked.people) > 0
    found = [
        Measure("balanced_accuracy", lambda s: people.balanced_accuracy(s, labels, person), everyone, "higher"),
        Measure("auroc", lambda s: people.auroc(s, labels, person), everyone, "higher"),
        Measure(
            "calibration_error",
            lambda s: calibration_error(as_common_as_taught(s, asked.prior), labels, person),
            everyone,
            "lower",
        ),
    ]
    if len(asked.classes) > MANY:
        return found
    for name, of, aim in (("true_positive_rate", 1, "higher"), ("false_positive_rate", 0, "lower")):
        which = labels == of
        with_it = np.bincount(person[which], minlength=asked.people)

        def rate(scores: np.ndarray, which: np.ndarray = which, with_it: np.ndarray = with_it) -> Score:
            called = np.bincount(person[which], weights=scores[which].argmax(axis=1), minlength=asked.people)
            return people.ratio_of_sums(called, with_it.astype(np.float64))

        found.append(Measure(name, rate, with_it > 0, aim))  # type: ignore[arg-type]
    return found


def _of_values(asked: Asked) -> list[Measure]:
    everyone = np.bincount(asked.person, minlength=asked.people) > 0

    def missed(scores: np.ndarray) -> np.ndarray:
        return scores[:, 0] - asked.truth

    def mean(values: np.ndarray) -> Score:
        return people.mean_of_people(people.person_means(values, asked.person))

    def coverage(scores: np.ndarray) -> Score:
        wrong = missed(scores)
        return mean((np.abs(wrong) <= half_widths(asked, wrong)).astype(np.float64))

    found = [
        Measure("mae", lambda s: mean(np.abs(missed(s))), everyone, "lower", asked.unit),
        Measure("bias", lambda s: mean(missed(s)), everyone, 0.0, asked.unit),
    ]
    if len(np.unique(asked.fold)) > 1:
        found.append(Measure(f"coverage_of_{INTERVAL:.0%}".rstrip("%"), coverage, everyone, INTERVAL))
    return found


def calibration_error(
    chances: Float[np.ndarray, "row class"], labels: Int[np.ndarray, " row"], person: Int[np.ndarray, " row"]
) -> Score:
    """Expected calibration error over bins of equal width: of class 1 of two, of the likeliest class of more."""
    if chances.shape[1] == MANY:
        said, right = chances[:, 1], labels == 1
    else:
        said, right = chances.max(axis=1), chances.argmax(axis=1) == labels
    which = np.minimum((said * BINS).astype(np.int64), BINS - 1)
    size = int(person.max()) + 1
    apart = np.zeros((size, BINS))
    np.add.at(apart, (person, which), said - right)
    rows = np.bincount(person, minlength=size).astype(np.float64)

    def over(counts: np.ndarray) -> np.ndarray:
        total = counts @ rows
        return np.where(total > 0, np.abs(counts @ apart).sum(axis=-1) / np.where(total > 0, total, 1.0), np.nan)

    return Score(over, len(np.unique(person)))
