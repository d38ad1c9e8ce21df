"""Has a kind of record stopped coming? Doses, meals, readings, nights: a count a day, against the person's own.

The sum of log likelihood ratios of "a fifth of the usual" against "the usual" for Poisson counts, held at 0 from below
and shrunk where days differ more than Poisson counts do. By Lorden's bound somebody in whom nothing changed waits at
least exp(limit) days for an alarm, on average: the limit is a closed form of the budget.
"""

import math
from collections.abc import Mapping
from typing import Any

from hdt_fm.twin.drift.threshold import DAYS_PER_YEAR
from hdt_fm.twin.drift.usual import LEARN_DAYS

# So little of the usual is looked for; a usual below so many a day is not watched.
LEFT, LEAST_A_DAY = 0.2, 0.5
# Days alike (three meals, always) weigh as much as this share of a Poisson count's variance, and no less.
LEAST_DISPERSION = 0.5


class Silence:
    """One modality's records of one person, a day at a time.

    Args:
        per_year: False alarms a year.
    """

    def __init__(self, *, per_year: float) -> None:
        self.limit = math.log(DAYS_PER_YEAR / per_year)
        self.learned, self.total, self.squares = 0, 0.0, 0.0
        self.height, self.days = 0.0, 0

    @property
    def usual(self) -> float:
        """Records a day, over the first weeks."""
        return self.total / self.learned if self.learned else 0.0

    def add(self, count: int) -> bool:
        """Whether records have stopped coming."""
        if self.learned < LEARN_DAYS:
            self.learned, self.total, self.squares = self.learned + 1, self.total + count, self.squares + count**2
            return False
        if self.usual < LEAST_A_DAY:
            return False
        variance = (self.squares - self.total * self.usual) / (self.learned - 1)
        ratio = count * math.log(LEFT) + (1 - LEFT) * self.usual
        self.height = max(0.0, self.height + ratio / max(variance / self.usual, LEAST_DISPERSION))
        self.days = self.days + 1 if self.height > 0 else 0
        return self.height > self.limit

    def clear(self) -> None:
        """Learn anew."""
        self.learned, self.total, self.squares, self.height, self.days = 0, 0.0, 0.0, 0.0, 0

    def state(self) -> dict[str, Any]:
        names = ("learned", "total", "squares", "height", "days")
        return {name: getattr(self, name) for name in names}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state`."""
        self.learned, self.days = int(state["learned"]), int(state["days"])
        self.total, self.squares = float(state["total"]), float(state["squares"])
        self.height = float(state["height"])
