"""Statistics and spectra of windows that may have gaps: unobserved samples never count, nothing warns."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

MIN_OBSERVED_SHARE = 0.5


def blank(values: Array, observed: Mask) -> Array:
    """Copy of the values (..., time) with NaN where not observed; `observed` is broadcast."""
    return np.where(observed, values, np.nan)


def divide(top: Array, bottom: Array) -> Array:
    """Quotient with NaN instead of a warning where the divisor is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        quotient = top / bottom
    return np.where(np.isfinite(quotient), quotient, np.nan)


def mean(values: Array, observed: Mask) -> Array:
    """Mean over the observed samples of the last axis; NaN where there is none."""
    return divide(np.where(observed, values, 0.0).sum(-1), observed.sum(-1).astype(np.float64))


def spread(values: Array, observed: Mask) -> Array:
    """Standard deviation (divisor n) over the observed samples of the last axis; NaN where there is none."""
    middle = mean(values, observed)
    return np.sqrt(mean(np.where(observed, values - middle[..., None], 0.0) ** 2, observed))


def slope_per_min(values: Array, observed: Mask, sampling_rate_hz: float) -> Array:
    """Least-squares slope over the observed samples, per minute; NaN with fewer than two."""
    minutes = np.broadcast_to(np.arange(values.shape[-1]) / (60.0 * sampling_rate_hz), values.shape)
    off_time = np.where(observed, minutes - mean(minutes, observed)[..., None], 0.0)
    off_value = np.where(observed, values - mean(values, observed)[..., None], 0.0)
    return divide((off_time * off_value).sum(-1), (off_time**2).sum(-1))


def quantiles(values: Array, observed: Mask, shares: tuple[float, ...]) -> Array:
    """Quantiles (quantile, ...) over the observed samples of the last axis, linear between samples; NaN where none."""
    ordered = np.sort(np.where(observed, values, np.inf), axis=-1)
    count = np.broadcast_to(observed, values.shape).sum(-1)
    rows = []
    for share in shares:
        place = share * np.maximum(count - 1, 0)
        low = np.floor(place).astype(int)
        high = np.minimum(low + 1, np.maximum(count - 1, 0))
        below = np.take_along_axis(ordered, low[..., None], -1)[..., 0]
        above = np.take_along_axis(ordered, high[..., None], -1)[..., 0]
        with np.errstate(invalid="ignore"):
            between = below + (place - low) * (above - below)
        rows.append(np.where(count > 0, between, np.nan))
    return np.stack(rows)


def fill_gaps(values: Array, observed: Mask) -> Array:
    """Straight lines over the gaps of each window (window, time), so that it can be filtered; zeros if none observed.

    Only filters and spectra see filled samples; no statistic counts them.
    """
    filled = np.where(observed, values, 0.0)
    grid = np.arange(values.shape[1])
    for row in np.flatnonzero(~observed.all(axis=1) & observed.any(axis=1)):
        seen = observed[row]
        filled[row] = np.interp(grid, grid[seen], values[row, seen])
    return filled


def spectrum(
    values: Array, observed: Mask, sampling_rate_hz: float, *, resolution_hz: float = 0.0
) -> tuple[Array, Array]:
    """Power of each window with a Hann taper after removal of mean and trend.

    Args:
        values: (window, time).
        observed: (window, time); gaps are bridged by straight lines.
        sampling_rate_hz: Of the values.
        resolution_hz: Spacing of the frequencies, by zero padding; the window's own where 0.

    Returns:
        Frequencies (frequency,) in Hz and power (window, frequency); zero power for an unobserved window.
    """
    count = values.shape[1]
    filled = fill_gaps(values, observed)
    time = np.arange(count, dtype=np.float64)
    time -= time.mean()
    filled -= filled.mean(axis=1, keepdims=True)
    filled -= np.outer(filled @ time / max(float(time @ time), 1e-12), time)
    padded = max(count, int(np.ceil(sampling_rate_hz / resolution_hz)) if resolution_hz > 0 else count)
    # A length of small factors: a prime length would make the transform many times slower.
    padded = 1 << (padded - 1).bit_length()
    power = np.abs(np.fft.rfft(filled * np.hanning(count), n=padded, axis=1)) ** 2
    return np.arange(padded // 2 + 1, dtype=np.float64) * (sampling_rate_hz / padded), power


def spectral_peak_rate(
    values: NDArray[np.floating],
    observed: Mask,
    sampling_rate_hz: float,
    low_hz: float,
    high_hz: float,
) -> Array:
    """Frequency of the largest spectral peak within a band, per minute: the plainest rate estimate there is.

    Args:
        values: (window, time) or (window, channel, time); the powers of channels are added.
        observed: (window, time).
        sampling_rate_hz: Of the values.
        low_hz: Lower edge of the band.
        high_hz: Upper edge of the band.

    Returns:
        Rates per minute (window,); NaN where under half the window was observed or nothing varies.
    """
    frequencies, power = spectral_power(values, observed, sampling_rate_hz)
    return peak_frequency(frequencies, power, low_hz, high_hz) * 60.0


def spectral_power(values: NDArray[np.floating], observed: Mask, sampling_rate_hz: float) -> tuple[Array, Array]:
    """Finely spaced frequencies (frequency,) in Hz, and power (window, frequency) added over channels.

    Arguments as in `spectral_peak_rate`; NaN where under half the window was observed.
    """
    layers = np.asarray(values, dtype=np.float64)
    layers = layers[:, None, :] if layers.ndim == 2 else layers
    observed = observed & np.isfinite(layers).all(axis=1)
    total, frequencies = np.zeros((len(layers), 0)), np.zeros(0)
    for channel in range(layers.shape[1]):
        frequencies, power = spectrum(layers[:, channel], observed, sampling_rate_hz, resolution_hz=0.005)
        total = power if channel == 0 else total + power
    return frequencies, np.where(observed.mean(axis=1)[:, None] >= MIN_OBSERVED_SHARE, total, np.nan)


def peak_frequency(frequencies: Array, power: Array, low_hz: float, high_hz: float) -> Array:
    """Frequency of the largest power in [low, high], refined by a parabola; NaN where there is no power."""
    inside = np.flatnonzero((frequencies >= low_hz) & (frequencies <= high_hz))
    if not len(inside) or not len(power):
        return np.full(len(power), np.nan)
    best = inside[np.argmax(power[:, inside], axis=1)]
    rows = np.arange(len(power))
    left, middle, right = (power[rows, np.clip(best + step, 0, len(frequencies) - 1)] for step in (-1, 0, 1))
    bend = left - 2 * middle + right
    # Only a true local maximum has a vertex; a peak at the edge of the band stays on its frequency.
    is_peak = (middle >= left) & (middle >= right) & (bend < 0)
    shift = np.where(is_peak, 0.5 * (left - right) / np.where(bend < 0, bend, 1.0), 0.0)
    found = frequencies[best] + shift * (frequencies[1] - frequencies[0])
    return np.where(middle > 1e-20, np.clip(found, low_hz, high_hz), np.nan)


def band_share(frequencies: Array, power: Array, low_hz: float, high_hz: float) -> Array:
    """Share of the power (without frequency 0) that lies in [low, high); NaN where there is no power."""
    inside = (frequencies >= low_hz) & (frequencies < high_hz)
    return divide(power[:, inside].sum(axis=1), power[:, 1:].sum(axis=1))
