"""The mains in a signal, at the frequency at which it shows after sampling."""

import numpy as np
from jaxtyping import Bool, Float32
from numpy.lib.stride_tricks import sliding_window_view

from hdt_fm.signal.artefact_limits import MAINS_HZ, MAINS_LOWEST_HZ, MAINS_RATIO, MAINS_SHARE

SPAN_S = 2.0
HALF_HZ = 1.0  # of the band that is the mains'
NEAR_HZ = (2.0, 6.0)  # from it: the surroundings it is compared with


def mains(
    values: Float32[np.ndarray, "channel time"], observed: Bool[np.ndarray, " time"], sampling_rate_hz: float
) -> Bool[np.ndarray, " time"]:
    """Observed samples in stretches of 2 s, 1 s apart, in which a channel carries 50 or 60 Hz.

    A signal sampled at 64 Hz shows 50 Hz at 14 Hz. Where a mains frequency would show below 10 Hz or within 1.5 Hz of
    half the rate, nothing is said of it.
    """
    found = np.zeros_like(observed)
    places = [place for place in (folded(hz, sampling_rate_hz) for hz in MAINS_HZ) if _visible(place, sampling_rate_hz)]
    length = round(SPAN_S * sampling_rate_hz)
    hop = length // 2
    if not places or len(observed) < length:
        return found
    frequency = np.fft.rfftfreq(length, 1 / sampling_rate_hz)
    hit = np.zeros((len(observed) - length) // hop + 1, dtype=np.bool_)
    for channel in values:
        segments = sliding_window_view(channel.astype(np.float64), length)[::hop]
        power = np.abs(np.fft.rfft((segments - segments.mean(axis=1, keepdims=True)) * np.hanning(length), axis=1)) ** 2
        total = power.sum(axis=1)
        for place in places:
            far = np.abs(frequency - place)
            own, near = far <= HALF_HZ, (far >= NEAR_HZ[0]) & (far <= NEAR_HZ[1])
            here = power[:, own].sum(axis=1)
            # Peak over peak: a fast heart has lines of its own up there, and they are all about as high.
            stands_out = power[:, own].max(axis=1) > MAINS_RATIO * power[:, near].max(axis=1)
            hit |= stands_out & (here > MAINS_SHARE * total)
    whole = sliding_window_view(observed, length)[::hop].all(axis=1)
    for start in (np.flatnonzero(hit & whole) * hop).tolist():
        found[start : start + length] = True
    return found & observed


def folded(hz: float, sampling_rate_hz: float) -> float:
    """Where a frequency shows after sampling."""
    return abs(hz - round(hz / sampling_rate_hz) * sampling_rate_hz)


def _visible(place: float, sampling_rate_hz: float) -> bool:
    return MAINS_LOWEST_HZ <= place <= sampling_rate_hz / 2 - 1.5 * HALF_HZ
