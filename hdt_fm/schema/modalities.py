"""The table of modalities: what each kind of signal is called, its unit, and what a body can produce.

To add a modality, add one entry here and its name to a run's list; nothing else changes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from hdt_fm.schema.errors import UnitError, unknown_name

ARBITRARY = "au"


@dataclass(frozen=True)
class Modality:
    """One kind of signal.

    Attributes:
        name: Word used in code, configs and tables.
        unit: Canonical unit; every Recording holds its values in it.
        units: Other units with (scale, offset): canonical = value * scale + offset.
        plausible: Canonical range outside which a sample cannot come from a living, worn body.
        label: What a person reads in a figure.
    """

    name: str
    unit: str
    label: str
    plausible: tuple[float, float]
    units: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def conversion(self, unit: str) -> tuple[float, float]:
        """Scale and offset that bring `unit` to the canonical one.

        Raises:
            UnitError: If the unit is not in this modality's table.
        """
        if unit == self.unit:
            return 1.0, 0.0
        if unit in self.units:
            return self.units[unit]
        raise UnitError(
            f"Unit {unit!r} is not known for modality {self.name!r}",
            expected=f"one of: {', '.join([self.unit, *sorted(self.units)])}",
            fix="correct the unit in the reader or the mapping, or add it to hdt_fm/schema/modalities.py",
        )


def _table(*entries: Modality) -> Mapping[str, Modality]:
    return MappingProxyType({entry.name: entry for entry in entries})


_INF = float("inf")
_VOLT_TO_MV = {"V": (1e3, 0.0), "uV": (1e-3, 0.0), "nV": (1e-6, 0.0)}

MODALITIES: Mapping[str, Modality] = _table(
    Modality("ecg", "mV", "ECG", (-20.0, 20.0), _VOLT_TO_MV),
    # A DC-coupled amplifier shows the electrodes' own offset, up to 262 mV on common ones.
    Modality("eeg", "uV", "EEG", (-300_000.0, 300_000.0), {"V": (1e6, 0.0), "mV": (1e3, 0.0), "nV": (1e-3, 0.0)}),
    Modality("emg", "mV", "EMG", (-50.0, 50.0), _VOLT_TO_MV),
    Modality("ppg", ARBITRARY, "PPG", (-_INF, _INF), {"nW": (1.0, 0.0), "NU": (1.0, 0.0), "mV": (1.0, 0.0)}),
    Modality("resp", ARBITRARY, "Respiration", (-_INF, _INF), dict.fromkeys(("pm", "NU", "mV", "Ohm"), (1.0, 0.0))),
    Modality("abp", "mmHg", "Arterial pressure", (-50.0, 350.0)),
    Modality("cvp", "mmHg", "Venous pressure", (-50.0, 150.0)),
    Modality(
        "acc",
        "g",
        "Acceleration",
        (-32.0, 32.0),
        {"m/s^2": (1 / 9.80665, 0.0), "mg": (1e-3, 0.0), "1/64 g": (1 / 64, 0.0)},
    ),
    Modality("gyro", "deg/s", "Angular rate", (-4000.0, 4000.0), {"rad/s": (57.29577951308232, 0.0)}),
    Modality("eda", "uS", "Electrodermal activity", (0.0, 100.0), {"S": (1e6, 0.0), "nS": (1e-3, 0.0)}),
    Modality(
        "temp",
        "celsius",
        "Skin temperature",
        (5.0, 50.0),
        {"kelvin": (1.0, -273.15), "fahrenheit": (5 / 9, -160 / 9)},
    ),
    Modality("glucose", "mg/dL", "Glucose", (20.0, 700.0), {"mmol/L": (18.0156, 0.0)}),
    Modality("heart_rate", "bpm", "Heart rate", (20.0, 250.0), {"Hz": (60.0, 0.0)}),
    Modality("spo2", "%", "Oxygen saturation", (30.0, 100.0), {"1": (100.0, 0.0)}),
    Modality("light", "lux", "Light", (0.0, 200_000.0), {"klux": (1e3, 0.0)}),
)


def modality(name: str) -> Modality:
    """Look a modality up by name.

    Raises:
        UnknownNameError: If it is not in the table; the nearest known name is suggested.
    """
    if name not in MODALITIES:
        raise unknown_name("modality", name, MODALITIES, where="hdt_fm/schema/modalities.py")
    return MODALITIES[name]
