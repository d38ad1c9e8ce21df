"""Classical features, window by window: the honest opponent of every embedding (numpy and scipy only).

A row of features comes from its own window alone: no statistic of a person, a cohort or the future enters.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from hdt_fm.evaluation.hand_features.basics import Array, Mask, peak_frequency, spectral_peak_rate, spectral_power
from hdt_fm.evaluation.hand_features.beats import FEATURES, cardiac_features
from hdt_fm.evaluation.hand_features.course import course_features
from hdt_fm.evaluation.hand_features.inertial import inertial_features
from hdt_fm.evaluation.hand_features.slow import (
    Columns,
    breathing_features,
    conductance_features,
    level_features,
    movement_features,
    temperature_features,
)
from hdt_fm.schema.errors import ShapeError
from hdt_fm.schema.modalities import modality as look_up_modality

__all__ = [
    "course_features",
    "feature_table",
    "hand_features",
    "peak_frequency",
    "spectral_peak_rate",
    "spectral_power",
]

# A shorter window holds a step or two: no rhythm that is slower than its bands, but a shape of every axis.
SHORT_S = 5.0
# Bounds memory and keeps the work in the cache; results do not depend on it.
_WINDOWS_AT_ONCE = 256


def hand_features(
    modality: str, values: NDArray[np.floating], observed: Mask, sampling_rate_hz: float
) -> tuple[Array, tuple[str, ...]]:
    """Features of one modality's windows.

    Args:
        modality: Name in the modality table; a kind without features of its own gets level, slope and quantiles.
        values: (window, channel, time) in the modality's canonical unit.
        observed: (window, time); unobserved samples never count.
        sampling_rate_hz: Of the values.

    Returns:
        Features (window, feature) and their names. NaN where a window does not allow one: all of them where
        nothing was observed.

    Raises:
        UnknownNameError: If the modality is not in the table.
        ShapeError: If the mask does not fit the values.
    """
    kind = look_up_modality(modality).kind
    if values.ndim != 3 or observed.shape != (values.shape[0], values.shape[2]):
        raise ShapeError(
            "Values and mask do not fit",
            where=f"features of {modality}",
            expected="(window, channel, time) and (window, time)",
            got=f"{values.shape} and {observed.shape}",
        )
    chunks = [
        _columns(
            kind,
            values[first : first + _WINDOWS_AT_ONCE],
            observed[first : first + _WINDOWS_AT_ONCE],
            sampling_rate_hz,
        )
        for first in range(0, max(len(values), 1), _WINDOWS_AT_ONCE)
    ]
    table = np.concatenate([np.stack(list(chunk.values()), axis=1) for chunk in chunks])
    return table, tuple(chunks[0])


def feature_table(
    signals: Mapping[str, NDArray[np.floating]],
    observed: Mapping[str, Mask],
    present: Mask,
    rates: Mapping[str, float],
) -> tuple[Array, tuple[str, ...]]:
    """Features of all modalities side by side.

    Args:
        signals: Per modality (window, channel, time), in the order of the columns of `present`.
        observed: Per modality (window, time).
        present: (window, modality).
        rates: Sampling rate of each modality in Hz.

    Returns:
        Features (window, feature), NaN where the modality is absent, and names as `ppg.hr_mean_bpm`.

    Raises:
        ShapeError: If `present` does not fit the signals.
    """
    if present.ndim != 2 or present.shape[1] != len(signals) or any(len(v) != len(present) for v in signals.values()):
        raise ShapeError(
            "`present` does not fit the signals",
            expected=f"(window, {len(signals)}), windows as in every signal",
            got=str(present.shape),
        )
    blocks, names = [], []
    for column, (name, values) in enumerate(signals.items()):
        rows = present[:, column]
        found, own = hand_features(name, values[rows], observed[name][rows], rates[name])
        block = np.full((len(present), len(own)), np.nan)
        block[rows] = found
        blocks.append(block)
        names += [f"{name}.{feature}" for feature in own]
    return np.concatenate(blocks, axis=1), tuple(names)


def _cardiac(values: Array, observed: Mask, rate_hz: float, *, is_ecg: bool) -> Columns:
    table = cardiac_features(values[:, 0], observed, rate_hz, is_ecg=is_ecg)
    return {name: table[:, column] for column, name in enumerate(FEATURES)}


def _moving(values: Array, observed: Mask, rate_hz: float, *, tilt: bool) -> Columns:
    features = inertial_features if values.shape[2] / rate_hz < SHORT_S else movement_features
    return features(values, observed, rate_hz, tilt=tilt)


_FEATURES: Mapping[str, Callable[[Array, Mask, float], Columns]] = MappingProxyType(
    {
        "ppg": lambda values, observed, rate: _cardiac(values, observed, rate, is_ecg=False),
        "ecg": lambda values, observed, rate: _cardiac(values, observed, rate, is_ecg=True),
        "resp": breathing_features,
        "eda": conductance_features,
        "temp": temperature_features,
        "acc": lambda values, observed, rate: _moving(values, observed, rate, tilt=True),
        "gyro": lambda values, observed, rate: _moving(values, observed, rate, tilt=False),
    }
)


def _columns(kind: str, values: NDArray[np.floating], observed: Mask, rate_hz: float) -> Columns:
    doubles = np.asarray(values, dtype=np.float64)
    seen = observed & np.isfinite(doubles).all(axis=1)
    columns = _FEATURES.get(kind, level_features)(np.where(seen[:, None, :], doubles, 0.0), seen, rate_hz)
    nothing = ~seen.any(axis=1)
    return {name: np.where(nothing, np.nan, column) for name, column in columns.items()}
