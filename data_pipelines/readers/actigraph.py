"""ActiGraph: tables of activity counts (.csv of ActiLife) and raw recordings (.gt3x)."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_pipelines.readers._beginning import first_bytes
from data_pipelines.readers._files import read_bytes
from data_pipelines.readers._gt3x import is_gt3x, read_gt3x
from data_pipelines.readers._local_dates import Order, day_number, order_of, second_of_day
from data_pipelines.readers._numbers import read_numbers
from data_pipelines.readers._recordings import make_recording, seconds_to_ns
from hdt_fm.schema.errors import ReaderError
from hdt_fm.schema.recording import NS_PER_S, LabelTrack, Recording, Visit

_FIRST_LINE = re.compile(rb"(?:\xef\xbb\xbf)?\"?-{3,}.{0,40}File Created By Acti[Gg]raph", re.IGNORECASE)
_HEADER_LINES = 10
_HEADER_BYTES = 8192
_HEAD_BYTES = 256
# Bits of the mode -> columns, in the order of the file. Bit 2, heart rate, is only read under a line of names.
_COLUMNS = {
    1: ("steps",),
    4: ("axis2",),
    8: ("axis3",),
    16: ("lux",),
    32: ("inclinometer off", "inclinometer standing", "inclinometer sitting", "inclinometer lying"),
}
_POSTURES = ("off", "standing", "sitting", "lying")
_FEWEST_POSTURES = len(_POSTURES)


class Actigraph:
    """Reads the counts of one recording, or its raw samples.

    Format: ActiLife data table (.csv, also .csv.gz): 10 header lines, with or without a line of names and a column of
        times; .gt3x with log.bin (github.com/actigraph/GT3X-File-Format), not the older one with activity.bin.
    Units: counts and steps per minute, from those of an epoch; light lux; acc g by the file's own scale.
    Lossy: Vector magnitude (follows from the axes), battery, serial number, names. Inclinometer seconds become
        `posture`, the one that most of the epoch was spent in. Of a .gt3x: records with a wrong checksum (counted in
        the log), everything but activity, light and wear; the idle sleep mode stays a gap. A local time without an
        offset is taken as UTC.

    Args:
        dates: `day_first` or `month_first`, where neither the header's text nor its dates tell.
    """

    def __init__(self, *, dates: Order = "auto") -> None:
        self._dates = dates

    @staticmethod
    def detect(path: Path) -> bool:
        """Whether it begins as a table of ActiLife does, or is a .gt3x."""
        if not path.is_file():
            return False
        if path.name.lower().endswith((".csv", ".csv.gz")):
            return _FIRST_LINE.match(first_bytes(path, _HEAD_BYTES)) is not None
        return is_gt3x(path)

    def read(self, path: Path, *, subject: str) -> Visit:
        """Read the whole recording.

        Raises:
            ReaderError: If the header is incomplete, the order of its dates unclear, or a record or line damaged.
            UnitError: If values are impossible.
        """
        if not path.name.lower().endswith((".csv", ".csv.gz")):
            return read_gt3x(path, subject)
        data = read_bytes(path)
        if _FIRST_LINE.match(data) is None:
            raise ReaderError("This is no table of ActiLife", expected="a first line with File Created By ActiGraph")
        return _counts(data, self._dates, subject)


def _counts(data: bytes, dates: Order, subject: str) -> Visit:
    lines = data[:_HEADER_BYTES].decode("utf-8-sig", errors="replace").splitlines()
    delimiter = ";" if lines[0].rstrip().endswith(";") else ","
    names, skip = _names(lines, delimiter)
    stamped = names is not None and names[0] == "timestamp"
    body = data.split(b"\n", skip)
    if len(body) <= skip or not body[-1].strip():
        raise ReaderError("The table has no rows", where="ActiLife table", fix="export the recording again")
    rows = _rows(body[-1], skip, stamped, delimiter)
    if names is None:
        mode = int(_field(lines, r"Mode\s*=\s*(\d{1,4})"))
        names = _by_mode(mode)
    width = rows.values.shape[1]
    if len(names) - stamped != width:
        raise ReaderError(
            "The columns are not those of the header's mode",
            where="ActiLife table",
            expected=f"{', '.join(names)}",
            got=f"{width} columns",
            fix="export the table with its column names",
        )
    epoch = _epoch(lines)
    start = rows.start_s if rows.start_s is not None else _start(lines, dates)
    columns = {name: rows.values[:, i] for i, name in enumerate(names[stamped:])}
    return _visit(columns, start, epoch, subject)


def _names(lines: list[str], delimiter: str) -> tuple[list[str] | None, int]:
    """Column names in lower case if there are any, and how many lines come before the rows."""
    if len(lines) <= _HEADER_LINES or not lines[_HEADER_LINES - 1].startswith(("-", '"-')):
        raise ReaderError("The file ends before its header does", where="ActiLife table", expected="10 header lines")
    fields = [field.strip().strip('"').lower() for field in lines[_HEADER_LINES].rstrip(delimiter).split(delimiter)]
    return (fields, _HEADER_LINES + 1) if fields[0][:1].isalpha() else (None, _HEADER_LINES)


def _by_mode(mode: int) -> list[str]:
    unknown = mode & ~sum(_COLUMNS)
    if unknown:
        raise ReaderError(
            "The header's mode has columns that are not known without their names",
            where="Mode",
            expected=f"a sum of {', '.join(map(str, _COLUMNS))}",
            got=str(mode),
            fix="export the table with its column names",
        )
    order = (4, 8, 1, 16, 32)
    return ["axis1", *(name for bit in order if mode & bit for name in _COLUMNS[bit])]


@dataclass(frozen=True)
class _Rows:
    values: NDArray[np.float64]
    start_s: float | None


def _rows(body: bytes, skip: int, stamped: bool, delimiter: str) -> _Rows:
    """The numbers, without the empty columns that a spreadsheet adds at the end, and the first time if there is one."""
    if delimiter == ";":
        body = body.replace(b",", b".").replace(b";", b",")
    lines = body.rstrip().splitlines()
    if any(not line.strip(b', \r"') for line in lines):
        raise ReaderError("The table has an empty line", where="ActiLife table", fix="export the recording again")
    first = lines[0].rstrip(b", \r").count(b",") + 1
    all_columns = lines[0].rstrip(b"\r").count(b",") + 1
    start = None
    if stamped:
        start = _iso_start(lines)
        lines = [line.partition(b",")[2] for line in lines]
        first, all_columns = first - 1, all_columns - 1
    table = read_numbers(b"\n".join(lines), columns=max(all_columns, 1), skip=0, where=f"table after line {skip}")
    return _Rows(table[:, : max(first, 1)], start)


def _iso_start(lines: list[bytes]) -> float:
    """Time of the first row; every row must be there, so the last one is checked too."""
    try:
        texts = [line.partition(b",")[0].strip(b' "\r').rstrip(b"Z").decode() for line in lines]
        times = np.array(texts, dtype="datetime64[s]").astype(np.int64)
    except (ValueError, UnicodeDecodeError):
        raise ReaderError(
            "A time is not ISO 8601", where="column timestamp", expected="such as 2026-03-05T09:30:00Z"
        ) from None
    steps = np.diff(times)
    if len(steps) and (steps != steps[0]).any():
        raise ReaderError(
            "The rows are not one epoch apart", where="column timestamp", fix="export the whole recording again"
        )
    return float(times[0])


def _field(lines: list[str], pattern: str) -> str:
    for line in lines[:_HEADER_LINES]:
        found = re.search(pattern, line)
        if found:
            return found[1]
    raise ReaderError(
        "The header lacks a line",
        where="ActiLife table",
        expected=pattern.split("\\")[0].split("(")[0].strip() or pattern,
        fix="export the recording again with its header",
    )


def _epoch(lines: list[str]) -> float:
    epoch = second_of_day(_field(lines, r"Epoch Period \(hh:mm:ss\) (\d\d:\d\d:\d\d)"), where="Epoch Period")
    if epoch <= 0:
        raise ReaderError("The epoch has no length", where="Epoch Period", expected="a time above 0")
    return epoch


def _start(lines: list[str], given: Order) -> float:
    text = _field(lines, r"Start Date ([\d/.-]{6,12})")
    dates = [text, _field(lines, r"Download Date ([\d/.-]{6,12})")]
    said = re.search(r"date format ([dMy]{1,4})[-/.]([dMy]{1,4})[-/.]", lines[0])
    order = given
    if order == "auto" and said is not None and {said[1][0], said[2][0]} == {"d", "M"}:
        order = "day_first" if said[1][0] == "d" else "month_first"
    order = order_of(dates, order, in_a_row=False, where="Start Date and Download Date")
    day = day_number(text, order, where="Start Date")
    return day * 86_400 + second_of_day(_field(lines, r"Start Time (\d\d:\d\d:\d\d)"), where="Start Time")


def _visit(columns: dict[str, NDArray[np.float64]], start_s: float, epoch_s: float, subject: str) -> Visit:
    def recording(name: str, parts: list[str], unit: str, scale: float) -> Recording:
        return make_recording(
            np.stack([columns[part] for part in parts]) * scale,
            modality=name,
            unit=unit,
            channels=tuple(parts),
            sampling_rate_hz=1 / epoch_s,
            start_ns=seconds_to_ns(start_s, where="Start Date"),
            subject=subject,
            device="actigraph",
            where=", ".join(parts),
        )

    axes: list[str] = [name for name in ("axis1", "axis2", "axis3") if name in columns]
    found = [recording("counts", axes, "Hz", 1 / epoch_s)] if axes else []
    if "steps" in columns:
        found.append(recording("steps", ["steps"], "Hz", 1 / epoch_s))
    if "lux" in columns:
        found.append(recording("light", ["lux"], "lux", 1.0))
    if not found:
        raise ReaderError("The table has no known column", expected="axis1, axis2, axis3, steps, lux")
    return Visit(
        subject=subject,
        recordings={one.modality: one for one in found},
        labels=_posture(columns, start_s, epoch_s),
        source="actigraph",
    )


def _posture(columns: dict[str, NDArray[np.float64]], start_s: float, epoch_s: float) -> dict[str, LabelTrack]:
    parts = [columns[f"inclinometer {name}"] for name in _POSTURES if f"inclinometer {name}" in columns]
    if len(parts) < _FEWEST_POSTURES:
        return {}
    spent = np.stack(parts)
    known = np.isfinite(spent).all(axis=0) & (spent.sum(axis=0) > 0)
    period = round(epoch_s * NS_PER_S)
    begins = seconds_to_ns(start_s, where="Start Date") + period * np.flatnonzero(known)
    values = spent[:, known].argmax(axis=0).astype(np.float64)
    return {"posture": LabelTrack("posture", "class", begins, begins + period, values, classes=_POSTURES)}
