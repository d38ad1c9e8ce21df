"""Features of short windows of acceleration or angular rate: the usual set of activity recognition, axis by axis."""

import itertools

import numpy as np

from hdt_fm.evaluation.hand_features.basics import (
    Array,
    Mask,
    band_share,
    divide,
    mean,
    peak_frequency,
    quantiles,
    spectrum,
    spread,
)

Columns = dict[str, Array]
# Slower than the first band a window of a second cannot tell; steps lie in it, impacts in the others.
_BANDS_HZ = ((0.5, 3.0), (3.0, 8.0), (8.0, 20.0))
_QUANTILES = {"min": 0.0, "q25": 0.25, "median": 0.5, "q75": 0.75, "max": 1.0}
_FLOOR = 1e-12


def inertial_features(values: Array, observed: Mask, sampling_rate_hz: float, *, tilt: bool) -> Columns:
    """Level, spread, quantiles, course and spectrum of each axis and of the norm; how axes go together.

    Args:
        values: (window, channel, time).
        observed: (window, time).
        sampling_rate_hz: Of the values.
        tilt: Adds the direction of the mean (of gravity, in an accelerometer), in degrees; needs three axes.

    Returns:
        One column a feature; bands above half the sampling rate hold no power.
    """
    signals = {f"ch{axis}": values[:, axis] for axis in range(values.shape[1])}
    columns: Columns = {}
    for name, signal in {**signals, "norm": np.sqrt((values**2).sum(axis=1))}.items():
        found = _shape(signal, observed, sampling_rate_hz) | _spectral(signal, observed, sampling_rate_hz)
        columns |= {f"{name}_{feature}": column for feature, column in found.items()}
    for (first, a), (second, b) in itertools.combinations(signals.items(), 2):
        columns[f"correlation_{first}_{second}"] = _correlation(a, b, observed)
    if tilt and values.shape[1] == 3:
        x, y, z = (columns[f"ch{axis}_mean"] for axis in range(3))
        columns["pitch_degrees"] = np.degrees(np.arctan2(x, np.sqrt(y**2 + z**2)))
        columns["roll_degrees"] = np.degrees(np.arctan2(y, z))
    return columns


def _shape(signal: Array, observed: Mask, rate_hz: float) -> Columns:
    level = mean(signal, observed)
    both = observed[:, 1:] & observed[:, :-1]
    over = signal > level[:, None]
    seconds = both.sum(axis=1) / rate_hz
    half = signal.shape[1] // 2
    low = quantiles(signal, observed, tuple(_QUANTILES.values()))
    return {
        "mean": level,
        "sd": spread(signal, observed),
        "rms": np.sqrt(mean(signal**2, observed)),
        **dict(zip(_QUANTILES, low, strict=True)),
        "crossings_per_s": divide(((over[:, 1:] != over[:, :-1]) & both).sum(axis=1).astype(np.float64), seconds),
        "jerk_sd": spread(np.diff(signal, axis=1) * rate_hz, both),
        # Standing up and sitting down differ in what comes first.
        "change": mean(signal[:, half:], observed[:, half:]) - mean(signal[:, :half], observed[:, :half]),
    }


def _spectral(signal: Array, observed: Mask, rate_hz: float) -> Columns:
    frequencies, power = spectrum(signal, observed, rate_hz)
    # A share of the squared sum: the same tone has the same power in windows of any length.
    power = power / signal.shape[1] ** 2
    strength = power[:, 1:].sum(axis=1)
    columns = {
        "dominant_hz": peak_frequency(frequencies, power, _BANDS_HZ[0][0], min(_BANDS_HZ[-1][1], rate_hz / 2)),
        "log_peak_power": np.log(power[:, 1:].max(axis=1) + _FLOOR),
    }
    for low, high in _BANDS_HZ:
        inside = np.nan_to_num(band_share(frequencies, power, low, high)) * strength
        columns[f"log_power_{low:g}_{high:g}_hz"] = np.log(inside + _FLOOR)
    share = divide(power[:, 1:], strength[:, None])
    entropy = -(share * np.log(np.where(share > 0, share, 1.0))).sum(axis=1)
    columns["spectral_entropy"] = entropy / np.log(max(2, len(frequencies) - 1))
    return columns


def _correlation(a: Array, b: Array, observed: Mask) -> Array:
    off_a, off_b = (np.where(observed, x - mean(x, observed)[:, None], 0.0) for x in (a, b))
    return divide((off_a * off_b).sum(axis=1), np.sqrt((off_a**2).sum(axis=1) * (off_b**2).sum(axis=1)))
