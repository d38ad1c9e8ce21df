"""What a glucose sensor shows: glucose under the skin each 5 minutes, with an error that changes slowly."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64

from hdt_fm.schema.errors import ConfigError

READING_MINUTES = 5
LOWEST_MG_DL, HIGHEST_MG_DL = 39.0, 400.0
ERROR_SD_MG_DL, ERROR_MEMORY = 6.0, 0.9


def sensor_error(
    generators: Sequence[np.random.Generator],
    readings: int,
    *,
    sd_mg_dl: float = ERROR_SD_MG_DL,
    memory: float = ERROR_MEMORY,
) -> Float64[np.ndarray, "run reading"]:
    """AR(1) noise in mg/dL, stationary from the first reading on; a generator per run, so that arms can share theirs.

    Args:
        generators: One per run.
        readings: 5 min apart.
        sd_mg_dl: Of each reading.
        memory: Correlation of a reading's error with the next one's.

    Raises:
        ConfigError: If the SD is negative, or the memory is not from 0 to under 1.
    """
    if sd_mg_dl < 0 or not 0 <= memory < 1:
        expected = "SD of 0 or more, memory from 0 to under 1"
        raise ConfigError("A sensor cannot err so", expected=expected, where="sensor_error")
    noise = np.array([generator.normal(size=readings) for generator in generators]).reshape(len(generators), readings)
    fresh = np.sqrt(1 - memory**2)
    for at in range(1, readings):
        noise[:, at] = memory * noise[:, at - 1] + fresh * noise[:, at]
    return sd_mg_dl * noise


def in_range(glucose_mg_dl: np.ndarray) -> np.ndarray:
    """What can be shown, and scored: 39 to 400 mg/dL. Without counter-regulation the model falls lower than bodies."""
    shown: np.ndarray = np.clip(glucose_mg_dl, LOWEST_MG_DL, HIGHEST_MG_DL)
    return shown
