"""Beats in PPG and ECG windows, and what is read from them: rate, variability, breathing, quality."""

from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from scipy.ndimage import median_filter, uniform_filter1d
from scipy.signal import butter, find_peaks, sosfiltfilt

from hdt_fm.evaluation.hand_features.basics import (
    Array,
    Mask,
    band_share,
    divide,
    fill_gaps,
    mean,
    peak_frequency,
    spectral_peak_rate,
    spectrum,
    spread,
)

HEART_HZ = (0.6, 3.5)
BREATH_HZ = (0.1, 0.5)
SERIES_HZ = 4.0
IBI_S = (0.3, 2.0)
_PULSE_BAND_HZ = (0.5, 8.0)
_QRS_BAND_HZ = (8.0, 25.0)

FEATURES = (
    *(
        "hr_mean_bpm",
        "hr_spectral_bpm",
        "ibi_median_ms",
        "sdnn_ms",
        "rmssd_ms",
        "pnn50",
        "ibi_iqr_ms",
        "hr_slope_bpm_min",
    ),
    *("log_lf", "log_hf", "log_lf_hf", "amplitude_log_mean", "amplitude_cv", "amplitude_iqr_share", "beat_skew"),
    *("resp_riiv_per_min", "resp_riav_per_min", "resp_rifv_per_min", "resp_median_per_min"),
    *("heart_band_share", "beat_share", "mean", "sd"),
)


@dataclass(frozen=True)
class Beats:
    """Beats of one window: times (s) and heights (beat,); `good` tells which of the intervals (beat - 1,) to trust."""

    times_s: Array
    heights: Array
    good: Mask

    @property
    def intervals_s(self) -> Array:
        return np.diff(self.times_s)


def cardiac_features(values: Array, observed: Mask, sampling_rate_hz: float, *, is_ecg: bool) -> Array:
    """Features (window, feature) of one channel (window, time), in the order of `FEATURES`."""
    filtered, detection = detection_signal(values, observed, sampling_rate_hz, is_ecg=is_ecg)
    frequencies, power = spectrum(detection, observed, sampling_rate_hz, resolution_hz=0.01)
    heart_hz = peak_frequency(frequencies, power, *HEART_HZ)
    columns = {name: np.full(len(values), np.nan) for name in FEATURES}
    interval_series, height_series = (
        np.full((len(values), _series_length(values, sampling_rate_hz)), np.nan) for _ in "ab"
    )
    for row in np.flatnonzero(observed.mean(axis=1) >= 0.5):
        beats = find_beats(detection[row], filtered[row], observed[row], sampling_rate_hz, heart_hz[row], is_ecg=is_ecg)
        for name, value in _beat_statistics(beats, float(observed[row].sum() / sampling_rate_hz)).items():
            columns[name][row] = value
        interval_series[row], height_series[row] = _even_series(beats, interval_series.shape[1])
    columns |= _breathing(values, observed, sampling_rate_hz, interval_series, height_series)
    columns |= _variability_bands(interval_series)
    near = (np.abs(frequencies - heart_hz[:, None]) < 0.15) | (np.abs(frequencies - 2 * heart_hz[:, None]) < 0.15)
    inside = (frequencies > 0.4) & (frequencies < 8.0)
    columns["heart_band_share"] = divide((power * near).sum(1), (power * inside).sum(1))
    columns["hr_spectral_bpm"] = np.where(observed.mean(axis=1) >= 0.5, 60.0 * heart_hz, np.nan)
    columns["mean"], columns["sd"] = mean(values, observed), spread(values, observed)
    return np.stack([columns[name] for name in FEATURES], axis=1)


def find_beats(
    detection: Array, filtered: Array, observed: Mask, sampling_rate_hz: float, heart_hz: float, *, is_ecg: bool
) -> Beats:
    """Find beats in one window: peaks of the detection signal that stand out, at most one per plausible beat.

    Args:
        detection: Pulse wave or QRS energy (time,).
        filtered: Band-passed signal (time,), whose height at the beat is kept.
        observed: (time,); an interval over a gap is not trusted.
        sampling_rate_hz: Of both.
        heart_hz: Spectral heart rate, to set the shortest distance; NaN if unknown.
        is_ecg: QRS energy is narrow, so beats may come much closer than the spectrum says.
    """
    shortest_s = IBI_S[0] if is_ecg or not np.isfinite(heart_hz) else max(IBI_S[0], 0.55 / heart_hz)
    tall = np.quantile(detection[observed], 0.98 if is_ecg else 0.9)
    floor = 0.35 * tall if is_ecg else 0.3 * (tall - np.quantile(detection[observed], 0.1))
    if not tall > 0:
        return Beats(np.zeros(0), np.zeros(0), np.zeros(0, dtype=np.bool_))
    settings = {"height": floor} if is_ecg else {"prominence": floor}
    peaks, _ = find_peaks(detection, distance=max(1, int(shortest_s * sampling_rate_hz)), **settings)
    peaks = peaks[observed[peaks]]
    if is_ecg and len(peaks):
        peaks = _nearest_extreme(filtered, peaks, int(0.08 * sampling_rate_hz))
    times = (peaks + _vertex(filtered, peaks)) / sampling_rate_hz
    return Beats(times, np.abs(filtered[peaks]), _trusted(times, peaks, observed))


def detection_signal(values: Array, observed: Mask, rate_hz: float, *, is_ecg: bool) -> tuple[Array, Array]:
    """Band-passed signal and the signal whose peaks are beats, each (window, time)."""
    low, high = _QRS_BAND_HZ if is_ecg else _PULSE_BAND_HZ
    band = butter(2, (low, min(high, 0.45 * rate_hz)), "bandpass", fs=rate_hz, output="sos")
    filtered = sosfiltfilt(band, fill_gaps(values, observed), axis=1)
    if not is_ecg:
        return filtered, filtered
    # The running mean may round below 0 where the signal is still.
    energy = np.sqrt(np.maximum(uniform_filter1d(filtered**2, max(3, int(0.10 * rate_hz)), axis=1), 0.0))
    return filtered, energy


def _nearest_extreme(filtered: Array, peaks: np.ndarray, reach: int) -> np.ndarray:
    """Move each energy peak to the largest deflection of either sign close by: leads differ in polarity."""
    places = np.clip(peaks[:, None] + np.arange(-reach, reach + 1)[None, :], 0, len(filtered) - 1)
    around = filtered[places]
    # One polarity for the whole window, else beats would hop between R and S.
    sign = 1.0 if np.median(around.max(axis=1)) >= np.median(-around.min(axis=1)) else -1.0
    return np.unique(places[np.arange(len(peaks)), np.argmax(sign * around, axis=1)])


def _vertex(signal: Array, peaks: np.ndarray) -> Array:
    """Offset of the true extreme from its sample, by a parabola, within half a sample."""
    left, middle, right = (signal[np.clip(peaks + step, 0, len(signal) - 1)] for step in (-1, 0, 1))
    return np.clip(np.nan_to_num(divide(0.5 * (left - right), left - 2 * middle + right)), -0.5, 0.5)


def _trusted(times_s: Array, peaks: np.ndarray, observed: Mask) -> Mask:
    """Intervals without a gap, in the living range, and within 30 % of the median of the seven around."""
    if len(times_s) < 2:
        return np.zeros(0, dtype=np.bool_)
    intervals = np.diff(times_s)
    lost = np.concatenate([[0], np.cumsum(~observed)])
    usual = median_filter(intervals, size=7, mode="nearest")
    return (
        (lost[peaks[1:]] == lost[peaks[:-1]])
        & (intervals >= IBI_S[0])
        & (intervals <= IBI_S[1])
        & (np.abs(intervals - usual) < 0.3 * usual)
    )


def _beat_statistics(beats: Beats, seen_s: float) -> dict[str, float]:
    """Rate, variability and heights; nothing with fewer than four trusted intervals, where a spread is a guess."""
    good = beats.good
    if good.sum() < 4:
        return {"beat_share": float((beats.intervals_s[good]).sum() / seen_s)}
    intervals, heights = beats.intervals_s[good] * 1e3, beats.heights[:-1][good]
    neighbours = good[1:] & good[:-1]
    steps = np.diff(beats.intervals_s)[neighbours] * 1e3
    low, median, high = np.quantile(intervals, (0.25, 0.5, 0.75))
    height_low, height_median, height_high = np.quantile(heights, (0.25, 0.5, 0.75))
    when = beats.times_s[:-1][good] / 60.0
    when = when - when.mean()
    centred = heights - heights.mean()
    spread_of_heights = float(heights.std())
    return {
        "hr_mean_bpm": 60e3 / float(intervals.mean()),
        "ibi_median_ms": float(median),
        "sdnn_ms": float(intervals.std(ddof=1)),
        "rmssd_ms": float(np.sqrt((steps**2).mean())) if len(steps) else np.nan,
        "pnn50": float((np.abs(steps) > 50).mean()) if len(steps) else np.nan,
        "ibi_iqr_ms": float(high - low),
        "hr_slope_bpm_min": float((when * (60e3 / intervals)).sum() / max(float((when**2).sum()), 1e-12)),
        "amplitude_log_mean": float(np.log(max(float(heights.mean()), 1e-9))),
        "amplitude_cv": spread_of_heights / max(float(heights.mean()), 1e-9),
        "amplitude_iqr_share": float((height_high - height_low) / max(height_median, 1e-9)),
        "beat_skew": float((centred**3).mean() / spread_of_heights**3) if spread_of_heights > 1e-9 else 0.0,
        "beat_share": float(intervals.sum() / 1e3 / seen_s),
    }


def _series_length(values: Array, rate_hz: float) -> int:
    return max(2, int(values.shape[1] / rate_hz * SERIES_HZ))


def _even_series(beats: Beats, count: int) -> tuple[Array, Array]:
    """Intervals (ms) and heights of trusted beats on an even 4-Hz grid; NaN with fewer than four."""
    if beats.good.sum() < 4:
        return np.full(count, np.nan), np.full(count, np.nan)
    grid, when = np.arange(count) / SERIES_HZ, beats.times_s[1:][beats.good]
    intervals = np.interp(grid, when, beats.intervals_s[beats.good] * 1e3)
    return intervals, np.interp(grid, when, beats.heights[1:][beats.good])


def _breathing(values: Array, observed: Mask, rate_hz: float, intervals: Array, heights: Array) -> dict[str, Array]:
    """Breathing rate from the baseline (RIIV), the heights (RIAV) and the intervals (RIFV), and their median."""
    seen = np.isfinite(intervals)
    rates = {
        "resp_riiv_per_min": spectral_peak_rate(values, observed, rate_hz, *BREATH_HZ),
        "resp_riav_per_min": spectral_peak_rate(np.nan_to_num(heights), seen, SERIES_HZ, *BREATH_HZ),
        "resp_rifv_per_min": spectral_peak_rate(np.nan_to_num(intervals), seen, SERIES_HZ, *BREATH_HZ),
    }
    # The median of three with NaN last: with one or two estimates left it falls back to their mean.
    ordered = np.sort(np.stack(list(rates.values())), axis=0)
    count = np.isfinite(ordered).sum(axis=0)
    middle = np.where(count == 3, ordered[1], np.where(count == 2, (ordered[0] + ordered[1]) / 2, ordered[0]))
    return {**rates, "resp_median_per_min": middle}


_HRV_BANDS_HZ = MappingProxyType({"lf": (0.04, 0.15), "hf": (0.15, 0.4)})


def _variability_bands(intervals: Array) -> dict[str, Array]:
    """Logarithms of the power of the intervals in the two usual bands and of their ratio; rough within a minute."""
    seen = np.isfinite(intervals)
    frequencies, power = spectrum(np.nan_to_num(intervals), seen, SERIES_HZ, resolution_hz=0.01)
    scale = power.sum(axis=1)
    logs = {}
    for name, band in _HRV_BANDS_HZ.items():
        strength = band_share(frequencies, power, *band) * scale
        logs[name] = np.log(np.where(strength > 1e-12, strength, np.nan))
    return {"log_lf": logs["lf"], "log_hf": logs["hf"], "log_lf_hf": logs["lf"] - logs["hf"]}
