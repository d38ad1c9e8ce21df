"""Which way up the pulses of a recording are."""

import numpy as np
from jaxtyping import Bool, Float32, Float64

from hdt_fm.signal.filters import band_filter

WINDOW_S = 8.0
MIN_RATE_HZ = 20.0
# Shape is asked of the quarter of the windows that look most like a pulse: movement has a skewness of its own.
PUREST = 0.25
_BAND_HZ, _PULSE_HZ = (0.5, 8.0), (0.7, 3.5)


def pulse_polarity(
    values: Float32[np.ndarray, "channel time"], observed: Bool[np.ndarray, " time"], sampling_rate_hz: float
) -> float:
    """Skewness of the derivative of a pulse wave, in the median over the cleanest windows; 0 if nothing can be said.

    A pulse rises faster than it falls, so its derivative is skewed upwards: positive means upright, negative means
    upside down (as absorbed is to reflected light). How clean a window is: the share of its power that lies at its
    pulse rate and the two harmonics above.
    """
    size = round(WINDOW_S * sampling_rate_hz)
    if sampling_rate_hz < MIN_RATE_HZ or len(observed) < size:
        return 0.0
    low, high = _BAND_HZ
    wave, known = band_filter(
        values, observed, sampling_rate_hz=sampling_rate_hz, highpass_hz=low, lowpass_hz=high, order=2
    )
    count = wave.shape[1] // size
    whole = known[: count * size].reshape(count, size).all(axis=1)
    if not whole.any():
        return 0.0
    windows = wave[:, : count * size].reshape(-1, count, size)[:, whole].reshape(-1, size).astype(np.float64)
    skewness, purity = _skewness(windows), _purity(windows, sampling_rate_hz)
    told = np.isfinite(skewness) & np.isfinite(purity)
    if not told.any():
        return 0.0
    purest = told & (purity >= np.quantile(purity[told], 1 - PUREST))
    return float(np.median(skewness[purest]))


def _skewness(windows: Float64[np.ndarray, "window time"]) -> Float64[np.ndarray, " window"]:
    steps = np.diff(windows, axis=1)
    steps -= steps.mean(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (steps**3).mean(axis=1) / (steps**2).mean(axis=1) ** 1.5


def _purity(windows: Float64[np.ndarray, "window time"], sampling_rate_hz: float) -> Float64[np.ndarray, " window"]:
    power = np.abs(np.fft.rfft(windows * np.hanning(windows.shape[1]), axis=1)) ** 2
    frequency = np.fft.rfftfreq(windows.shape[1], 1 / sampling_rate_hz)
    power[:, (frequency < _BAND_HZ[0]) | (frequency > _BAND_HZ[1])] = 0
    pulse = (frequency >= _PULSE_HZ[0]) & (frequency <= _PULSE_HZ[1])
    peak = np.argmax(np.where(pulse, power, -1), axis=1)
    # A Hann window spreads a line over three bins.
    bins = peak[:, None, None] * np.arange(1, 4)[None, :, None] + np.arange(-1, 2)
    inside = np.take_along_axis(power, np.minimum(bins, power.shape[1] - 1).reshape(len(power), -1), axis=1)
    with np.errstate(invalid="ignore"):
        return inside.sum(axis=1) / power.sum(axis=1)
