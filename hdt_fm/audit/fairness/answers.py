"""What a fairness audit compares: the truth of scored windows, and each model's answers by people it never saw."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from hdt_fm.evaluation.contenders import Role
from hdt_fm.schema.errors import ShapeError

When = Literal["floor", "before", "after"]
# Of the intervals that values come with, in calibration people.
INTERVAL = 0.8


@dataclass(frozen=True)
class Asked:
    """The scored windows, and whose they are.

    Attributes:
        truth: Class numbers, or values in `unit`.
        person: 0 .. people-1.
        fold: Which fold tested the window; who is tested together was kept from the same model.
        prior: Of classes: how common each was among those that the window's model learned from. (row, 0) for values.
    """

    name: str
    truth: Float[np.ndarray, " row"]
    person: Int[np.ndarray, " row"]
    fold: Int[np.ndarray, " row"]
    classes: tuple[str, ...]
    unit: str
    prior: Float[np.ndarray, "row class"]

    @property
    def people(self) -> int:
        return int(self.person.max()) + 1


@dataclass(frozen=True)
class Answers:
    """One model's out-of-fold answers.

    Attributes:
        model: As rows call it.
        when: Before the encoder was moved by labels, after it, or a floor that has no such encoder.
        scores: Probabilities with every class as common as the others (row, class), or values (row, 1).
        column: Of a remedy: the column by whose cells it weighs; None for a model that knows of none.
        against: Model with whose gap this one's is compared, window by window; None for none.
        remedy: Of a remedy: its name, the same in all columns.
    """

    model: str
    role: Role
    when: When
    scores: Float[np.ndarray, "row output"]
    column: str | None = None
    against: str | None = None
    remedy: str = ""

    @property
    def family(self) -> tuple[str, str]:
        """Models whose gaps are asked together: the same one, or the same remedy, in one column after the other."""
        return (self.when, self.remedy) if self.remedy else (self.model, "")


def check_answers(asked: Asked, answers: list[Answers]) -> None:
    """Refuse answers that do not fit the windows.

    Raises:
        ShapeError: If a model did not answer every scored window.
    """
    shape = (len(asked.truth), len(asked.classes) or 1)
    for one in answers:
        if one.scores.shape != shape or not np.isfinite(one.scores).all():
            raise ShapeError(
                f"The answers of {one.model!r} do not fit the scored windows",
                expected=f"{shape}, finite",
                got=str(one.scores.shape),
                fix="give an out-of-fold answer of every scored window",
            )


def as_common_as_taught(
    balanced: Float[np.ndarray, "row class"], prior: Float[np.ndarray, "row class"]
) -> Float[np.ndarray, "row class"]:
    """Probabilities with classes as common as among those who taught: what calibration is asked of."""
    weighed = balanced * prior
    return weighed / np.maximum(weighed.sum(axis=1, keepdims=True), 1e-300)


def half_widths(asked: Asked, missed: Float[np.ndarray, " row"]) -> Float[np.ndarray, " row"]:
    """For each window half of the interval that holds `INTERVAL` of what was missed of people of the other folds.

    Everyone of them weighs alike. NaN with one fold, where there are no others.
    """
    found = np.full(len(missed), np.nan)
    for fold in np.unique(asked.fold):
        others = np.flatnonzero(asked.fold != fold)
        if not len(others):
            continue
        size = np.bincount(asked.person[others], minlength=asked.people)
        order = others[np.argsort(np.abs(missed[others]), kind="stable")]
        share = np.cumsum(1.0 / size[asked.person[order]]) / (size > 0).sum()
        found[asked.fold == fold] = np.abs(missed[order])[min(np.searchsorted(share, INTERVAL), len(order) - 1)]
    return found
