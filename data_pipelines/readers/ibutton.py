"""iButton temperature loggers (DS1922L and its kin), as OneWireViewer exports them."""

import re
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from data_pipelines.readers._beginning import first_bytes
from data_pipelines.readers._files import read_bytes
from data_pipelines.readers._local_dates import day_number, order_of, second_of_day
from data_pipelines.readers._recordings import make_recording, seconds_to_ns
from hdt_fm.schema.errors import ReaderError
from hdt_fm.schema.recording import Visit

_MAGIC = b"1-Wire/iButton Part Number: DS"
_COLUMNS = "Date/Time,Unit,Value"
_HEADER_BYTES = 8192
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_STAMP = re.compile(r"\w{3} (\w{3}) (\d{1,2}) (\d\d:\d\d:\d\d) (\w{2,5}) (\d{4})")
# Zone names that mean one offset the world over, and no summer time there.
_ZONES_H = {"UTC": 0, "GMT": 0, "SGT": 8, "HKT": 8, "JST": 9, "KST": 9}
_UNITS = {"C": "celsius", "F": "fahrenheit"}
_ROW = re.compile(r"([\d/.-]{6,10}) ([\d:]{7,8}(?: ?[AaPp]\.?[Mm]\.?)?),([CF]),(-?\d{1,3}(?:[.,]\d{1,6})?)\"?\s*")
_SUMMER_S = 3600


class Ibutton:
    """Reads one mission of a logger.

    Format: CSV of OneWireViewer: header lines on the mission, then Date/Time, Unit, Value (analog.com, DS1922L).
    Units: temp celsius, or fahrenheit where the rows say so.
    Lossy: Registration number, alarms, humidity of a DS1923. A mission samples at even steps from its first sample,
        so the rows' local times are only checked (an hour of summer time apart is allowed). Local time is taken as
        UTC, unless the header names a zone of one meaning (UTC, SGT, HKT, JST, KST).

    Args:
        modality: `temp` when worn on the skin, `device_temp` when it hung in the air.
    """

    def __init__(self, *, modality: Literal["temp", "device_temp"] = "temp") -> None:
        self._modality = modality

    @staticmethod
    def detect(path: Path) -> bool:
        """Whether the file begins as such an export does."""
        return first_bytes(path, len(_MAGIC)) == _MAGIC

    def read(self, path: Path, *, subject: str) -> Visit:
        """Read the whole mission.

        Raises:
            ReaderError: If the header is incomplete, or the rows are not the mission's samples.
            UnitError: If values are impossible.
        """
        data = read_bytes(path)
        if not data.startswith(_MAGIC):
            raise ReaderError(
                "This is no export of an iButton", expected="1-Wire/iButton Part Number in the first line"
            )
        lines = data.decode("utf-8", errors="replace").splitlines()
        if _COLUMNS not in lines:
            raise ReaderError("The header is incomplete", expected=f"a line {_COLUMNS}", fix="export the mission again")
        head = lines.index(_COLUMNS)
        period = int(_field(lines[:head], r"Sample Rate:\s+Every (\d{1,6}) second"))
        start_s, offset = _start(lines[:head])
        values, unit = _values(lines[head + 1 :], head, start_s, period)
        recording = make_recording(
            values[None],
            modality=self._modality,
            unit=unit,
            channels=("temperature",),
            sampling_rate_hz=1 / max(period, 1),
            start_ns=seconds_to_ns(start_s - (offset or 0), where="First Sample Timestamp"),
            subject=subject,
            device="ibutton",
            utc_offset_s=offset,
            where="column Value",
        )
        return Visit(subject=subject, recordings={self._modality: recording}, source="ibutton")


def _field(lines: list[str], pattern: str) -> str:
    found = next((match[1] for line in lines if (match := re.match(pattern, line))), None)
    if found is None:
        raise ReaderError(
            "The header is incomplete", expected=pattern.partition(":")[0], fix="export the mission again"
        )
    return found


def _start(lines: list[str]) -> tuple[float, int | None]:
    """Local seconds of the first sample, and the offset from UTC if the zone has one meaning."""
    found = _STAMP.fullmatch(_field(lines, r"First Sample Timestamp:\s+(.{1,40}\S)\s*$"))
    if found is None or found[1] not in _MONTHS:
        raise ReaderError(
            "The time of the first sample cannot be read",
            where="First Sample Timestamp",
            expected="such as Tue Feb 20 10:06:01 SGT 2024",
        )
    where = "First Sample Timestamp"
    day = day_number(f"{found[5]}-{_MONTHS.index(found[1]) + 1}-{found[2]}", "month_first", where=where)
    zone = _ZONES_H.get(found[4])
    return day * 86_400 + second_of_day(found[3], where=where), None if zone is None else zone * 3600


def _values(lines: list[str], head: int, start_s: float, period: int) -> tuple[NDArray[np.float64], str]:
    rows = []
    for number, line in enumerate(lines, head + 2):
        if line.strip():
            found = _ROW.fullmatch(line)
            if found is None:
                raise ReaderError(
                    "A line is no sample",
                    where=f"line {number}",
                    expected=_COLUMNS,
                    fix="the export was cut off or edited; export the mission again",
                )
            rows.append(found)
    units = {row[3] for row in rows}
    if len(units) != 1 or period < 1:
        raise ReaderError(
            "The mission has no samples, or more than one unit", where="rows", expected="C or F throughout"
        )
    # The header names the month of the first sample, which tells how the rows write it.
    order = (
        order_of(dict.fromkeys(row[1] for row in rows), "auto", in_a_row=True, where="column Date/Time")
        if rows
        else "month_first"
    )
    days = {row[1]: day_number(row[1], order, where="column Date/Time") * 86_400 for row in rows}
    times = np.array([days[row[1]] + second_of_day(row[2], where="column Date/Time") for row in rows])
    late = times - start_s - period * np.arange(len(rows))
    if (
        not np.isin(np.rint(late / _SUMMER_S), (-1, 0, 1)).all()
        or (np.abs(late - np.rint(late / _SUMMER_S) * _SUMMER_S) > 1).any()
    ):
        raise ReaderError(
            "The rows are not the mission's samples one after the other",
            where="column Date/Time",
            expected="the first sample's time, then one row each Sample Rate",
            fix="export the mission again, with every row",
        )
    return np.array([float(row[4].replace(",", ".")) for row in rows]), _UNITS[units.pop()]
