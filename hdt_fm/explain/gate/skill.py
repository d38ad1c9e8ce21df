"""Whether an output predicts anything: a map of a model without skill looks like any other map."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hdt_fm.metrics.bootstrap import subject_bootstrap
from hdt_fm.metrics.classification import auroc
from hdt_fm.metrics.regression import pearson
from hdt_fm.schema.errors import ExplainError


@dataclass(frozen=True)
class Skill:
    """How well the explained output predicts, on people it was not trained on.

    Attributes:
        low: Lower end of the 95 % interval over people; NaN where it cannot be said (one person, one class).
        chance: What guessing scores: 0.5 for AUROC, 0 for a correlation.
        people: How many the interval rests on.
    """

    metric: str
    value: float
    low: float
    chance: float
    people: int


def skill_of(
    output: NDArray[np.floating],
    label: NDArray[np.floating],
    subject: NDArray[np.integer],
    *,
    positive_class: int | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> Skill:
    """Skill of an output on labelled windows of people whom the head was not trained on.

    Args:
        output: (window,) the explained column.
        label: (window,) class number or value; NaN where unknown, and then not counted.
        subject: (window,) who.
        positive_class: The class that the column speaks for (AUROC against the rest); None for a value
            (Pearson correlation).

    Raises:
        ExplainError: If no window is labelled.
    """
    known = np.isfinite(label)
    if not known.any():
        raise ExplainError(
            "No window has a label, so skill cannot be measured", fix="give labelled windows, or no skill at all"
        )
    output, label, subject = output[known], label[known], subject[known]
    people = len(np.unique(subject))
    if positive_class is None:
        value, low, _ = subject_bootstrap(pearson, subject, output, label, draws=draws, seed=seed)
        return Skill("correlation", value, low, 0.0, people)
    hit = (label == positive_class).astype(np.int64)
    value, low, _ = subject_bootstrap(auroc, subject, output, hit, draws=draws, seed=seed)
    return Skill("AUROC", value, low, 0.5, people)
