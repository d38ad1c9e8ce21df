"""Named physiological features of windows, for students: the hand-made ones with words, units and modalities."""

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from hdt_fm.cli.workflow import complete
from hdt_fm.data.shards import ShardFolder
from hdt_fm.data.stream import OrderedBatches
from hdt_fm.evaluation.hand_features import course_features, hand_features
from hdt_fm.explain.distil.named import Feature, NamedFeatures
from hdt_fm.schema.batch import Signal
from hdt_fm.schema.errors import ExplainError, unknown_name
from hdt_fm.schema.modalities import STATIC
from hdt_fm.schema.modalities import modality as look_up_modality

# A series with a sample a minute or fewer has no beats or breaths, but a course over the window.
SLOW_HZ = 1 / 60
# Columns that `course_features` has of each stretch; the last two, of differences, are a slow series' noise: left out.
_COURSE = ((0, "level", "{unit}"), (1, "swings (log)", ""), (2, "steps (log)", ""), (3, "bends (log)", ""))

PER_MIN, MS = "per minute", "ms"
_BEATS: Mapping[str, tuple[str, str]] = {
    "hr_mean_bpm": ("heart rate from beats", PER_MIN),
    "hr_spectral_bpm": ("heart rate from the spectrum", PER_MIN),
    "hr_slope_bpm_min": ("trend of the heart rate", "per minute each minute"),
    "ibi_median_ms": ("median interval between beats", MS),
    "ibi_iqr_ms": ("width of the middle half of the intervals between beats", MS),
    "sdnn_ms": ("spread of the intervals between beats (SDNN)", MS),
    "rmssd_ms": ("variability from beat to beat (RMSSD)", MS),
    "pnn50": ("share of intervals that differ by over 50 ms from the last (pNN50)", ""),
    "log_lf": ("slow variability of the heart rate (LF power, log)", ""),
    "log_hf": ("fast variability of the heart rate (HF power, log)", ""),
    "log_lf_hf": ("slow over fast variability of the heart rate (LF/HF, log)", ""),
    "amplitude_log_mean": ("mean height of beats (log)", ""),
    "amplitude_cv": ("variation of the height of beats", ""),
    "amplitude_iqr_share": ("width of the middle half of the heights of beats, over their median", ""),
    "beat_skew": ("skewness of the height of beats", ""),
    "resp_riiv_per_min": ("breathing rate from the baseline", PER_MIN),
    "resp_riav_per_min": ("breathing rate from the height of beats", PER_MIN),
    "resp_rifv_per_min": ("breathing rate from intervals between beats", PER_MIN),
    "resp_median_per_min": ("breathing rate as the median of three ways", PER_MIN),
    "heart_band_share": ("share of power at heart rates", ""),
    "beat_share": ("share of the time in beats that can be trusted", ""),
}
_OTHERS: Mapping[str, tuple[str, str]] = {
    "rate_per_min": ("breathing rate", PER_MIN),
    "peak_share": ("regularity of breathing", ""),
    "scr_per_min": ("skin conductance responses", PER_MIN),
    "scr_amplitude_us": ("mean height of skin conductance responses", "uS"),
    "scr_sum_us": ("summed height of skin conductance responses", "uS"),
    "log_mean": ("level (log)", ""),
    "relative_slope_per_min": ("trend as a share of the level", PER_MIN),
    "tonic_sd": ("spread of the slow part", "{unit}"),
    "phasic_sd": ("spread of the fast part", "{unit}"),
    "phasic_share": ("spread of the fast part over the level", ""),
    "step_sd": ("spread of the change per second", "{unit}/s"),
    "jerk_mean": ("mean jerk", "{unit}/s"),
    "jerk_sd": ("spread of the jerk", "{unit}/s"),
    "dominant_hz": ("leading frequency", "Hz"),
    "spectral_entropy": ("evenness of the spectrum (0 one tone, 1 flat)", ""),
    "pitch_degrees": ("tilt of the first axis above the horizontal", "degrees"),
    "roll_degrees": ("turn about the first axis", "degrees"),
    "crossings_per_s": ("crossings of the mean", "per second"),
    "log_peak_power": ("power of the leading frequency (log)", ""),
    "change": ("second half less first half", "{unit}"),
    "mean": ("level", "{unit}"),
    "sd": ("spread", "{unit}"),
    "rms": ("root mean square", "{unit}"),
    "slope_per_min": ("trend", "{unit} per minute"),
    "range": ("range", "{unit}"),
    "min": ("lowest", "{unit}"),
    "max": ("highest", "{unit}"),
    "median": ("median", "{unit}"),
}
_PATTERNS: tuple[tuple[str, Callable[[re.Match[str]], tuple[str, str]]], ...] = (
    (r"q(\d\d)", lambda found: (f"level that {int(found[1])} % of the samples are below", "{unit}")),
    (r"log_power_([\d.]+)_([\d.]+)_hz", lambda found: (f"power from {found[1]} to {found[2]} Hz (log)", "")),
    (r"correlation_ch(\d)_ch(\d)", lambda found: (f"axes {int(found[1]) + 1} and {int(found[2]) + 1} together", "")),
)
_NORMS = ("magnitude_", "norm_")


def named_features(
    folder: ShardFolder,
    positions: NDArray[np.int64],
    *,
    modalities: Sequence[str] | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> NamedFeatures:
    """Features of some windows of a folder, in the order of `positions`.

    Facts about people are no features here, as they get no credit in a map: a report must not show them.

    Args:
        modalities: Whose features; None for all signals of the folder. Give the model's, so that students see no more
            than their teacher.

    Raises:
        UnknownNameError: If the folder lacks a modality.
        ExplainError: If no signal is left, or there are too few people.
    """
    signals = tuple(name for name in folder.modalities if name != STATIC)
    for name in modalities or ():
        if name not in signals:
            raise unknown_name("modality", name, signals, where="features for students")
    kept = tuple(name for name in signals if modalities is None or name in modalities)
    if not kept:
        raise ExplainError("There is no signal to make features of", expected=f"some of: {', '.join(signals)}")
    parts, features = [], tuple[Feature, ...]()
    batches = OrderedBatches(folder, positions, batch_size=512)
    for number, batch in enumerate(batches):
        whole = complete(batch, folder)
        found = [signal_features(name, whole[name], batch.column(name).numpy()) for name in kept]
        parts.append(np.concatenate([values for values, _ in found], axis=1))
        features = tuple(one for _, own in found for one in own)
        if progress:
            progress(number + 1, len(batches), "named features")
    return NamedFeatures(features, np.concatenate(parts), folder.subject_rows[positions].astype(np.int64))


def signal_features(
    name: str, signal: Signal, present: NDArray[np.bool_]
) -> tuple[Float[np.ndarray, "window feature"], tuple[Feature, ...]]:
    """Features of one modality; NaN in windows that lack it. A slow series gets its course beside its levels."""
    values, observed = signal.values.numpy(), signal.observed.numpy() & present[:, None]
    table, columns = hand_features(name, values, observed, signal.sampling_rate_hz)
    features = [_named(name, column, values.shape[1]) for column in columns]
    if signal.sampling_rate_hz <= SLOW_HZ:
        course, told = _course(name, values, observed, signal.sampling_rate_hz)
        table, features = np.concatenate([table, course], axis=1), [*features, *told]
    return table, tuple(features)


def _course(
    name: str, values: NDArray[np.floating], observed: NDArray[np.bool_], rate_hz: float
) -> tuple[Float[np.ndarray, "window feature"], list[Feature]]:
    """Level and swings of each stretch of the window, with when that is."""
    entry, channels = look_up_modality(name), values.shape[1]
    made = course_features(values, observed)
    stretches = made.shape[1] // (len(_COURSE) * channels)
    table = made.reshape(len(values), stretches, len(_COURSE), channels)
    edges = np.linspace(0, values.shape[2], stretches + 1).round() / rate_hz / 60
    columns, told = [], []
    for stretch, (start, stop) in enumerate(pairwise(edges)):
        for kind, words, unit in _COURSE[:2]:
            for channel in range(channels):
                axis = f", axis {channel + 1}" if channels > 1 else ""
                said = f"{entry.label}{axis}: {words} from {start:.0f} to {stop:.0f} min"
                columns.append(table[:, stretch, kind, channel])
                key = f"{name}.{words.split()[0]}_{stretch}_{channel}"
                told.append(Feature(key, said, unit.format(unit=_unit(entry.unit)), name))
    return np.stack(columns, axis=1), told


def _named(name: str, column: str, channels: int) -> Feature:
    """Words and unit of a hand-made feature, as `Acceleration, axis 2: spread`."""
    entry = look_up_modality(name)
    stem, side = column, ""
    axis = re.match(r"ch(\d)_", column)
    if axis:
        stem, side = column[axis.end() :], f", axis {int(axis[1]) + 1}" if channels > 1 else ""
    for prefix in _NORMS:
        if column.startswith(prefix):
            stem, side = column.removeprefix(prefix), ", magnitude"
    words, unit = _words(stem)
    return Feature(f"{name}.{column}", f"{entry.label}{side}: {words}", unit.format(unit=_unit(entry.unit)), name)


def _words(stem: str) -> tuple[str, str]:
    for pattern, told in _PATTERNS:
        found = re.fullmatch(pattern, stem)
        if found:
            return told(found)
    # A feature that has no words yet is shown by its name rather than left out.
    return _BEATS.get(stem) or _OTHERS.get(stem) or (stem.replace("_", " "), "")


def _unit(unit: str) -> str:
    """As the report writes it."""
    return {"au": "a.u.", "celsius": "°C", "1": "", "bpm": PER_MIN, "1/min": PER_MIN}.get(unit, unit)
