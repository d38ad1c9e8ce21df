"""What is distilled: one number of a model for every window, and what is known of the truth."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from hdt_fm.schema.errors import ExplainError


@dataclass(frozen=True)
class Teacher:
    """One output of a model.

    Attributes:
        words: What it is, as `log-odds of stress`.
        unit: Of the output; `log-odds` for a class.
        kind: `class` means log-odds, as `targets.probe` gives them; `value` a number in its unit.
        threshold: Above it the model decides one way. None for a value that decides nothing.
        label: The truth, where it may be compared: 0 or 1 for a class, a number in the unit for a value. NaN where it
            is unknown and for people whom the model was trained on, since nobody is right about those by merit.

    Raises:
        ExplainError: If lengths differ, an output is not finite, or a class label is neither 0 nor 1.
    """

    output: Float[np.ndarray, " window"]
    words: str
    unit: str
    kind: Literal["class", "value"]
    threshold: float | None = None
    label: Float[np.ndarray, " _"] | None = None

    def __post_init__(self) -> None:
        if not np.isfinite(self.output).all():
            raise ExplainError("The model's output is not finite", fix="check the checkpoint and the input's unit")
        if self.label is None:
            return
        if self.label.shape != self.output.shape:
            raise ExplainError(
                "Labels do not fit the outputs", expected=str(self.output.shape), got=str(self.label.shape)
            )
        known = self.label[np.isfinite(self.label)]
        if self.kind == "class" and not np.isin(known, (0.0, 1.0)).all():
            raise ExplainError(
                "The label of a class is neither 0 nor 1",
                expected="1 where the window is of the class that the output speaks for, 0 elsewhere, NaN unknown",
                fix="give (label == class) as numbers",
            )

    @property
    def decides_at(self) -> float | None:
        """The threshold; for a class even odds where none is given."""
        return 0.0 if self.threshold is None and self.kind == "class" else self.threshold

    @property
    def known(self) -> np.ndarray:
        """Windows whose truth may be compared (window,)."""
        return np.zeros(len(self.output), dtype=bool) if self.label is None else np.isfinite(self.label)


def chance(log_odds: Float[np.ndarray, " window"]) -> Float[np.ndarray, " window"]:
    """Probability of log-odds, without overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * log_odds))
