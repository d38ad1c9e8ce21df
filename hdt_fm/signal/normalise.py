"""A person's own centre and scale, from what was recorded before a moment and from nothing later.

`hdt_fm/data/normalize.py` has the population's: one pair of numbers a modality, of training people. Here each person
is their own measure: median and interquartile range, so that neither artefacts nor outliers move them.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64

from hdt_fm.schema.errors import RecordingError
from hdt_fm.schema.recording import NS_PER_S, Recording

# Interquartile range -> standard deviation of a normal distribution.
IQR_TO_SD = 1 / 1.3489795


@dataclass(frozen=True)
class OwnScale:
    """Of each channel; a channel that did not change has scale 1."""

    center: Float64[np.ndarray, " channel"]
    scale: Float64[np.ndarray, " channel"]


def own_scale(recording: Recording, *, before_ns: int, min_s: float = 60.0) -> OwnScale:
    """Median and interquartile range of what was observed before `before_ns` (a forecast's origin, a window's start).

    Raises:
        RecordingError: If less than `min_s` was observed by then.
    """
    count = (before_ns - recording.start_ns) / NS_PER_S * recording.sampling_rate_hz
    stop = int(np.clip(np.ceil(count - 1e-6), 0, len(recording.observed)))
    seen = recording.values[:, :stop][:, recording.observed[:stop]]
    if seen.shape[1] < max(min_s * recording.sampling_rate_hz, 1):
        raise RecordingError(
            f"Too little of {recording.modality} was observed before the moment to know its usual range",
            expected=f"{min_s:g} s or more",
            got=f"{seen.shape[1] / recording.sampling_rate_hz:.1f} s",
            fix="ask for a later moment, or for less with min_s",
        )
    low, middle, high = np.quantile(seen.astype(np.float64), (0.25, 0.5, 0.75), axis=1)
    spread = (high - low) * IQR_TO_SD
    return OwnScale(center=middle, scale=np.where(spread > 0, spread, 1.0))


def by_own_scale(recording: Recording, scale: OwnScale) -> Recording:
    """(x - center) / scale where observed; 0 elsewhere."""
    scaled = (recording.values - scale.center[:, None]) / scale.scale[:, None]
    return replace(recording, values=np.where(recording.observed, scaled, 0.0).astype(np.float32))


def after_own_start(recording: Recording, start_s: float) -> Recording:
    """On the scale of the first `start_s` that were observed, which are not observed any more: they were spent.

    No sample that is left was seen by its own scale. A recording with less than that has no scale, and nothing of it
    is left.
    """
    needed = max(1, round(start_s * recording.sampling_rate_hz))
    spent = np.cumsum(recording.observed) <= needed
    observed = recording.observed & ~spent
    if not observed.any():
        return replace(recording, values=np.zeros_like(recording.values), observed=observed)
    begin = int(np.flatnonzero(observed)[0])
    before_ns = recording.start_ns + round(begin / recording.sampling_rate_hz * NS_PER_S)
    # A quarter of a sample earlier: rounding to nanoseconds must not let the first sample that is left in.
    margin = round(0.25 / recording.sampling_rate_hz * NS_PER_S)
    scaled = by_own_scale(recording, own_scale(recording, before_ns=before_ns - margin, min_s=0.0))
    return replace(scaled, values=np.where(observed, scaled.values, np.float32(0.0)), observed=observed)
