"""How heads that go on learning are judged: one score each, and one sign for what was forgotten."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Score:
    """What a head is judged by.

    Attributes:
        name: With the horizon, such as "RMSE in 60 min".
        unit: Of it; empty for a share.
        higher: Whether more is better.
        most_forgotten: On an earlier domain, where the config names no bound.
    """

    name: str
    unit: str
    higher: bool
    most_forgotten: float

    @property
    def measure(self) -> str:
        """What differences are told in."""
        return self.unit or self.name

    def of(self, whose: str) -> str:
        """Its name in the ledger."""
        return ", ".join(part for part in (self.name, whose, self.unit) if part)

    def worse(self, now: float, was: float) -> float:
        """How much worse it got: above 0 is forgotten, whichever way is good."""
        return was - now if self.higher else now - was


@dataclass(frozen=True)
class Judged:
    """A head's score on some rows.

    Attributes:
        each: Of each person, in the order of their pseudonyms; NaN of whom it cannot be said.
        beside: Further scores, such as how often a chance came true.
    """

    value: float
    each: NDArray[np.float64]
    beside: dict[str, float] = field(default_factory=dict)
