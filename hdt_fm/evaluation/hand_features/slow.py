"""Features of everything that has no beats: skin conductance, temperature, movement, breathing, any other modality."""

import numpy as np
from scipy.signal import butter, find_peaks, sosfiltfilt

from hdt_fm.evaluation.hand_features.basics import (
    Array,
    Mask,
    band_share,
    divide,
    fill_gaps,
    mean,
    peak_frequency,
    quantiles,
    slope_per_min,
    spectral_peak_rate,
    spectrum,
    spread,
)

Columns = dict[str, Array]
SCR_MIN_US = 0.03
_TONIC_HZ = 0.05
_MOVEMENT_BANDS_HZ = ((0.3, 1.0), (1.0, 3.0), (3.0, 6.0), (6.0, 15.0))
_SHARES = (0.05, 0.25, 0.5, 0.75, 0.95)


def level_features(values: Array, observed: Mask, sampling_rate_hz: float) -> Columns:
    """Mean, spread, slope, and quantiles of each channel (window, channel, time): for any modality."""
    columns: Columns = {}
    for channel in range(values.shape[1]):
        signal = values[:, channel]
        prefix = f"ch{channel}_" if values.shape[1] > 1 else ""
        columns[f"{prefix}mean"] = mean(signal, observed)
        columns[f"{prefix}sd"] = spread(signal, observed)
        columns[f"{prefix}slope_per_min"] = slope_per_min(signal, observed, sampling_rate_hz)
        for share, row in zip(_SHARES, quantiles(signal, observed, _SHARES), strict=True):
            columns[f"{prefix}q{round(100 * share):02d}"] = row
    return columns


def temperature_features(values: Array, observed: Mask, sampling_rate_hz: float) -> Columns:
    """Mean, spread, slope and range (celsius)."""
    signal = values[:, 0]
    low, high = quantiles(signal, observed, (0.0, 1.0))
    return {
        "mean": mean(signal, observed),
        "sd": spread(signal, observed),
        "slope_per_min": slope_per_min(signal, observed, sampling_rate_hz),
        "range": high - low,
        "min": low,
        "max": high,
    }


def breathing_features(values: Array, observed: Mask, sampling_rate_hz: float) -> Columns:
    """Rate of the largest spectral peak, how much of the power it holds, and the depth of breathing."""
    signal = values[:, 0]
    frequencies, power = spectrum(signal, observed, sampling_rate_hz, resolution_hz=0.005)
    peak = peak_frequency(frequencies, power, 0.08, 0.7)
    near = np.abs(frequencies - peak[:, None]) < 0.05
    return {
        "rate_per_min": spectral_peak_rate(signal, observed, sampling_rate_hz, 0.08, 0.7),
        "peak_share": divide((power * near).sum(1), power[:, 1:].sum(1)),
        "sd": spread(signal, observed),
        "mean": mean(signal, observed),
    }


def conductance_features(values: Array, observed: Mask, sampling_rate_hz: float) -> Columns:
    """Level, tonic and phasic parts, and skin conductance responses (SCR) of at least 0.03 uS."""
    signal = values[:, 0]
    filled = fill_gaps(signal, observed)
    tonic, phasic = _split(filled, sampling_rate_hz)
    count, height = _responses(phasic, observed, sampling_rate_hz)
    low, high = quantiles(signal, observed, (0.0, 1.0))
    step = np.diff(filled, axis=1) * sampling_rate_hz
    both = observed[:, 1:] & observed[:, :-1]
    minutes = observed.sum(axis=1) / (60.0 * sampling_rate_hz)
    level = mean(signal, observed)
    return {
        "mean": level,
        "log_mean": np.log(np.maximum(level, 1e-3)),
        "sd": spread(signal, observed),
        "slope_per_min": slope_per_min(signal, observed, sampling_rate_hz),
        "relative_slope_per_min": divide(slope_per_min(signal, observed, sampling_rate_hz), level),
        "min": low,
        "max": high,
        "range": high - low,
        "tonic_sd": spread(tonic, observed),
        "phasic_sd": spread(phasic, observed),
        "phasic_share": divide(spread(phasic, observed), level),
        "step_sd": spread(step, both),
        "scr_per_min": divide(count, minutes),
        "scr_amplitude_us": np.where(count > 0, divide(height, count), np.where(minutes > 0, 0.0, np.nan)),
        "scr_sum_us": np.where(minutes > 0, height, np.nan),
    }


def _split(filled: Array, rate_hz: float) -> tuple[Array, Array]:
    """Tonic part (under 0.05 Hz) and phasic part (the rest, under 1 Hz where the rate allows), (window, time) each."""
    if filled.shape[1] < 16 or rate_hz <= 4 * _TONIC_HZ:
        return filled, np.zeros_like(filled)
    padding = min(filled.shape[1] - 1, int(20 * rate_hz))
    slow = butter(2, _TONIC_HZ, "lowpass", fs=rate_hz, output="sos")
    tonic = sosfiltfilt(slow, filled, axis=1, padlen=padding)
    smooth = filled
    if rate_hz > 2.5:
        smooth = sosfiltfilt(butter(2, 1.0, "lowpass", fs=rate_hz, output="sos"), filled, axis=1, padlen=padding)
    return tonic, smooth - tonic


def _responses(phasic: Array, observed: Mask, rate_hz: float) -> tuple[Array, Array]:
    """Number of SCRs and the sum of their heights per window: peaks that rise by 0.03 uS within 5 s before."""
    count, total = np.zeros(len(phasic)), np.zeros(len(phasic))
    reach = max(1, int(5 * rate_hz))
    for row in np.flatnonzero(observed.any(axis=1)):
        peaks, found = find_peaks(phasic[row], prominence=SCR_MIN_US, distance=max(1, int(rate_hz)), wlen=2 * reach + 1)
        rise = phasic[row, peaks] - phasic[row, found["left_bases"]]
        kept = observed[row, peaks] & (rise >= SCR_MIN_US)
        count[row], total[row] = kept.sum(), rise[kept].sum()
    return count, total


def movement_features(values: Array, observed: Mask, sampling_rate_hz: float, *, tilt: bool) -> Columns:
    """Magnitude, bands, jerk, dominant frequency, entropy, axes; `tilt` adds the direction of gravity (degrees).

    Pitch is the angle of the first axis above the horizontal plane, roll the turn about it.
    """
    columns: Columns = {}
    means = [mean(values[:, axis], observed) for axis in range(values.shape[1])]
    for axis, level in enumerate(means):
        columns[f"ch{axis}_mean"] = level
        columns[f"ch{axis}_sd"] = spread(values[:, axis], observed)
    magnitude = np.sqrt((values**2).sum(axis=1))
    columns["magnitude_mean"], columns["magnitude_sd"] = mean(magnitude, observed), spread(magnitude, observed)
    low, middle, high = quantiles(magnitude, observed, (0.05, 0.5, 0.95))
    columns |= {"magnitude_q05": low, "magnitude_q50": middle, "magnitude_q95": high}
    both = observed[:, 1:] & observed[:, :-1]
    jerk = np.sqrt((np.diff(values, axis=2) ** 2).sum(axis=1)) * sampling_rate_hz
    columns["jerk_mean"], columns["jerk_sd"] = mean(jerk, both), spread(jerk, both)
    columns |= _movement_spectrum(values, observed, sampling_rate_hz)
    if tilt and values.shape[1] == 3:
        flat = np.sqrt(means[1] ** 2 + means[2] ** 2)
        columns["pitch_degrees"] = np.degrees(np.arctan2(means[0], flat))
        columns["roll_degrees"] = np.degrees(np.arctan2(means[1], means[2]))
    return columns


def _movement_spectrum(values: Array, observed: Mask, rate_hz: float) -> Columns:
    """Power over the sum of axes: per band (log), dominant frequency, spectral entropy (0 one tone, 1 flat)."""
    total, frequencies = np.zeros((len(values), 1)), np.zeros(1)
    for axis in range(values.shape[1]):
        frequencies, power = spectrum(values[:, axis], observed, rate_hz)
        total = total + power if axis else power
    strength = total[:, 1:].sum(axis=1)
    columns: Columns = {}
    for low, high in _MOVEMENT_BANDS_HZ:
        inside = band_share(frequencies, total, low, high) * strength / values.shape[2] ** 2
        reachable = low < rate_hz / 2
        columns[f"log_power_{low:g}_{high:g}_hz"] = (
            np.log(inside + 1e-12) if reachable else np.full(len(values), np.nan)
        )
    columns["dominant_hz"] = peak_frequency(frequencies, total, 0.3, 10.0)
    share = divide(total[:, 1:], strength[:, None])
    entropy = -(share * np.log(np.where(share > 0, share, 1.0))).sum(axis=1)
    columns["spectral_entropy"] = entropy / np.log(max(2, len(frequencies) - 1))
    return columns
