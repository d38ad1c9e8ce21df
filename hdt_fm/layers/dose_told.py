"""What a dose head is told and tells: people who were followed, numbers, doses, effects; what it keeps of people."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from hdt_fm.layers.accumulators import Held
from hdt_fm.schema.errors import ShapeError


@dataclass(frozen=True)
class Followed:
    """People on one grid; a person a row, recordings of one person in one row with NaN between.

    Attributes:
        exposures: In their units; NaN where not known.
        outcome: NaN where not known.
        day: Of the calendar, for the season; the same calendar for all.

    Raises:
        ShapeError: If these do not fit, or a day is not known.
    """

    exposures: Float[np.ndarray, "person exposure step"]
    outcome: Float[np.ndarray, "_ _"]
    day: Float[np.ndarray, "_ _"]

    def __post_init__(self) -> None:
        people, _, steps = self.exposures.shape
        if not self.outcome.shape == self.day.shape == (people, steps) or not np.isfinite(self.day).all():
            raise ShapeError(
                "What was followed does not hold together",
                where="Followed",
                expected="exposures (person, exposure, step), outcome and finite day (person, step)",
                got=", ".join(str(one.shape) for one in (self.exposures, self.outcome, self.day)),
            )


@dataclass(frozen=True)
class Number:
    """A learned number and its 95 % interval over people; NaN bounds where it met a limit: the data did not say."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Dosed:
    """Doses at the end of each step, in units of the exposure.

    Attributes:
        value: NaN where too little of what counts was seen.
        low, high: 95 % by what the time constant and the unseen leave open; not how people differ.
        seen: Share of all that counts that was seen.
    """

    value: Float[np.ndarray, "person exposure step"]
    low: Float[np.ndarray, "person exposure step"]
    high: Float[np.ndarray, "person exposure step"]
    seen: Float[np.ndarray, "person exposure step"]


@dataclass(frozen=True)
class Effects:
    """What doses do, in the outcome's unit, against the middle dose of training people.

    Attributes:
        value: NaN where too little of what counts was seen of an exposure.
        low, high: 95 % by what training people and what was not seen leave open; not how people differ.
    """

    value: Float[np.ndarray, "person step"]
    low: Float[np.ndarray, "person step"]
    high: Float[np.ndarray, "person step"]


@dataclass(frozen=True)
class DoseState:
    """All that is kept of people's exposures: six numbers for each exposure, and for which time constants.

    Attributes:
        held: (person, exposure, 3): a step below the time constant, at it, a step above.
        taus: In steps.
    """

    held: Held
    taus: Float[np.ndarray, " exposure"]

    def arrays(self) -> dict[str, Float[np.ndarray, "..."]]:
        """Plain copies, of which `of` makes it again."""
        return {**self.held.arrays(), "taus": self.taus.copy()}

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray]) -> "DoseState":
        """The same as the one whose `arrays` these are.

        Raises:
            ShapeError: If they are no state.
        """
        held, taus = Held.of(arrays), np.asarray(arrays.get("taus", np.zeros(0)), dtype=np.float64)
        if held.total.ndim != 3 or held.total.shape[1:] != (*taus.shape, 3):
            raise ShapeError("A dose's state does not hold together", expected="(person, exposure, 3), a tau for each")
        return cls(held, taus.copy())
