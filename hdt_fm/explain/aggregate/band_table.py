"""Frequency bands by modality: where in the spectrum a body does what, and the part of it that a window can tell."""

from collections.abc import Mapping
from dataclasses import dataclass

from hdt_fm.explain.page.axis import short
from hdt_fm.schema.modalities import modality

_HOUR, _MIN = 3600.0, 60.0
_INF = float("inf")
Rows = tuple[tuple[float, str], ...]


@dataclass(frozen=True)
class Band:
    """[low, high) of the spectrum; the first band of a signal holds its level too, the last one what is fastest."""

    name: str
    low_hz: float
    high_hz: float

    @property
    def words(self) -> str:
        """Its range, in hertz from 0.05 Hz on and as a length of time below."""
        if self.high_hz >= 0.05:
            high = f"{short(self.high_hz)} Hz"
            return f"{short(self.low_hz)} to {high}" if self.low_hz else f"under {high}"
        slow = _length(1 / self.high_hz)
        return f"{slow} to {_length(1 / self.low_hz)}" if self.low_hz else f"slower than {slow}"


# Each row ends at its frequency (Hz) and has its name; the bands of a signal leave nothing out and share nothing.
# Pulse waves: the fundamental from 30 to 180 beats a minute, harmonics to 15 Hz, and nothing of the body above.
_BLOOD: Rows = (
    (0.1, "slow change"),
    (0.5, "breathing"),
    (3.0, "pulse rate"),
    (15.0, "beat shape"),
    (_INF, "faster than a pulse"),
)
# Gravity turns slowly; gait and gestures lie under 3 Hz, tremor of illness and of health from 3 to 12.
_MOTION: Rows = (
    (0.3, "posture"),
    (3.0, "gait and gestures"),
    (12.0, "tremor"),
    (_INF, "shocks and vibration"),
)
_EYES_AND_BRAIN: Rows = (
    (0.5, "drift"),
    (4.0, "delta"),
    (8.0, "theta"),
    (12.0, "alpha"),
    (30.0, "beta"),
    (_INF, "gamma"),
)
# Of a beat-to-beat rate: the usual bands of heart rate variability, and slower ones by length.
_RATES: Rows = (
    (1 / (4 * _HOUR), "day rhythm"),
    (1 / (5 * _MIN), "activity and posture"),
    (0.04, "very low (HRV)"),
    (0.15, "low (HRV)"),
    (0.5, "breathing (HRV)"),
    (_INF, "beat to beat"),
)
_BY_LENGTH: Rows = (
    (1 / (4 * _HOUR), "over 4 h"),
    (1 / _HOUR, "1 to 4 h"),
    (1 / (10 * _MIN), "10 min to 1 h"),
    (1 / _MIN, "1 to 10 min"),
    (0.1, "10 s to 1 min"),
    (1.0, "1 to 10 s"),
    (_INF, "under 1 s"),
)
# A skin response rises in 1 to 3 s and fades in 2 to 10 s; the tonic edge is that of our hand features.
_SKIN: Rows = ((0.05, "tonic level"), (1.0, "phasic responses"), (_INF, "faster than skin"))
_MEALS: Rows = ((1 / (4 * _HOUR), "slower than meals"), (1 / _HOUR, "meals and doses"), (_INF, "faster than meals"))
# Breathing moves the baseline; P and T waves lie under 8 Hz, the QRS complex from 8 to 40.
_HEART: Rows = (
    (0.1, "slow change"),
    (0.5, "breathing"),
    (8.0, "rate, P and T waves"),
    (40.0, "QRS complex"),
    (_INF, "muscle and mains"),
)
_BREATH: Rows = ((0.08, "slow change"), (0.7, "breathing"), (3.0, "heartbeat and movement"), (_INF, "faster"))
_OXYGEN: Rows = ((1 / (2 * _MIN), "slow change"), (1 / 20, "repeated apnoeas"), (_INF, "faster than apnoeas"))
_WARMTH: Rows = ((1 / (10 * _MIN), "surroundings and day"), (1 / _MIN, "blood flow of the skin"), (_INF, "faster"))

BANDS: Mapping[str, Rows] = {
    "ppg": _BLOOD,
    "abp": _BLOOD,
    "cvp": _BLOOD,
    "ecg": _HEART,
    "resp": _BREATH,
    "eda": _SKIN,
    "acc": _MOTION,
    "gyro": _MOTION,
    "mag": _MOTION,
    "glucose": _MEALS,
    "temp": _WARMTH,
    "heart_rate": _RATES,
    "spo2": _OXYGEN,
    "eeg": _EYES_AND_BRAIN,
    "eog": ((0.5, "drift"), (1.0, "slow rolling"), (10.0, "saccades and blinks"), (_INF, "muscle")),
    "emg": ((20.0, "movement of the electrode"), (150.0, "muscle"), (_INF, "faster")),
}


def bands_of(name: str, sampling_rate_hz: float, samples: int) -> tuple[Band, ...]:
    """Bands that a window of so many samples can tell apart, from 0 to half the sampling rate.

    An edge slower than one period per window is dropped, and the band above takes what lies below it; an edge at or
    above half the sampling rate ends the last band.
    """
    slowest_hz, fastest_hz = sampling_rate_hz / samples, sampling_rate_hz / 2
    kept: list[Band] = []
    low, below = 0.0, ""
    for high, called in BANDS.get(modality(name).kind, _BY_LENGTH):
        if high < slowest_hz * (1 - 1e-9) and high < fastest_hz:
            below = " and slower"
            continue
        kept.append(Band(called + ("" if kept else below), low, min(high, fastest_hz)))
        low = high
        if high >= fastest_hz:
            break
    return tuple(kept)


def _length(seconds: float) -> str:
    for size, unit in ((_HOUR, "h"), (_MIN, "min")):
        if seconds >= size * (1 - 1e-9):
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"
