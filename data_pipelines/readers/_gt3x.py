"""ActiGraph .gt3x: a zip of info.txt and log.bin, records of one second each."""

import json
import re
import struct
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_pipelines.readers._blocks import lay, spread
from data_pipelines.readers._files import members
from data_pipelines.readers._gt3x_log import (
    ACTIVITY,
    ACTIVITY2,
    ACTIVITY3,
    CAPSENSE,
    LUX,
    Records,
    parameters,
    read_records,
    unpack_seconds,
)
from data_pipelines.readers._recordings import check_rate, make_recording, seconds_to_ns
from hdt_fm.schema.errors import ReaderError
from hdt_fm.schema.recording import NS_PER_S, LabelTrack, Recording, Visit

_ACCEL_SCALE = (0, 55)
# Steps per g of devices whose file says nothing, by the first letters of the serial number.
_SCALES = {"NEO": 341.0, "MRA": 341.0, "CLE": 341.0, "MOS": 256.0, "TAS": 256.0}
_TOLERANCE_S = 0.5
_NO_LIGHT = 65_535
# What the standard library raises over the directory of a damaged zip.
_BROKEN_ZIP = (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, EOFError, IndexError, struct.error)


def is_gt3x(path: Path) -> bool:
    """Whether it is a zip with an information file and a log."""
    if path.suffix.lower() != ".gt3x":
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except _BROKEN_ZIP:
        # The suffix is nobody else's: take it, so that `read` can say that it is damaged.
        return True
    return "info.txt" in names


def read_gt3x(path: Path, subject: str) -> Visit:
    """Acceleration, light and wear of one recording.

    Raises:
        ReaderError: If a part is missing or damaged, or the samples are not calibrated.
        UnitError: If values are impossible.
    """
    files = _parts(path)
    if "info.txt" not in files or "log.bin" not in files:
        raise ReaderError(
            "The .gt3x lacks a part",
            expected="info.txt and log.bin",
            got=", ".join(sorted({"info.txt", "log.bin", "activity.bin"} & {*files})) or "neither",
            fix="export the recording again; the older form with activity.bin is not read",
        )
    if "calibration.json" in files:
        _refuse_uncalibrated(files["calibration.json"])
    info = _info(files["info.txt"])
    rate = _number(info, "Sample Rate")
    check_rate(rate, where="info.txt, Sample Rate")
    if rate != int(rate) or rate > 1000:
        raise ReaderError(
            "The sampling rate is none of a device's", where="info.txt, Sample Rate", expected="30 to 256"
        )
    records, damaged = read_records(files["log.bin"])
    offset = _offset(info)
    acc = _acceleration(records, int(rate), _scale(info, records), damaged, offset, subject)
    found = [acc, *_light(records, offset, subject)]
    return Visit(
        subject=subject,
        recordings={one.modality: one for one in found},
        labels=_wear(records, offset or 0),
        source="actigraph",
    )


def _parts(path: Path) -> dict[str, bytes]:
    try:
        files = members(path)
        return {
            name: files[name]() for name in ("info.txt", "log.bin", "activity.bin", "calibration.json") if name in files
        }
    except _BROKEN_ZIP as error:
        # A directory of the zip that points nowhere.
        raise ReaderError(
            "The zip is truncated or damaged", expected="a whole .gt3x file", fix="copy the file again"
        ) from error


def _info(data: bytes) -> dict[str, str]:
    lines = data[:65_536].decode("utf-8-sig", errors="replace").splitlines()
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}


def _number(info: dict[str, str], key: str) -> float:
    text = info.get(key, "").replace(",", ".")
    if not re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text):
        raise ReaderError("A line of info.txt holds no number", where=f"info.txt, {key}", expected="a number")
    return float(text)


def _offset(info: dict[str, str]) -> int | None:
    """Seconds of local time, in which the log is written, ahead of UTC; None where the file does not say."""
    found = re.fullmatch(r"([+-]?)(\d\d):(\d\d)(:\d\d)?", info.get("TimeZone", ""))
    if found is None:
        return None
    seconds = int(found[2]) * 3600 + int(found[3]) * 60
    return -seconds if found[1] == "-" else seconds


def _refuse_uncalibrated(data: bytes) -> None:
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise ReaderError("The calibration cannot be read", where="calibration.json", expected="a JSON object")
    if content.get("isCalibrated") is False:
        raise ReaderError(
            "The samples are not calibrated",
            where="calibration.json",
            expected="isCalibrated true",
            fix="convert the file with the vendor's software first",
        )


def _scale(info: dict[str, str], records: Records) -> float:
    if "Acceleration Scale" in info:
        scale = _number(info, "Acceleration Scale")
    else:
        scale = parameters(records).get(_ACCEL_SCALE, _SCALES.get(info.get("Serial Number", "")[:3], 0.0))
    if not scale > 0:
        raise ReaderError(
            "The file does not say how many steps a g is",
            where="info.txt",
            expected="Acceleration Scale, the parameter ACCEL_SCALE, or a serial number of a known kind",
        )
    return scale


def _acceleration(
    records: Records, rate: int, scale: float, damaged: int, offset: int | None, subject: str
) -> Recording:
    stamps, seconds = [], []
    for kind in (ACTIVITY, ACTIVITY2, ACTIVITY3):
        size = 6 * rate if kind == ACTIVITY2 else (36 * rate + 7) // 8
        whole = [(stamp, payload) for stamp, payload in records[kind] if len(payload) == size]
        # One byte is what the device writes when it is plugged in.
        damaged += sum(len(payload) > 1 for _, payload in records[kind]) - len(whole)
        if whole:
            stamps += [stamp for stamp, _ in whole]
            seconds.append(unpack_seconds(b"".join([payload for _, payload in whole]), kind, size, rate))
    if not stamps:
        raise ReaderError(
            "The log holds no second of acceleration",
            where="log.bin",
            expected=f"records of {rate} samples",
            got=f"{damaged} damaged",
        )
    times, first = np.unique(np.array(stamps, dtype=np.float64), return_index=True)
    samples = np.concatenate(seconds)[first].reshape(-1, 3).T
    grid = lay(
        np.full(len(times), rate, dtype=np.int64),
        times,
        nominal_rate_hz=float(rate),
        resolution_s=1.0,
        tolerance_s=_TOLERANCE_S,
        lost_blocks=damaged + len(stamps) - len(times),
        where="log.bin, activity",
    )
    return _recording(
        "acc", spread(samples / np.float32(scale), grid), grid.clock.measured_rate_hz, grid.start_s, offset, subject
    )


def _light(records: Records, offset: int | None, subject: str) -> list[Recording]:
    pairs = sorted({stamp: payload for stamp, payload in records[LUX] if len(payload) == 2}.items())
    if len(pairs) < 2:
        return []
    times = np.array([stamp for stamp, _ in pairs], dtype=np.float64)
    values = np.array([int.from_bytes(payload, "little") for _, payload in pairs], dtype=np.float32)
    values[values == _NO_LIGHT] = np.nan
    period = float(np.median(np.diff(times)))
    grid = lay(
        np.ones(len(times), dtype=np.int64),
        times,
        nominal_rate_hz=1 / period,
        resolution_s=1.0,
        tolerance_s=max(period / 2, _TOLERANCE_S),
        where="log.bin, light",
    )
    return [_recording("light", spread(values[None], grid), grid.clock.measured_rate_hz, grid.start_s, offset, subject)]


def _wear(records: Records, offset: int) -> dict[str, LabelTrack]:
    """Skin contact: each record holds until the next, the last one for a minute."""
    pairs = sorted({stamp: payload[4] for stamp, payload in records[CAPSENSE] if len(payload) >= 5}.items())
    if not pairs:
        return {}
    begins = (np.array([stamp for stamp, _ in pairs], dtype=np.int64) - offset) * NS_PER_S
    ends = np.append(begins[1:], begins[-1] + 60 * NS_PER_S)
    values = np.array([float(state == 1) for _, state in pairs])
    return {"wear": LabelTrack("wear", "class", begins, ends, values, classes=("not worn", "worn"))}


def _recording(
    name: str, values: NDArray[np.floating], rate: float, start_s: float, offset: int | None, subject: str
) -> Recording:
    return make_recording(
        values,
        modality=name,
        unit={"acc": "g", "light": "lux"}[name],
        channels=("x", "y", "z") if name == "acc" else (name,),
        sampling_rate_hz=rate,
        start_ns=seconds_to_ns(start_s - (offset or 0), where="log.bin"),
        subject=subject,
        device="actigraph",
        utc_offset_s=offset,
        where=name,
    )
