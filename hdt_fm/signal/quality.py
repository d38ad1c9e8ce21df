"""Signs of trouble in a recording as it was read: gaps, stand-still, clipping."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32

from hdt_fm.signal.segments import runs

STILL_S = 5.0
MIN_STILL_RATE_HZ = 20.0


@dataclass(frozen=True)
class Gaps:
    """How much was not measured. `share` is of the whole recording."""

    count: int
    share: float
    longest_s: float


def gaps(observed: Bool[np.ndarray, " time"], sampling_rate_hz: float) -> Gaps:
    """Count, share and longest of the stretches that were not observed."""
    lengths = [stop - start for start, stop in runs(~observed)]
    return Gaps(
        count=len(lengths),
        share=sum(lengths) / max(len(observed), 1),
        longest_s=max(lengths, default=0) / sampling_rate_hz,
    )


def flat(
    values: Float32[np.ndarray, "channel time"],
    observed: Bool[np.ndarray, " time"],
    sampling_rate_hz: float,
    min_s: float = 1.0,
) -> Bool[np.ndarray, " time"]:
    """Observed samples that lie in a stretch of at least `min_s` in which no channel changes."""
    same = np.concatenate([[False], (np.diff(values, axis=1) == 0).all(axis=0) & observed[1:] & observed[:-1]])
    found = np.zeros(len(observed), dtype=np.bool_)
    for start, stop in runs(same):
        # A stretch of n equal samples shows as n - 1 repeats, so it begins one sample earlier.
        found[start - 1 : stop] = stop - start + 1 >= min_s * sampling_rate_hz
    return found


def clipped(
    values: Float32[np.ndarray, "channel time"], observed: Bool[np.ndarray, " time"], min_samples: int = 3
) -> Bool[np.ndarray, " time"]:
    """Observed samples where a channel stays at its own extreme for `min_samples` or more."""
    found = np.zeros(len(observed), dtype=np.bool_)
    if not observed.any():
        return found
    for channel in values:
        low, high = channel[observed].min(), channel[observed].max()
        if low == high:
            continue
        for extreme in (low, high):
            for start, stop in runs((channel == extreme) & observed):
                found[start:stop] |= stop - start >= min_samples
    return found


def good(
    values: Float32[np.ndarray, "channel time"], observed: Bool[np.ndarray, " time"], sampling_rate_hz: float
) -> Bool[np.ndarray, " time"]:
    """Samples without a sign of trouble: observed, not clipped, not standing still for `STILL_S`.

    To be asked of a recording as it was read: filters round off both signs. Signals slower than
    `MIN_STILL_RATE_HZ`, such as skin temperature, stand still without fault.
    """
    still = sampling_rate_hz >= MIN_STILL_RATE_HZ and flat(values, observed, sampling_rate_hz, STILL_S)
    return observed & ~clipped(values, observed) & ~np.asarray(still)


def share_of(samples: Bool[np.ndarray, " time"], observed: Bool[np.ndarray, " time"]) -> float:
    """Share of the observed samples; 0 when nothing was observed."""
    return float(samples.sum() / max(int(observed.sum()), 1))
