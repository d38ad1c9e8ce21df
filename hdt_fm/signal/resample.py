"""Change of sampling rate by soxr, each segment alone, so that a gap stays a gap and nothing crosses it."""

import math

import numpy as np
import soxr
from jaxtyping import Bool, Float32

from hdt_fm.schema.errors import RecordingError
from hdt_fm.signal.segments import runs

# Half-length of soxr's HQ filter in samples of the slower rate; padding beyond it cannot be felt.
_REACH = 128
# Lengths of padding to choose from, so that a segment begins on the output's grid: exactly for ratios of whole
# rates, within 0.03 of an output sample for a measured rate such as 63.9871 Hz.
_CHOICES = 4096


def resample(
    values: Float32[np.ndarray, "channel time"],
    observed: Bool[np.ndarray, " time"],
    from_hz: float,
    to_hz: float,
) -> tuple[Float32[np.ndarray, "channel new_time"], Bool[np.ndarray, " new_time"]]:
    """Resample to `to_hz` on the grid n / to_hz from the first sample's time.

    A sample stands for the time until the next one: an output sample is observed exactly when its time falls
    in [first, last + 1 / from_hz) of an observed segment, so what was wholly observed stays so. Segments are
    extended by odd reflection before the filter, since a step from 34 degrees to 0 would ring into them.

    Args:
        values: Zeros where unobserved.
        observed: Which samples were measured.
        from_hz: Sampling rate of `values`.
        to_hz: Sampling rate wanted; equal rates give the input back as it is.

    Returns:
        Values of length round(time * to_hz / from_hz), 0 where unobserved, and their observed mask.

    Raises:
        RecordingError: If a rate is not a positive number.

    Numerics: soxr HQ in float32; in-band error below -75 dB, alias below -100 dB.
    """
    if not (from_hz > 0 and to_hz > 0 and math.isfinite(from_hz) and math.isfinite(to_hz)):
        raise RecordingError(
            "A sampling rate is not a positive number", expected="from_hz > 0 and to_hz > 0", got=f"{from_hz}, {to_hz}"
        )
    if math.isclose(from_hz, to_hz, rel_tol=1e-9):
        return values, observed
    scale = to_hz / from_hz
    size = round(values.shape[1] * scale)
    new_values = np.zeros((values.shape[0], size), dtype=np.float32)
    new_observed = np.zeros(size, dtype=np.bool_)
    for start, stop in runs(observed):
        # First output sample at or after `start`, first one at or after `stop`; 1e-9 absorbs rounding.
        first, last = math.ceil(start * scale - 1e-9), min(math.ceil(stop * scale - 1e-9), size)
        if first < last:
            new_values[:, first:last] = _segment(values[:, start:stop], start, first, last, from_hz, to_hz)
            new_observed[first:last] = True
    return new_values, new_observed


def _segment(
    values: Float32[np.ndarray, "channel time"], start: int, first: int, last: int, from_hz: float, to_hz: float
) -> Float32[np.ndarray, "channel new_time"]:
    """Output samples [first, last) from one segment, whose first input sample is number `start`."""
    scale = to_hz / from_hz
    reach = math.ceil(_REACH * max(1.0, 1 / scale))
    before = reach + np.arange(max(_CHOICES, math.ceil(1 / scale)))
    begin = (start - before) * scale
    best = int(np.argmin(np.round(np.abs(begin - np.rint(begin)), 9)))
    padded = _extended(values.astype(np.float64), int(before[best]), 2 * reach)
    output = soxr.resample(np.ascontiguousarray(padded.T, dtype=np.float32), from_hz, to_hz, quality="HQ").T
    offset = first - round(begin[best])
    return output[:, offset : offset + last - first]


def _extended(values: np.ndarray, before: int, after: int) -> np.ndarray:
    """Odd reflection once on each side as far as the segment reaches, then its last value held."""
    reach = values.shape[1] - 1
    inner = (min(before, reach), min(after, reach))
    reflected = np.pad(values, ((0, 0), inner), mode="reflect", reflect_type="odd") if reach else values
    return np.pad(reflected, ((0, 0), (before - inner[0], after - inner[1])), mode="edge")
