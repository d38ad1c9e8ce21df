"""What is watched: a day of readings, answers, doses, meals and embeddings -> a few named numbers.

Nothing of a day is kept but sums; a day begins at the caller's midnight. An error is truth less what was said.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

REST, ACTED, SIZE, OUTSIDE = "error at rest", "error after actions", "size of errors", "share outside"
LEVEL, SWING, STATE = "log level of readings", "swing of readings", "distance of states"
INSULIN, CARBS = "insulin of the day", "carbohydrates of the day"
# A dose or a meal counts as lately for so long; what comes after it is told from what comes without.
LATELY_S = 4 * 3600.0
# With fewer of what a number is made of, the day does not have that number.
LEAST_ERRORS, LEAST_READINGS = 6, 24
# Days before a distance of states can be told from the days' own spread.
LEAST_STATES = 14
_TINY = 1e-9


class DaySums:
    """One day of one person and one horizon of a forecast, added up as it comes."""

    _readings: float
    _sum: float
    _steps: float
    _moved: float
    _size: float
    _outside: float
    _taken: list[float]  # insulin and carbohydrates, in whatever unit the person writes them down
    _errors: list[list[float]]  # at rest, and after actions: how many, and their sum

    def __init__(self) -> None:
        self._last = float("nan")
        self._clear()

    def read(self, values: Float[np.ndarray, " reading"]) -> None:
        """Readings in order, NaN where there is none."""
        known = values[values > 0]
        steps = np.abs(np.diff(np.concatenate([[self._last], values])))
        steps = steps[np.isfinite(steps)]
        self._readings, self._sum = self._readings + len(known), self._sum + float(np.log(known).sum())
        self._steps, self._moved = self._steps + len(steps), self._moved + float(steps.sum())
        self._last = float(values[-1]) if len(values) else self._last

    def missed(
        self,
        errors: Float[np.ndarray, " answer"],
        outside: Bool[np.ndarray, " answer"],
        acted: Bool[np.ndarray, " answer"],
    ) -> None:
        """Answers whose truth came today.

        Args:
            errors: Truth less the point that was said; NaN where no truth came.
            outside: Whether the truth fell out of the interval.
            acted: Whether the person had taken a dose or a meal within `LATELY_S` before the answer.
        """
        known = np.isfinite(errors)
        for side, rows in enumerate((known & ~acted, known & acted)):
            self._errors[side][0] += int(rows.sum())
            self._errors[side][1] += float(errors[rows].sum())
        self._size += float(np.abs(errors[known]).sum())
        self._outside += int((outside & known).sum())

    def took(self, insulin: Float[np.ndarray, " dose"], carbs: Float[np.ndarray, " meal"]) -> None:
        """Amounts that were written down; how much a day had of them explains a part of what else it shows."""
        self._taken = [self._taken[0] + float(insulin.sum()), self._taken[1] + float(carbs.sum())]

    def close(self) -> dict[str, float]:
        """The day's numbers, NaN where too little came; the next day begins."""
        (rest, at_rest), (acted, after) = self._errors
        answers = rest + acted
        found = {
            REST: _mean(at_rest, rest, LEAST_ERRORS),
            ACTED: _mean(after, acted, LEAST_ERRORS),
            SIZE: _log(_mean(self._size, answers, LEAST_ERRORS)),
            OUTSIDE: _mean(self._outside, answers, LEAST_ERRORS),
            LEVEL: _mean(self._sum, self._readings, LEAST_READINGS),
            SWING: _log(_mean(self._moved, self._steps, LEAST_READINGS)),
            INSULIN: _log(self._taken[0]),
            CARBS: _log(self._taken[1]),
        }
        self._clear()
        return found

    def state(self) -> dict[str, Any]:
        """Plain numbers; a last reading that is unknown is None."""
        last = self._last if np.isfinite(self._last) else None
        sums = [self._readings, self._sum, self._steps, self._moved, self._size, self._outside]
        return {"last": last, "sums": sums, "taken": list(self._taken), "errors": [list(side) for side in self._errors]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state`."""
        self._last = float("nan") if state["last"] is None else float(state["last"])
        sums = [float(one) for one in state["sums"]]
        self._readings, self._sum, self._steps, self._moved, self._size, self._outside = sums
        self._taken = [float(one) for one in state["taken"]]
        self._errors = [[float(count), float(total)] for count, total in state["errors"]]

    def _clear(self) -> None:
        self._readings = self._sum = self._steps = self._moved = 0.0
        self._errors, self._taken = [[0.0, 0.0], [0.0, 0.0]], [0.0, 0.0]
        self._size = self._outside = 0.0


class StateDistance:
    """How far a day's mean embedding lies from the person's own days before: the log of the mean squared distance in
    each component's own SDs. It holds a mean and a sum of squares for each component, whatever the days.

    Args:
        width: Components of an embedding.
        learn_days: After so many it learns no more.
    """

    def __init__(self, *, width: int, learn_days: int = 28) -> None:
        self.learn_days, self.days = learn_days, 0
        self.mean, self.squares = np.zeros(width), np.zeros(width)

    def add(self, embedding: Float[np.ndarray, " width"]) -> float:
        """The distance of a day; NaN before `LEAST_STATES` days and on a day without an embedding."""
        if not np.isfinite(embedding).all():
            return float("nan")
        away = embedding - self.mean
        spread = self.squares / max(self.days - 1, 1) + _TINY
        far = float(np.log(np.mean(away**2 / spread) + _TINY)) if self.days >= LEAST_STATES else float("nan")
        if self.days < self.learn_days:
            self.days += 1
            self.mean = self.mean + away / self.days
            self.squares = self.squares + away * (embedding - self.mean)
        return far

    def state(self) -> dict[str, Any]:
        return {"days": self.days, "mean": self.mean.tolist(), "squares": self.squares.tolist()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state`."""
        self.days = int(state["days"])
        self.mean = np.asarray(state["mean"], dtype=np.float64)
        self.squares = np.asarray(state["squares"], dtype=np.float64)


def _mean(total: float, count: float, least: int) -> float:
    return total / count if count >= least else float("nan")


def _log(value: float) -> float:
    """NaN for what is not above 0, as a sensor that stands still."""
    return float(np.log(value)) if value > 0 else float("nan")
