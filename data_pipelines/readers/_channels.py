"""Signal names of general formats -> modalities, and signals of one modality -> one Recording."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from data_pipelines.readers._recordings import make_recording
from hdt_fm.schema.errors import ReaderError
from hdt_fm.schema.modalities import modality as look_up_modality
from hdt_fm.schema.recording import Recording

# First match wins; names are compared in lower case, without spaces at the ends.
_PATTERNS = tuple(
    (name, re.compile(pattern))
    for name, pattern in (
        ("ecg", r"(ecg|ekg)([^a-z].*)?|ml?i{1,3}|d?i{1,3}|av[rlf]|v[1-6xyz]?|mcl\d?|mv\d"),
        ("ppg", r"pleth.*|ppg.*|bvp.*|photopleth.*"),
        ("resp", r"resp.*|rsp.*|thor.*|abdo.*|(air)?flow.*"),
        ("abp", r"abp.*|art|ap"),
        ("cvp", r"cvp.*"),
        ("emg", r"emg.*"),
        ("eog", r"eog.*"),
        ("eda", r"eda.*|gsr.*"),
        ("temp", r"temp.*"),
        ("acc", r"acc.*"),
        ("gyro", r"gyr.*"),
        ("spo2", r"sp?o2.*|sao2.*"),
        ("heart_rate", r"hr|heart ?rate"),
        ("light", r"light.*|lux"),
        ("eeg", r"eeg.*|(fp|af|f|ft|fc|t|tp|c|cp|p|po|o|i)(z|\d{1,2})(-\w+)?|[a-h]\d{1,2}"),
    )
)
_UNITS = {
    **dict.fromkeys(("degc", "c", "deg c", "°c"), "celsius"),
    **dict.fromkeys(("µv", "μv", "microvolt", "microvolts"), "uV"),
    **dict.fromkeys(("millivolt", "millivolts"), "mV"),
    **dict.fromkeys(("volt", "volts"), "V"),
    **dict.fromkeys(("µs", "μs", "microsiemens"), "uS"),
    **dict.fromkeys(("m/s2", "m/s²"), "m/s^2"),
    **dict.fromkeys(("dps", "°/s"), "deg/s"),
    **dict.fromkeys(("beats/min", "1/min"), "bpm"),
    "percent": "%",
}
_NUMBERS = {"heart_rate", "spo2", "temp", "light", "eda", "glucose"}
# A wave below this rate is a monitor's number under the wave's name (RESP once a minute is a rate of breathing).
_SLOWEST_WAVE_HZ = 4.0


@dataclass(frozen=True)
class RawSignal:
    """One signal as its file has it; NaN where missing.

    Attributes:
        modality: What it is; None goes by the name.
        calibration: Gain and offset, where values are a converter's numbers: (number + offset) * gain is in `unit`.
    """

    name: str
    unit: str
    sampling_rate_hz: float
    values: NDArray[np.number]
    modality: str | None = None
    calibration: tuple[float, float] = (1.0, 0.0)


@lru_cache(maxsize=1024)
def modality_of(name: str, sampling_rate_hz: float) -> str | None:
    """The modality that a signal's name stands for, or None."""
    text = name.strip().lower()
    for modality, pattern in _PATTERNS:
        if pattern.fullmatch(text):
            slow = modality not in _NUMBERS and sampling_rate_hz < _SLOWEST_WAVE_HZ
            return None if slow else modality
    return None


def to_recordings(
    signals: Sequence[RawSignal], *, start_ns: int, subject: str, device: str, where: str
) -> dict[str, Recording]:
    """Signals of one modality as the channels of one recording.

    Signals that differ from their modality's first in rate, unit or length are left out; so are unknown names.

    Raises:
        ReaderError: If no signal has a known name.
        UnitError: If a unit is unknown for its modality, or most values cannot be in it.
    """
    groups: dict[str, list[RawSignal]] = {}
    for signal in signals:
        modality = signal.modality or modality_of(signal.name, signal.sampling_rate_hz)
        if modality is None:
            continue
        group = groups.setdefault(modality, [])
        if not group or _form(signal) == _form(group[0]):
            group.append(signal)
    if not groups:
        raise ReaderError(
            "None of the signals has a name that stands for a modality",
            where=where,
            expected="names such as ECG, II, PLETH, RESP, EDA, TEMP, ACC x, EEG Fp1",
            got=", ".join(signal.name.strip() for signal in signals[:12]) or "no signal",
            fix="export it as a table and say in a mapping what each column is (data_pipelines/readers/README.md)",
        )
    return {
        modality: make_recording(
            [signal.values for signal in group],
            modality=modality,
            unit=_unit(modality, group[0].unit),
            channels=tuple(signal.name.strip() for signal in group),
            sampling_rate_hz=group[0].sampling_rate_hz,
            start_ns=start_ns,
            subject=subject,
            device=device,
            where=f"{where}, signal {group[0].name.strip()}",
            calibration=[signal.calibration for signal in group],
        )
        for modality, group in groups.items()
    }


def _form(signal: RawSignal) -> tuple[float, str, int]:
    return signal.sampling_rate_hz, signal.unit, len(signal.values)


def _unit(modality: str, text: str) -> str:
    """The unit as our table writes it: `degC` and the like, and any case."""
    entry = look_up_modality(modality)
    text = text.strip()
    known = {unit.lower(): unit for unit in (*entry.units, entry.unit)}
    if text in (entry.unit, *entry.units):
        return text
    return _UNITS.get(text.lower()) or (known.get(text.lower(), text) if text.lower() not in ("mv", "nv") else text)
