"""Indicators of a night that are known by name: unit, what a body can have, and other words for them."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Indicator:
    """One number a night.

    Attributes:
        name: As in `night.TYPICAL_EFFECTS`.
        unit: Every table and recording gives it in this one.
        label: What a person reads in a figure.
        plausible: Outside, and for `zero_is_none` at 0, it was not measured.
        words: Other names of a column that mean the same.
    """

    name: str
    unit: str
    label: str
    plausible: tuple[float, float]
    words: tuple[str, ...] = ()
    zero_is_none: bool = False


def _table(*entries: Indicator) -> Mapping[str, Indicator]:
    return MappingProxyType({entry.name: entry for entry in entries})


INDICATORS: Mapping[str, Indicator] = _table(
    Indicator("resting_heart_rate", "bpm", "Resting heart rate", (20.0, 200.0), ("resting_hr", "rhr")),
    Indicator("hrv", "ms", "Heart rate variability (RMSSD)", (0.0, 500.0), ("rmssd", "hrv_rmssd"), True),
    Indicator("sdnn", "ms", "Heart rate variability (SDNN)", (0.0, 500.0), ("hrv_sdnn",), True),
    Indicator("respiratory_rate", "1/min", "Breathing rate", (2.0, 70.0), ("breathing_rate", "resp_rate")),
    # Some devices tell how far it is from their own mean, hence the zero.
    Indicator("skin_temperature", "celsius", "Skin temperature", (-10.0, 45.0), ("nightly_temperature",)),
    Indicator("body_temperature", "celsius", "Body temperature", (30.0, 45.0)),
    Indicator("spo2", "%", "Oxygen saturation", (50.0, 100.0), ("oxygen_saturation",)),
    # A whole day without a step is a device that lay in a drawer.
    Indicator("steps", "1/d", "Steps", (0.0, 200_000.0), ("step_count", "daily_steps"), True),
)
WORDS: Mapping[str, str] = MappingProxyType(
    {word: one.name for one in INDICATORS.values() for word in (one.name, *one.words)}
)


def known_units() -> str:
    """All of them with their units, in one line."""
    return ", ".join(f"{one.name} ({one.unit})" for one in INDICATORS.values())
