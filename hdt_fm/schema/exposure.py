"""What a person was exposed to: observed, not assigned; in a unit, irregular, with gaps.

Contract, version 1: a value MUST be in the canonical unit of its kind and stand for its whole span (the mean of a
level, the sum of an amount). Spans MUST rise and not overlap; between them, and where the value is NaN, nothing is
known: never zero, never filled. Times are on the person's own calendar, the same for everything of a person.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
from jaxtyping import Float64

from hdt_fm.schema.errors import RecordingError, unknown_name
from hdt_fm.schema.units import conversion


@dataclass(frozen=True)
class ExposureKind:
    """One kind of influence from outside.

    Attributes:
        name: Word used in code, tables and files.
        unit: Canonical; of an amount it is the amount's (minutes, g), not a rate's.
        label: What a person reads.
        plausible: Range of one span's value in the canonical unit.
        units: Other units with (scale, offset): canonical = value * scale + offset.
        amount: True is summed over time (minutes of contact, g); False is a level that lasts and is averaged (lux).
    """

    name: str
    unit: str
    label: str
    plausible: tuple[float, float]
    units: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    amount: bool = False

    def conversion(self, unit: str) -> tuple[float, float]:
        """Scale and offset that bring `unit` to the canonical one.

        Raises:
            UnitError: If the unit is not in this kind's table.
        """
        return conversion(
            unit,
            self.unit,
            self.units,
            of=f"the exposure {self.name!r}",
            fix="correct the unit, or add it to hdt_fm/schema/exposure.py",
        )


_CELSIUS = {"kelvin": (1.0, -273.15), "fahrenheit": (5 / 9, -160 / 9)}
_GRAMS, _MINUTES = {"mg": (1e-3, 0.0), "kg": (1e3, 0.0)}, {"s": (1 / 60, 0.0), "h": (60.0, 0.0)}
_ENTRIES = (
    ExposureKind("light", "lux", "Light", (0.0, 200_000.0), {"klux": (1e3, 0.0)}),
    ExposureKind("uv_index", "1", "UV index", (0.0, 25.0)),
    ExposureKind("temperature", "celsius", "Air temperature", (-60.0, 60.0), _CELSIUS),
    ExposureKind("humidity", "%", "Relative humidity", (0.0, 100.0), {"1": (100.0, 0.0)}),
    ExposureKind("pressure", "hPa", "Air pressure", (300.0, 1_200.0), {"Pa": (0.01, 0.0), "mbar": (1.0, 0.0)}),
    ExposureKind("clouds", "%", "Cloud cover", (0.0, 100.0), {"1": (100.0, 0.0)}),
    ExposureKind("rain", "mm", "Rain", (0.0, 1_500.0), {"cm": (10.0, 0.0)}, amount=True),
    ExposureKind("pm2_5", "ug/m^3", "Fine particles (PM2.5)", (0.0, 5_000.0), {"mg/m^3": (1e3, 0.0)}),
    ExposureKind("pm10", "ug/m^3", "Particles (PM10)", (0.0, 10_000.0), {"mg/m^3": (1e3, 0.0)}),
    # At 25 celsius and 1,013 hPa, as air quality reports convert.
    ExposureKind("ozone", "ug/m^3", "Ozone", (0.0, 2_000.0), {"ppb": (1.96, 0.0)}),
    ExposureKind("no2", "ug/m^3", "Nitrogen dioxide", (0.0, 4_000.0), {"ppb": (1.88, 0.0)}),
    ExposureKind("noise", "dB", "Noise", (0.0, 150.0)),
    ExposureKind("diet_energy", "kcal", "Energy eaten", (0.0, 15_000.0), {"kJ": (1 / 4.184, 0.0)}, amount=True),
    ExposureKind("diet_carbs", "g", "Carbohydrates eaten", (0.0, 2_000.0), _GRAMS, amount=True),
    ExposureKind("diet_protein", "g", "Protein eaten", (0.0, 1_000.0), _GRAMS, amount=True),
    ExposureKind("diet_fat", "g", "Fat eaten", (0.0, 1_000.0), _GRAMS, amount=True),
    ExposureKind("alcohol", "g", "Alcohol", (0.0, 600.0), _GRAMS, amount=True),
    ExposureKind("time_outdoors", "min", "Time outdoors", (0.0, 100_000.0), _MINUTES, amount=True),
    ExposureKind("time_at_home", "min", "Time at home", (0.0, 100_000.0), _MINUTES, amount=True),
    ExposureKind("place_entropy", "nat", "Variety of places", (0.0, 10.0)),
    ExposureKind("social_contact", "min", "Company of others", (0.0, 100_000.0), _MINUTES, amount=True),
    ExposureKind("social_people", "1", "Different people met or spoken to", (0.0, 10_000.0), amount=True),
)
EXPOSURES: Mapping[str, ExposureKind] = MappingProxyType({entry.name: entry for entry in _ENTRIES})


def exposure_kind(name: str) -> ExposureKind:
    """Look a kind up by name.

    Raises:
        UnknownNameError: If there is none; the nearest is suggested.
    """
    if name not in EXPOSURES:
        raise unknown_name("exposure", name, EXPOSURES, where="hdt_fm/schema/exposure.py")
    return EXPOSURES[name]


@dataclass(frozen=True)
class Exposure:
    """One kind of exposure of one person over time; see the contract at the top.

    Attributes:
        kind: Of `EXPOSURES`.
        start_s, length_s: Of each span.
        values: In the canonical unit; NaN where not known.
        subject, group: As of `Series`.

    Raises:
        UnknownNameError: If the kind is none.
        RecordingError: If spans do not rise or overlap, or a value is outside of what the kind can be.
    """

    kind: str
    start_s: Float64[np.ndarray, " span"]
    length_s: Float64[np.ndarray, " _"]
    values: Float64[np.ndarray, " _"]
    subject: int
    group: int

    def __post_init__(self) -> None:
        entry = exposure_kind(self.kind)
        shapes = {self.start_s.shape, self.length_s.shape, self.values.shape}
        if len(shapes) > 1 or self.values.ndim != 1:
            raise RecordingError(
                "An exposure does not hold together",
                where=f"exposure {self.kind}",
                expected="start_s, length_s and values of one length",
                got=", ".join(str(one.shape) for one in (self.start_s, self.length_s, self.values)),
            )
        if not np.isfinite(self.start_s).all() or not (self.length_s > 0).all() or not np.isfinite(self.length_s).all():
            raise RecordingError(
                "An exposure has a span without a beginning or a length",
                where=f"exposure {self.kind}",
                expected="finite start_s, and length_s above 0",
            )
        # Ends that are sums of the same numbers may differ in the last digit.
        if (np.diff(self.start_s) - self.length_s[:-1] < -1e-6).any():
            raise RecordingError(
                "Spans of an exposure overlap or do not rise",
                where=f"exposure {self.kind}",
                expected="each to begin where the one before has ended, or later",
                fix="sort them, and keep one of those that tell of the same time",
            )
        low, high = entry.plausible
        known = self.values[~np.isnan(self.values)]
        if ((known < low) | (known > high)).any():
            raise RecordingError(
                "An exposure has a value that its kind cannot have",
                where=f"exposure {self.kind}",
                expected=f"{low:g} to {high:g} {entry.unit}",
                got=f"{int(((known < low) | (known > high)).sum())} of {len(known)} outside",
                fix="correct the unit, or leave the value out (NaN)",
            )

    def __len__(self) -> int:
        return len(self.values)
