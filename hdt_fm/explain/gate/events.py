"""Moments that mean something in the body, and whether credit is expected to lie near them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hdt_fm.schema.errors import ExplainError


@dataclass(frozen=True)
class Events:
    """Moments of one modality, e.g. R peaks, systolic feet, meals.

    Attributes:
        name: In words for the report, in the plural.
        modality: Whose samples the places count.
        places: Per window of the batch the sample numbers; empty where the window has none.
        width_s: How far around a moment counts as near it, both sides together, in seconds.
        must_carry: True or False where the truth is known (a simulation, a planted signal): credit must, or must
            not, lie near the moments more than chance has it. None: reported, not judged.

    Raises:
        ExplainError: If the width is not positive.
    """

    name: str
    modality: str
    places: tuple[NDArray[np.integer], ...]
    width_s: float
    must_carry: bool | None = None

    def __post_init__(self) -> None:
        if not self.width_s > 0:
            raise ExplainError(
                f"Nothing can lie near {self.name}", expected="`width_s` above 0 seconds", got=f"{self.width_s:g}"
            )

    def near(self, row: int, samples: int, sampling_rate_hz: float) -> NDArray[np.bool_]:
        """(time,) which samples of a window count as near.

        Raises:
            ExplainError: If a place is outside of the window, or the window has no entry in `places`.
        """
        if row >= len(self.places):
            raise ExplainError(
                f"{self.name.capitalize()} were given for too few windows",
                expected="one array of sample numbers for each window of the batch",
                got=f"{len(self.places)} arrays",
            )
        places = np.asarray(self.places[row], dtype=np.int64)
        if len(places) and (places.min() < 0 or places.max() >= samples):
            raise ExplainError(
                f"{self.name.capitalize()} lie outside of a window",
                expected=f"sample numbers from 0 to {samples - 1} of modality {self.modality}",
                fix="count samples from the start of the window, at the rate of this modality",
            )
        reach = max(0, round(self.width_s * sampling_rate_hz / 2))
        mask = np.zeros(samples, dtype=np.bool_)
        for place in places.tolist():
            mask[max(0, place - reach) : place + reach + 1] = True
        return mask
