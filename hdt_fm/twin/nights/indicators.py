"""Indicators of a night that are known by name: unit, what a body can have, other words, what illness does to them."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from jaxtyping import Float

from hdt_fm.schema.errors import ConfigError, unknown_name


@dataclass(frozen=True)
class Indicator:
    """One number a night.

    Attributes:
        unit: Every table and recording gives it in this one.
        label: What a person reads in a figure.
        plausible: Outside, and for `zero_is_none` at 0, it was not measured.
        illness_adds: What a feverish illness typically adds at its height, in `unit`.
        words: Other names of a column that mean the same.
    """

    name: str
    unit: str
    label: str
    plausible: tuple[float, float]
    illness_adds: float
    words: tuple[str, ...] = ()
    zero_is_none: bool = False


def _table(*entries: Indicator) -> Mapping[str, Indicator]:
    return MappingProxyType({entry.name: entry for entry in entries})


# What illness adds are orders of size, from no source and not fitted to anything, so that each indicator speaks as loud
# as it is likely to be heard over the person's own spread.
INDICATORS: Mapping[str, Indicator] = _table(
    Indicator("resting_heart_rate", "bpm", "Resting heart rate", (20.0, 200.0), 5.0, ("resting_hr", "rhr")),
    Indicator("hrv", "ms", "Heart rate variability (RMSSD)", (0.0, 500.0), -8.0, ("rmssd", "hrv_rmssd"), True),
    Indicator("sdnn", "ms", "Heart rate variability (SDNN)", (0.0, 500.0), -10.0, ("hrv_sdnn",), True),
    Indicator("respiratory_rate", "1/min", "Breathing rate", (2.0, 70.0), 1.0, ("breathing_rate", "resp_rate")),
    # Some devices tell how far it is from their own mean, hence the zero.
    Indicator("skin_temperature", "celsius", "Skin temperature", (-10.0, 45.0), 0.5, ("nightly_temperature",)),
    Indicator("body_temperature", "celsius", "Body temperature", (30.0, 45.0), 0.8),
    Indicator("spo2", "%", "Oxygen saturation", (50.0, 100.0), -1.0, ("oxygen_saturation",)),
    # A whole day without a step is a device that lay in a drawer.
    Indicator("steps", "1/d", "Steps", (0.0, 200_000.0), -2500.0, ("step_count", "daily_steps"), True),
)
WORDS: Mapping[str, str] = MappingProxyType(
    {word: one.name for one in INDICATORS.values() for word in (one.name, *one.words)}
)


def known_units() -> str:
    """All of them with their units, in one line."""
    return ", ".join(f"{one.name} ({one.unit})" for one in INDICATORS.values())


def effects_of(names: tuple[str, ...], given: Mapping[str, float] | None = None) -> Float[np.ndarray, " indicator"]:
    """What illness typically adds to each, in its unit; 0 where that is not known, and either way counts.

    Args:
        names: A component of an embedding, or any other name that is not in the table, has 0.
        given: Goes before the table.

    Raises:
        ConfigError: If an effect is given for a name that is not among the indicators, or is not finite.
    """
    for name, effect in (given or {}).items():
        if name not in names:
            raise unknown_name("indicator", name, names, where="effects")
        if not np.isfinite(effect):
            raise ConfigError(
                "An effect is no number",
                where=f"effects.{name}",
                expected="a finite number in the indicator's unit",
                fix="give 0 if either way counts, or leave it out to have the table's",
            )
    effects = {**{name: one.illness_adds for name, one in INDICATORS.items()}, **(given or {})}
    return np.array([effects.get(name, 0.0) for name in names], dtype=np.float64)
