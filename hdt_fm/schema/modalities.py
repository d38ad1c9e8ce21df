"""The table of modalities: what each kind of signal is called, its unit, and what a body can produce.

A kind by itself (`acc`) is that of the primary worn device; the same kind worn elsewhere as well is `<kind>_<place>`
(`acc_pocket`), for every kind and every place below, without an entry of its own.

To add a modality, add one entry here and its name to a run's list; nothing else changes.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from types import MappingProxyType
from typing import TypeVar

from hdt_fm.schema.errors import UnknownNameError, unknown_name
from hdt_fm.schema.units import conversion

T = TypeVar("T")

ARBITRARY = "au"
# Facts about a person (age, sex, genotype): the same in all of a person's windows, and recorded by no device.
STATIC = "static"
DRUG = re.compile(r"drug_[a-z][a-z0-9_]{1,60}")


@dataclass(frozen=True)
class Modality:
    """One kind of signal, at one place of the body.

    Attributes:
        name: Word used in code, configs and tables.
        unit: Canonical unit; every Recording holds its values in it.
        units: Other units with (scale, offset): canonical = value * scale + offset.
        plausible: Canonical range outside which a sample cannot come from a living, worn body.
        label: What a person reads in a figure.
        place: Where it is worn; empty for the primary worn device.
        given: Whether it is an amount given at moments (a dose, a meal): a sample is the sum of its step, and
            recordings are made of the visit's events of that name. `plausible` is then of one event.
    """

    name: str
    unit: str
    label: str
    plausible: tuple[float, float]
    units: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    place: str = ""
    given: bool = False

    @property
    def kind(self) -> str:
        """The name without its place: what a signal is, wherever it is worn."""
        return self.name.removesuffix(f"_{self.place}") if self.place else self.name

    def conversion(self, unit: str) -> tuple[float, float]:
        """Scale and offset that bring `unit` to the canonical one.

        Raises:
            UnitError: If the unit is not in this modality's table.
        """
        return conversion(
            unit,
            self.unit,
            self.units,
            of=f"modality {self.name!r}",
            fix="correct the unit in the reader or the mapping, or add it to hdt_fm/schema/modalities.py",
        )


def _table(*entries: Modality) -> Mapping[str, Modality]:
    return MappingProxyType({entry.name: entry for entry in entries})


_INF = float("inf")
_MU, _MILLIGRAMS = {"mU": (1e-3, 0.0)}, {"mg": (1e-3, 0.0), "kg": (1e3, 0.0)}
_VOLT_TO_MV = {"V": (1e3, 0.0), "uV": (1e-3, 0.0), "nV": (1e-6, 0.0)}

MODALITIES: Mapping[str, Modality] = _table(
    Modality("ecg", "mV", "ECG", (-20.0, 20.0), _VOLT_TO_MV),
    # A DC-coupled amplifier shows the electrodes' own offset, up to 262 mV on common ones.
    Modality("eeg", "uV", "EEG", (-300_000.0, 300_000.0), {"V": (1e6, 0.0), "mV": (1e3, 0.0), "nV": (1e-3, 0.0)}),
    Modality("eog", "uV", "EOG", (-300_000.0, 300_000.0), {"V": (1e6, 0.0), "mV": (1e3, 0.0), "nV": (1e-3, 0.0)}),
    Modality("emg", "mV", "EMG", (-50.0, 50.0), _VOLT_TO_MV),
    Modality("ppg", ARBITRARY, "PPG", (-_INF, _INF), {"nW": (1.0, 0.0), "NU": (1.0, 0.0), "mV": (1.0, 0.0)}),
    Modality(
        "resp", ARBITRARY, "Respiration", (-_INF, _INF), dict.fromkeys(("pm", "NU", "mV", "Ohm", "%"), (1.0, 0.0))
    ),
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
    Modality(
        "mag", "uT", "Magnetic field", (-5_000.0, 5_000.0), {"G": (100.0, 0.0), "mG": (0.1, 0.0), "T": (1e6, 0.0)}
    ),
    # The logger's own sensor, between skin and air: no skin temperature.
    Modality(
        "device_temp",
        "celsius",
        "Device temperature",
        (-20.0, 80.0),
        {"kelvin": (1.0, -273.15), "fahrenheit": (5 / 9, -160 / 9)},
    ),
    Modality("pressure", "hPa", "Air pressure", (300.0, 1_200.0), {"Pa": (0.01, 0.0), "mbar": (1.0, 0.0)}),
    Modality("sound", "dB", "Sound level", (0.0, 150.0)),
    # What a device works out for itself, from once a second to once a day; rates are per minute whatever the interval.
    Modality("resp_rate", "1/min", "Respiratory rate", (2.0, 70.0), {"Hz": (60.0, 0.0)}),
    Modality("hrv", "ms", "Heart rate variability (RMSSD or SDNN)", (0.0, 500.0), {"s": (1e3, 0.0)}),
    Modality(
        "steps", "1/min", "Steps", (0.0, 400.0), {"Hz": (60.0, 0.0), "1/h": (1 / 60, 0.0), "1/d": (1 / 1440, 0.0)}
    ),
    Modality("counts", "1/min", "Activity counts", (0.0, 1e6), {"Hz": (60.0, 0.0)}),
    Modality(
        "energy", "kcal/min", "Energy expenditure", (0.0, 60.0), {"kcal/h": (1 / 60, 0.0), "kcal/d": (1 / 1440, 0.0)}
    ),
    Modality("met", "1", "Metabolic equivalents", (0.0, 40.0)),
    Modality("stress_score", "1", "Stress score of a device (0 to 100)", (0.0, 100.0)),
    Modality("speed", "m/s", "Speed", (0.0, 80.0), {"km/h": (1 / 3.6, 0.0), "mph": (0.44704, 0.0)}),
    Modality("cadence", "1/min", "Cadence", (0.0, 300.0)),
    Modality("power", "W", "Power", (0.0, 3_000.0)),
    Modality("altitude", "m", "Altitude", (-500.0, 9_000.0), {"km": (1e3, 0.0), "ft": (0.3048, 0.0)}),
    Modality("insulin_rate", "U/h", "Basal insulin", (0.0, 35.0)),
    # Given at moments; one that nobody survives, or eats, is a slip of the unit.
    Modality("bolus", "U", "Rapid insulin", (0.0, 100.0), _MU, given=True),
    Modality("long_acting", "U", "Long-acting insulin", (0.0, 200.0), _MU, given=True),
    Modality("intermediate", "U", "Intermediate insulin", (0.0, 200.0), _MU, given=True),
    Modality("premixed", "U", "Premixed insulin", (0.0, 200.0), _MU, given=True),
    Modality("insulin_iv", "U", "Insulin into a vein", (0.0, 100.0), _MU, given=True),
    Modality("carbs", "g", "Carbohydrates", (0.0, 500.0), _MILLIGRAMS, given=True),
    Modality("protein", "g", "Protein", (0.0, 500.0), _MILLIGRAMS, given=True),
    Modality("fat", "g", "Fat", (0.0, 500.0), _MILLIGRAMS, given=True),
    Modality("fibre", "g", "Fibre", (0.0, 300.0), _MILLIGRAMS, given=True),
    Modality("stimulation", "mA", "Stimulation", (0.0, 100.0), {"uA": (1e-3, 0.0), "A": (1e3, 0.0)}),
    Modality("procedure", "1", "Procedures", (0.0, 1.0), given=True),
)


_EITHER_SIDE = ("wrist", "hand", "finger", "arm", "ear", "pocket", "thigh", "shin", "ankle", "foot")
PLACES: tuple[str, ...] = (
    *_EITHER_SIDE,
    *(f"{side}_{place}" for side in ("left", "right") for place in _EITHER_SIDE),
    *("head", "forehead", "neck", "shoulder", "chest", "abdomen", "back", "waist", "hip"),
)


def modality(name: str) -> Modality:
    """Look a modality up by name: a kind of the table, or `<kind>_<place>`.

    `static` is one too, though no recording holds it (see `recorded`); and so is each drug, as `drug_<name>`, in mg.

    Raises:
        UnknownNameError: If it is neither; the nearest known name is suggested.
    """
    if name in MODALITIES:
        return MODALITIES[name]
    if name == STATIC:
        return Modality(STATIC, ARBITRARY, "Facts about the person", (-_INF, _INF))
    if DRUG.fullmatch(name):
        drug = name.removeprefix("drug_").replace("_", " ")
        return Modality(name, "mg", drug.capitalize(), (0.0, 5_000.0), {"g": (1e3, 0.0), "ug": (1e-3, 0.0)}, given=True)
    for kind, entry in MODALITIES.items():
        place = name.removeprefix(f"{kind}_")
        if place != name and place in PLACES:
            return replace(entry, name=name, label=f"{entry.label} ({place.replace('_', ' ')})", place=place)
    raise _unknown(name)


def recorded(name: str) -> Modality:
    """As `modality`, of what a device records.

    Raises:
        UnknownNameError: If it is not in the table, or `static`.
    """
    if name == STATIC:
        raise UnknownNameError(
            f"{STATIC!r} is no signal",
            expected="what a device records",
            where="modality",
            fix="name columns of the people when pretraining: covariates=[age_band, sex]",
        )
    return modality(name)


def own_or_of_kind(settings: Mapping[str, Mapping[str, T]], name: str) -> dict[str, T]:
    """Settings by modality -> those of one: what its kind says, and over it what the placed name says itself."""
    return {**settings.get(modality(name).kind, {}), **settings.get(name, {})}


def _unknown(name: str) -> UnknownNameError:
    # The list of kinds is short enough to be read; that of all placed names is not.
    error = unknown_name("modality", name, MODALITIES, where="hdt_fm/schema/modalities.py")
    known = [*MODALITIES, *(f"{kind}_{place}" for kind in MODALITIES for place in PLACES)]
    near = get_close_matches(name, known, n=1, cutoff=0.5)
    return UnknownNameError(
        error.problem,
        expected=f"{error.expected}; a place may follow, such as acc_pocket (places: {', '.join(PLACES)})",
        where=error.where,
        fix=f"did you mean {near[0]!r}?" if near else error.fix,
    )
