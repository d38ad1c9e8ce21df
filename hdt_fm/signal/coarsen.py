"""Slow signals on a coarser grid without a filter: what stands at a time was read by then."""

import math
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float32

from hdt_fm.schema.errors import RecordingError

Coarsening = Literal["newest", "mean"]


def coarsen(
    values: Float32[np.ndarray, "channel time"],
    observed: Bool[np.ndarray, " time"],
    from_hz: float,
    to_hz: float,
    how: Coarsening,
) -> tuple[Float32[np.ndarray, "channel new_time"], Bool[np.ndarray, " new_time"]]:
    """The newest reading, or the mean of all, in the step that ends with each new sample's own time.

    A filter reaches to both sides, and what it writes of ten to three knows of readings after three: a forecast from
    there would be told a part of its answer. Rates that rise leave places without a reading between.

    Args:
        values: Zeros where unobserved.
        observed: Which samples were measured.
        from_hz: Sampling rate of `values`.
        to_hz: Sampling rate wanted.

    Returns:
        Values of length round(time * to_hz / from_hz), 0 where no reading fell into the step, and their observed mask.

    Raises:
        RecordingError: If a rate is not a positive number.
    """
    if not (from_hz > 0 and to_hz > 0 and math.isfinite(from_hz) and math.isfinite(to_hz)):
        raise RecordingError(
            "A sampling rate is not a positive number", expected="from_hz > 0 and to_hz > 0", got=f"{from_hz}, {to_hz}"
        )
    size = round(values.shape[1] * to_hz / from_hz)
    seen = np.flatnonzero(observed)
    # The step of reading k ends at the first new sample at or after it; 1e-6 absorbs the rounding of rates.
    step = np.ceil(seen * (to_hz / from_hz) - 1e-6).astype(np.int64)
    seen, step = seen[step < size], step[step < size]
    count = np.bincount(step, minlength=size)
    found = np.zeros((values.shape[0], size), dtype=np.float32)
    if how == "newest":
        found[:, step] = values[:, seen]
    else:
        for channel, row in enumerate(values):
            found[channel] = np.bincount(step, row[seen].astype(np.float64), minlength=size) / np.maximum(count, 1)
    return found, count > 0
