"""How high a detector may climb: so high that people in whom nothing changed alarm as often as the budget says.

The closed form (`hdt_fm.twin.alert.cusum.threshold_for`) holds for independent normal scores around a known level. Days
of a person are neither: a sensor's sessions differ, weeks differ, and the usual was learned from four of them. So
limits are set on simulated people, and the closed form is what they cannot go below.
"""

import numpy as np
from jaxtyping import Bool, Float

from hdt_fm.schema.errors import ConfigError

DAYS_PER_YEAR = 365.25
_HALVINGS = 60


def rate(alarmed: Bool[np.ndarray, "person day"]) -> float:
    """First alarms a year that is watched; who has alarmed is watched no more."""
    ever = alarmed.any(axis=1)
    watched = np.where(ever, alarmed.argmax(axis=1) + 1, alarmed.shape[1])
    return float(ever.sum() / (watched.sum() / DAYS_PER_YEAR))


def limit_for(height: Float[np.ndarray, "person day"], per_year: float) -> float:
    """The lowest limit that these people pass at most so often a year.

    Args:
        height: Of a detector that nobody stopped, of people in whom nothing changed.

    Raises:
        ConfigError: If there are too few days to say.
    """
    years = height.size / DAYS_PER_YEAR
    if per_year <= 0 or years * per_year < 1:
        raise ConfigError(
            "There are too few days to set a limit",
            where="drift.threshold.limit_for",
            expected="days enough for one alarm within the budget",
            got=f"{years:.1f} years at {per_year:g} a year",
            fix="simulate more people or more days",
        )
    low, high = 0.0, float(height.max()) + 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if rate(height > middle) > per_year else (low, middle)
    return high
