"""How much a signal varies around each sample: of a pulse, of an accelerometer, of one that nobody wears."""

import numpy as np
from jaxtyping import Bool, Float32, Float64

from hdt_fm.signal.artefact_limits import NONWEAR_HOP_S, NONWEAR_RANGE_G, NONWEAR_S, NONWEAR_SD_G
from hdt_fm.signal.coherence import BAND_HZ
from hdt_fm.signal.filters import band_filter

MOTION_S = 2.0


def local_spread(
    values: Float32[np.ndarray, "channel time"],
    observed: Bool[np.ndarray, " time"],
    sampling_rate_hz: float,
    span_s: float,
) -> tuple[Float64[np.ndarray, "channel time"], Float64[np.ndarray, "channel 1"]]:
    """SD over `span_s` around each sample, and its median over the observed samples (0 when there are none).

    Unobserved samples do not count; where fewer than half of the span was observed the SD is the median.
    """
    # The recording's own mean first: sums of squares of a large constant would lose the rest.
    seen = observed.astype(np.float64)
    level = (values * seen).sum(axis=1, keepdims=True) / max(seen.sum(), 1.0)
    centred = (values - level) * seen
    half = max(1, round(span_s * sampling_rate_hz / 2))
    count, first, second = (_box(rows, half) for rows in (seen[None], centred, centred**2))
    enough = count >= half
    mean = first / np.maximum(count, 1.0)
    spread = np.sqrt(np.maximum(second / np.maximum(count, 1.0) - mean**2, 0.0))
    known = enough[0] & observed
    typical = np.median(spread[:, known], axis=1, keepdims=True) if known.any() else np.zeros((len(values), 1))
    return np.where(enough, spread, typical), typical


def moving_rms(
    values: Float32[np.ndarray, "axis time"], observed: Bool[np.ndarray, " time"], sampling_rate_hz: float
) -> Float64[np.ndarray, " time"]:
    """RMS over 2 s around each sample of the axis that moves most, 0.5 to 8 Hz; 0 where nothing is known."""
    low, high = BAND_HZ
    moved, known = band_filter(
        values, observed, sampling_rate_hz=sampling_rate_hz, highpass_hz=low, lowpass_hz=high, order=2
    ) if sampling_rate_hz > 2 * low else (np.zeros_like(values), np.zeros_like(observed))  # fmt: skip
    half = max(1, round(MOTION_S * sampling_rate_hz / 2))
    seen = known.astype(np.float64)
    power = _box(moved.astype(np.float64) ** 2, half) / np.maximum(_box(seen[None], half), 1.0)
    return np.sqrt(power.max(axis=0)) * known


def not_worn(
    values: Float32[np.ndarray, "axis time"], observed: Bool[np.ndarray, " time"], sampling_rate_hz: float
) -> Bool[np.ndarray, " time"]:
    """Hours, a quarter of an hour apart, in which two axes of three (all, of fewer) hardly change.

    Only what was wholly observed is judged; a recording of less than an hour is never called so.

    Source: van Hees et al. 2013, doi:10.1371/journal.pone.0061691; the limits are in `artefact_limits.py`.
    """
    found = np.zeros_like(observed)
    length, hop = round(NONWEAR_S * sampling_rate_hz), round(NONWEAR_HOP_S * sampling_rate_hz)
    for start in range(0, values.shape[1] - length + 1, hop):
        part = slice(start, start + length)
        if not observed[part].all():
            continue
        block = values[:, part].astype(np.float64)
        still = (block.std(axis=1) < NONWEAR_SD_G) & (np.ptp(block, axis=1) < NONWEAR_RANGE_G)
        found[part] |= still.sum() >= min(2, len(values))
    return found


def _box(rows: np.ndarray, half: int) -> np.ndarray:
    """Sums over the 2 * half samples around each sample, fewer at the ends."""
    total = np.concatenate([np.zeros((len(rows), 1)), np.cumsum(rows, axis=1)], axis=1)
    here = np.arange(rows.shape[1])
    sums: np.ndarray = total[:, np.minimum(here + half, rows.shape[1])] - total[:, np.maximum(here - half, 0)]
    return sums
