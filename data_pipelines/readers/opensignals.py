"""Text files of OpenSignals, the recorder of BITalino and biosignalsplux boards."""

import json
import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from data_pipelines.readers._beginning import first_bytes
from data_pipelines.readers._channels import RawSignal, to_recordings
from data_pipelines.readers._files import read_bytes
from data_pipelines.readers._numbers import parse_csv
from data_pipelines.readers._recordings import check_rate, datetime_to_ns
from hdt_fm.schema.errors import ReaderError
from hdt_fm.schema.recording import Visit

_MAGIC = b"# OpenSignals Text File Format"
_END = b"# EndOfHeader"
_MAX_HEADER = 1 << 16
# Word for a sensor in the header -> modality.
_SENSORS = {"ECG": "ecg", "EMG": "emg", "EDA": "eda"}
_SENSORS |= dict.fromkeys(("RESP", "PZT", "RIP"), "resp") | dict.fromkeys(("BVP", "PULSE", "PPG"), "ppg")
_ARBITRARY = {"resp", "ppg"}
_BITALINO = ("bitalino", "bitalino_rev", "bitalino_riot")
# Published transfer functions: value = (number / 2^bits - middle) * supply / gain, in the unit. Boards with another
# amplifier behind the same word (biosignalsplux ECG: 1000 or 1019) are not here: a header does not tell which it was.
_SUPPLY_V = 3.3
_TRANSFER: dict[str, tuple[tuple[str, ...], float, float, str]] = {
    "ecg": (_BITALINO, 0.5, 1100.0, "V"),
    "emg": (("bitalino_rev", "bitalino_riot"), 0.5, 1009.0, "V"),
    "eda": (("bitalino_rev", "bitalino_riot"), 0.0, 0.132, "uS"),
}


class Opensignals:
    """Reads one file.

    Format: OpenSignals (r)evolution text file: a comment with one JSON object, which describes each board and its
        columns, then one line a sample (support.pluxbiosignals.com, "OpenSignals file format").
    Units: By the sensor's published transfer function where the header names board, sensor and resolution: ecg and emg
        V -> mV, eda uS; resp and ppg arbitrary.
    Lossy: Sensors without a transfer function of their own; digital lines; the board's address, port and comments.
        Lost frames are gaps, up to what the sequence number can count (15 frames of a BITalino). The header's local
        time is taken as UTC.
    """

    @staticmethod
    def detect(path: Path) -> bool:
        """Whether the file begins with the words of OpenSignals."""
        return first_bytes(path, len(_MAGIC)) == _MAGIC

    def read(self, path: Path, *, subject: str) -> Visit:
        """Read every sensor that is known.

        Raises:
            ReaderError: If the header is malformed, a line is, or no sensor can be brought to a unit.
            UnitError: If most values cannot be in the unit that the transfer function gives.
        """
        if not self.detect(path):
            raise ReaderError("This is no OpenSignals file", expected="a file that begins with its name")
        data = read_bytes(path)
        end = data.find(_END, 0, _MAX_HEADER)
        boards = _boards(data[:end]) if end >= 0 else []
        if not boards:
            raise _malformed("no JSON object with a board's columns, rate and sensors")
        columns = [name for board in boards for name in board["column"]]
        rates = {float(board["sampling rate"]) for board in boards}
        if len(rates) > 1:
            raise _malformed("boards of different rates in one table")
        rate = rates.pop()
        check_rate(rate, where="header")
        rows = _rows(data[end + len(_END) :], len(columns))
        signals: list[RawSignal] = []
        begin = 0
        for board in boards:
            width = len(board["column"])
            signals += _signals(board, rows[:, begin : begin + width], rate)
            begin += width
        if not signals:
            raise ReaderError(
                "No sensor of the OpenSignals file can be brought to a unit",
                expected="ECG, EMG or EDA of a BITalino with its resolution, or RESP, PZT or BVP of any board",
                got=", ".join(sorted({str(sensor)[:20] for board in boards for sensor in board["sensor"]})),
                fix="export it as a table and say in a mapping what each column is (data_pipelines/readers/README.md)",
            )
        start_ns = datetime_to_ns(_started(boards[0]))
        recordings = to_recordings(signals, start_ns=start_ns, subject=subject, device="opensignals", where="file")
        return Visit(subject=subject, recordings=recordings, source="opensignals")


def _boards(header: bytes) -> list[Mapping[str, Any]]:
    """What the header says of each board, if it says it in full."""
    found = re.search(rb"^# (\{.*\})\s*$", header, flags=re.MULTILINE)
    try:
        content = json.loads(found[1]) if found else {}
        boards = list(content.values())
        for board in boards:
            lists = ("column", "sensor", "label", "resolution")
            if not all(isinstance(board[key], list) for key in lists) or len(board["sensor"]) != len(board["label"]):
                return []
            if not all(isinstance(one, str) for key in lists[:3] for one in board[key]):
                return []
            float(board["sampling rate"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return []
    return boards


def _rows(body: bytes, columns: int) -> NDArray[np.float64]:
    # Each line ends with a tab, behind which there is nothing.
    body = body.replace(b"\r\n", b"\n").replace(b"\t\n", b"\n").strip()
    if not body:
        raise ReaderError("The OpenSignals file holds no sample", fix="leave it out, or record it again")
    names = [str(index) for index in range(columns)]
    types = dict.fromkeys(names, pa.float64())
    table = parse_csv(body, where="samples", names=names, types=types, delimiter="\t")
    return np.stack([table.column(name).to_numpy() for name in names], axis=1)


def _signals(board: Mapping[str, Any], rows: NDArray[np.float64], rate: float) -> list[RawSignal]:
    columns, resolution = board["column"], board["resolution"]
    places, size = _places(columns, resolution, rows)
    found = []
    for sensor, label in zip(board["sensor"], board["label"], strict=True):
        modality = _SENSORS.get(sensor.upper())
        if modality is None or label not in columns:
            continue
        index = columns.index(label)
        scaled = _scaled(rows[:, index], modality, str(board.get("device", "")), _bits(resolution, index, len(columns)))
        if scaled is not None:
            placed = np.full(size, np.nan)
            placed[places] = scaled[0]
            found.append(RawSignal(f"{sensor} {label}", scaled[1], rate, placed, modality))
    return found


def _bits(resolution: list[Any], index: int, columns: int) -> int | None:
    """Bits of a column, if the header gives one number for each column."""
    known = len(resolution) == columns and isinstance(resolution[index], int) and 1 <= resolution[index] <= 24
    return int(resolution[index]) if known else None


def _scaled(
    numbers: NDArray[np.float64], modality: str, device: str, bits: int | None
) -> tuple[NDArray[np.float64], str] | None:
    """Values and their unit; None where no transfer function is known."""
    if modality in _ARBITRARY:
        return numbers, "au"
    boards, middle, gain, unit = _TRANSFER[modality]
    if device not in boards or bits is None:
        return None
    outside = (numbers < 0) | (numbers >= 2**bits)
    if outside.any():
        raise ReaderError(
            "A sample is larger than its resolution allows",
            where=f"{modality} samples",
            expected=f"numbers of {bits} bits",
            got=f"{int(outside.sum())} other",
            fix="correct the header's resolution; if the file was converted to a unit before, use a mapping",
        )
    return (numbers / 2**bits - middle) * _SUPPLY_V / gain, unit


def _places(columns: list[str], resolution: list[Any], rows: NDArray[np.float64]) -> tuple[NDArray[np.int64], int]:
    """Where each row belongs by its sequence number, and how many places there are."""
    bits = _bits(resolution, columns.index("nSeq"), len(columns)) if "nSeq" in columns else None
    if bits is None:
        return np.arange(len(rows)), len(rows)
    numbers = rows[:, columns.index("nSeq")]
    if not np.isfinite(numbers).all() or (np.abs(numbers) >= 2**53).any():
        raise _malformed("a line without a sequence number")
    steps = np.diff(numbers.astype(np.int64)) % 2**bits
    # The same number twice is a whole turn of the counter, or a repeat; either way nothing says how much is lost.
    if (steps == 0).any() or steps.sum() > 200 * len(rows):
        raise _malformed("sequence numbers that do not count up")
    places = np.concatenate([[0], np.cumsum(steps)])
    return places, int(places[-1]) + 1


def _started(board: Mapping[str, Any]) -> datetime | None:
    try:
        year, month, day = (int(part) for part in str(board["date"]).split("-"))
        hours, minutes, seconds = str(board["time"]).split(":")
        whole, _, fraction = seconds.partition(".")
        micro = int(f"{fraction:0<6}"[:6]) if fraction else 0
        return datetime(year, month, day, int(hours), int(minutes), int(whole), micro)
    except (KeyError, ValueError, TypeError, OverflowError):
        return None


def _malformed(got: str) -> ReaderError:
    return ReaderError(
        "The OpenSignals file is not as it should be",
        where="header and columns",
        expected="the file as OpenSignals wrote it",
        got=got,
        fix="export the recording again",
    )
