"""One slow signal of one person on a uniform grid, as forecasts are made from it and scored on it.

Contract, version 1: a place that was not measured MUST be `observed == False`, whatever its value: nothing is filled.
Places MUST be `step_s` apart. Series of one person MAY be several (recordings far apart); `group` is equal for people
who stay on one side of every split. `start_s` is on the person's own shifted calendar, the same for all series of a
person; with `utc_offset_s` added its time of day is the local one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32

from hdt_fm.schema.errors import RecordingError

DAY_S = 86_400


@dataclass(frozen=True)
class Series:
    """Values in the modality's canonical unit.

    Raises:
        RecordingError: If lengths differ, the step is not positive, or an observed value is not finite.
    """

    values: Float32[np.ndarray, " time"]
    observed: Bool[np.ndarray, " time"]
    step_s: float
    start_s: float
    subject: int
    group: int
    utc_offset_s: float = 0.0

    def __post_init__(self) -> None:
        if self.values.shape != self.observed.shape or self.values.ndim != 1 or not self.step_s > 0:
            raise RecordingError(
                "A series does not hold together",
                expected="values and observed of one length, and a step above 0",
                got=f"{self.values.shape}, {self.observed.shape}, step {self.step_s:g} s",
            )
        if not np.isfinite(self.values[self.observed]).all():
            raise RecordingError("A series has an observed value that is no number", expected="finite values")

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True)
class ForecastTask:
    """What a forecast of a series is told, and what it answers; kept with the head that learned it.

    Attributes:
        modality, unit, step_s: Of the series.
        context_s: Readings that are told as they are.
        horizons_s: Times ahead that are answered.
        every_s: Between origins.
        windows, apart_s: Embedded windows before, and how far apart they end; 0 windows: none.
        treatments, treatments_step_s: What was given, by name, and the step in which it is summed; none: not told.
    """

    modality: str
    unit: str
    step_s: float
    context_s: float
    horizons_s: tuple[float, ...]
    every_s: float
    windows: int
    apart_s: float
    treatments: tuple[str, ...] = ()
    treatments_step_s: float = 300.0

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> "ForecastTask":
        """From plain values, as a checkpoint holds them."""
        horizons_s = tuple(float(one) for one in plain["horizons_s"])
        # Heads of before treatments were told have none.
        return cls(**{**plain, "horizons_s": horizons_s, "treatments": tuple(plain.get("treatments", ()))})
