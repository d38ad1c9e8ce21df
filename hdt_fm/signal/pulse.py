"""Heart rate of a window by its spectrum, and how clear the pulse is."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from hdt_fm.schema.errors import RecordingError

# What a heart does: 30 to 220 beats a minute; harmonics of the pulse wave reach to about 8 Hz.
SLOWEST_BPM, FASTEST_BPM, PULSE_BAND_HZ = 30.0, 220.0, (0.5, 8.0)
LEAST_S, LEAST_HZ = 4.0, 16.0
# What its first harmonics count beside the fundamental: enough to prefer 70 over 35 and over 140.
_HARMONICS = (1.0, 0.5, 0.25)
_STEP_HZ = 0.01
_LOBE = 2.0  # half width of the Hann window's main lobe, in bins of 1 / window


class Pulse(NamedTuple):
    """Of each window, NaN and 0 where nothing can be said.

    Attributes:
        bpm: Heart rate.
        quality: Share of the power between 0.5 and 8 Hz that lies at the rate and at its double, 0 to 1. It says
            how periodic the signal is: steady steps are periodic too.
    """

    bpm: Float[np.ndarray, " window"]
    quality: Float[np.ndarray, " window"]


def heart_rate(windows: Float[np.ndarray, "window time"], sampling_rate_hz: float) -> Pulse:
    """The rate whose spectral peak and harmonics hold most power, between 30 and 220 beats a minute.

    Args:
        windows: One channel, wholly observed, 4 s or more each; 8 to 32 s is what the method is meant for.
        sampling_rate_hz: Of `windows`, at least 16 Hz.

    Raises:
        RecordingError: If windows are too short or sampled too slowly.

    Numerics: Hann window, zero padded to bins of 0.01 Hz, parabola through the peak.
    """
    length = windows.shape[1]
    if length < LEAST_S * sampling_rate_hz or sampling_rate_hz < LEAST_HZ:
        raise RecordingError(
            "Windows do not show a heart rate",
            expected=f"{LEAST_S:g} s or more at {LEAST_HZ:g} Hz or more",
            got=f"{length / sampling_rate_hz:g} s at {sampling_rate_hz:g} Hz",
        )
    size = round(sampling_rate_hz / _STEP_HZ)
    size = size if size >= length else length
    step = sampling_rate_hz / size
    centred = windows - windows.mean(axis=1, keepdims=True)
    power = np.abs(np.fft.rfft(centred * np.hanning(length), size, axis=1)) ** 2
    candidates = np.arange(round(SLOWEST_BPM / 60 / step), round(FASTEST_BPM / 60 / step) + 1)
    score = np.zeros((len(windows), len(candidates)))
    for number, weight in enumerate(_HARMONICS, start=1):
        bins = number * candidates
        inside = bins < power.shape[1]
        score[:, inside] += weight * power[:, bins[inside]]
    best = score.argmax(axis=1)
    frequency = (candidates[best] + _vertex(score, best)) * step
    total = power[:, round(PULSE_BAND_HZ[0] / step) : round(PULSE_BAND_HZ[1] / step) + 1].sum(axis=1)
    reach = max(1, round(_LOBE * sampling_rate_hz / length / step))
    held = _around(power, candidates[best], reach) + _around(power, 2 * candidates[best], reach)
    known = total > 0
    quality = np.where(known, np.minimum(held / np.where(known, total, 1.0), 1.0), 0.0)
    return Pulse(bpm=np.where(known, 60 * frequency, np.nan), quality=quality)


def _vertex(score: np.ndarray, best: np.ndarray) -> np.ndarray:
    """Offset in bins, -0.5 to 0.5, of the vertex of the parabola through a peak and its neighbours."""
    rows = np.arange(len(best))
    inner = np.clip(best, 1, score.shape[1] - 2)
    before, here, after = (score[rows, inner + side] for side in (-1, 0, 1))
    curve = before - 2 * here + after
    peak = (best == inner) & (curve < 0)
    offset: np.ndarray = np.where(peak, 0.5 * (before - after) / np.where(peak, curve, 1.0), 0.0)
    return offset


def _around(power: np.ndarray, centre: np.ndarray, reach: int) -> np.ndarray:
    total = np.concatenate([np.zeros((len(power), 1)), np.cumsum(power, axis=1)], axis=1)
    rows, last = np.arange(len(power)), power.shape[1]
    low, high = np.clip(centre - reach, 0, last), np.clip(centre + reach + 1, 0, last)
    held: np.ndarray = total[rows, high] - total[rows, low]
    return held
