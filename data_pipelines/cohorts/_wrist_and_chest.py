"""Empatica E4 (wrist) and RespiBAN (chest) on one clock in one pickle a person, as WESAD and PPG-DaLiA come.

Pickles are converted in a process of their own (`data_pipelines/unpickle.py`); what arrives here are plain arrays.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_pipelines.cohorts._codes import check_codes
from data_pipelines.readers._recordings import make_recording
from data_pipelines.unpickle import converted
from hdt_fm.schema.errors import ReaderError, UnitError
from hdt_fm.schema.modalities import modality as look_up_modality
from hdt_fm.schema.recording import NS_PER_S, Recording

# The pickles hold no time of day, so every session begins at midnight of 2000-01-01.
START_NS = 946_684_800 * NS_PER_S
CHEST_HZ = 700.0
# Of the session's signals from each other, in seconds; they were cut to one span.
_MAX_APART_S = 1.0
# Gravity is most of what an accelerometer sees in an hour, so the median length of its vector tells the unit.
_GRAVITY_G = (0.5, 2.0)
_PERSON = re.compile(r"S(\d+)")

Arrays = Mapping[str, NDArray]


@dataclass(frozen=True)
class Signal:
    """One array of the pickle.

    Attributes:
        units: In which it may be; of several, gravity decides.
    """

    modality: str
    units: tuple[str, ...]
    rate_hz: float
    channels: tuple[str, ...]
    device: str
    body_site: str


WRIST: Mapping[str, Signal] = {
    "signal/wrist/BVP": Signal("ppg", ("nW",), 64.0, ("bvp",), "empatica_e4", "wrist"),
    "signal/wrist/ACC": Signal("acc", ("1/64 g", "g"), 32.0, ("x", "y", "z"), "empatica_e4", "wrist"),
    "signal/wrist/EDA": Signal("eda", ("uS",), 4.0, ("eda",), "empatica_e4", "wrist"),
    "signal/wrist/TEMP": Signal("temp", ("celsius",), 4.0, ("temp",), "empatica_e4", "wrist"),
}
CHEST: Mapping[str, Signal] = {
    "signal/chest/ECG": Signal("ecg", ("mV",), CHEST_HZ, ("ecg",), "respiban", "chest"),
    "signal/chest/Resp": Signal("resp", ("%",), CHEST_HZ, ("resp",), "respiban", "chest"),
    "signal/chest/ACC": Signal("acc_chest", ("g",), CHEST_HZ, ("x", "y", "z"), "respiban", "chest"),
}


def people(folder: Path, inside: str, *, cohort: str) -> list[Path]:
    """Folders SNN in the order of their numbers, of `folder` or of `folder/inside`.

    Raises:
        ReaderError: If there is none.
    """
    root = folder / inside if (folder / inside).is_dir() else folder
    found = [path for path in root.glob("S*") if path.is_dir() and _PERSON.fullmatch(path.name)]
    if not found:
        raise ReaderError(
            "The cohort's folder holds no person",
            where=str(folder),
            expected=f"{inside}/SN/SN.pkl",
            fix=f"point cohort.path to the unpacked {cohort} folder",
        )
    return sorted(found, key=lambda path: int(path.name[1:]))


def arrays_of(person: Path) -> dict[str, NDArray]:
    """What the pickle SN/SN.pkl holds, by flat name (`signal/wrist/BVP`).

    Raises:
        ReaderError: If it is missing or of someone else.
    """
    path = person / f"{person.name}.pkl"
    if not path.is_file():
        raise ReaderError(
            "A person's folder lacks the synchronised recording",
            expected="SN/SN.pkl",
            fix="download or unpack the data set again; the folders of the single devices do not replace it",
        )
    arrays = converted(path)
    if "subject" in arrays and str(arrays["subject"]) != person.name:
        raise ReaderError(
            "A person's folder holds the recording of someone else",
            where="field subject",
            expected="the name of the folder",
            fix="put each file where it was published, or one person could be on both sides of a split",
        )
    return arrays


def recordings_of(arrays: Arrays, signals: Mapping[str, Signal], *, subject: str) -> dict[str, Recording]:
    """Recordings of one session, by modality.

    Raises:
        ReaderError: If an array is missing, of another shape, or of another duration than the rest.
        UnitError: If values cannot be in their unit.
    """
    found = {name: values_of(arrays, name, len(signal.channels)) for name, signal in signals.items()}
    lengths = {name: values.shape[1] / signals[name].rate_hz for name, values in found.items()}
    usual = float(np.median(list(lengths.values())))
    for name, seconds in lengths.items():
        if abs(seconds - usual) > _MAX_APART_S:
            raise ReaderError(
                "A signal is not as long as the others of its session",
                where=name,
                expected=f"{usual:g} s at {signals[name].rate_hz:g} Hz, as most have",
                got=f"{seconds:g} s",
                fix="the file was cut off or edited: take it as it was published",
            )
    return {
        signal.modality: make_recording(
            found[name],
            modality=signal.modality,
            unit=_unit(found[name], signal, name),
            channels=signal.channels,
            sampling_rate_hz=signal.rate_hz,
            start_ns=START_NS,
            subject=subject,
            device=signal.device,
            body_site=signal.body_site,
            where=name,
        )
        for name, signal in signals.items()
    }


def values_of(arrays: Arrays, name: str, channels: int = 1) -> NDArray[np.float64]:
    """One array as (channel, time), from (time, channel) or (time,).

    Raises:
        ReaderError: If it is missing, holds no numbers, or has another number of channels.
    """
    if name not in arrays:
        raise ReaderError(
            "The recording lacks an array",
            where=name,
            expected=f"{name} beside {_listed(sorted(arrays))}",
            fix="take the file as it was published",
        )
    values = arrays[name]
    wide = values[:, None] if values.ndim == 1 else values
    if values.dtype.kind not in "fiu" or wide.ndim != 2 or wide.shape[1] != channels:
        raise ReaderError(
            "An array of the recording has the wrong form",
            where=name,
            expected=f"numbers of shape (time, {channels})",
            got=f"{values.dtype} of shape {values.shape}",
            fix="take the file as it was published",
        )
    return wide.T.astype(np.float64)


def codes_of(arrays: Arrays, name: str, *, rate_hz: float, seconds: float, known: Collection[int]) -> NDArray[np.int64]:
    """Label codes, one a sample, that must span the session.

    Raises:
        ReaderError: As `values_of`, or if they span another time or are not among the known ones.
    """
    codes = values_of(arrays, name)[0]
    check_length(name, len(codes), expected=round(seconds * rate_hz), tolerance=round(_MAX_APART_S * rate_hz))
    check_codes(codes, known, where=name)
    return codes.astype(np.int64)


def check_length(name: str, got: int, *, expected: int, tolerance: int) -> None:
    """Refuse labels that do not span the session's signals.

    Raises:
        ReaderError: If so.
    """
    if abs(got - expected) > tolerance:
        raise ReaderError(
            "The labels do not span the signals",
            where=name,
            expected=f"{expected}, which is what the length of the signals asks for",
            got=f"{got}",
            fix="the file was cut off or edited: take it as it was published",
        )


def _unit(values: NDArray[np.float64], signal: Signal, where: str) -> str:
    """The signal's unit; that of an accelerometer by gravity, as g read as 1/64 g is still a plausible number."""
    entry = look_up_modality(signal.modality)
    if entry.kind != "acc":
        return signal.units[0]
    length = float(np.median(np.linalg.norm(values, axis=0))) if values.size else float("nan")
    for unit in signal.units:
        if _GRAVITY_G[0] <= length * entry.conversion(unit)[0] <= _GRAVITY_G[1]:
            return unit
    raise UnitError(
        "The acceleration does not show gravity",
        where=where,
        expected=f"a vector about 1 g long most of the time, in {_listed(signal.units)}",
        fix="take the file as it was published; if it holds another unit, convert it to g",
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
