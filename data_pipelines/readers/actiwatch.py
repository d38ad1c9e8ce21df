"""Philips Actiwatch: exports of Actiware, and its table of epochs alone."""

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_pipelines.readers._beginning import first_bytes
from data_pipelines.readers._files import read_bytes
from data_pipelines.readers._local_dates import Order, order_of, seconds
from data_pipelines.readers._recordings import make_recording, seconds_to_ns
from hdt_fm.schema.errors import ReaderError
from hdt_fm.schema.recording import NS_PER_S, LabelTrack, Recording, Visit

# Column in lower case -> what it is; English and Dutch.
_COLUMNS = {
    "date": "date",
    "datum": "date",
    "time": "time",
    "tijd": "time",
    "activity": "activity",
    "activiteit": "activity",
    "white light": "light",
    "wit licht": "light",  # codespell:ignore wit
    "off-wrist status": "off_wrist",
    "status niet-om-pols": "off_wrist",
    "marker": "marker",
    "markering": "marker",
    "sleep/wake": "sleep_wake",
    "slapen/waken": "sleep_wake",
    "interval status": "interval",
    "intervalstatus": "interval",
}
_INTERVALS = {
    "active": 0,
    "actief": 0,
    "rest": 1,
    "rust": 1,
    "rest-s": 2,
    "slaap": 2,
    "excluded": 3,
    "uitgezonderd": 3,
}
_OFFSET = re.compile(r"(?:time zone offset|tijdzone-offset):,\"?([+-])(\d\d):(\d\d)", re.IGNORECASE)
_HEAD_BYTES = 512
_LARGEST_FIELD = 1000
_MISSING = {"", "nan"}


class Actiwatch:
    """Reads the epochs of one recording.

    Format: CSV export of Actiware 5 and 6 (also .csv.gz), in English or Dutch, with all of its sections or only the
        table with the columns Date, Time, Activity, White Light, Sleep/Wake.
    Units: counts per minute, from those of an epoch; light lux (white).
    Lossy: Names, serial number, settings, statistics, coloured light. Off-wrist status, sleep and wake as scored by
        Actiware, and intervals become class labels, the marker's presses events `button`. Without a time zone in the
        export, local time is taken as UTC.

    Args:
        dates: `day_first` or `month_first`, where the dates do not tell.
    """

    def __init__(self, *, dates: Order = "auto") -> None:
        self._dates = dates

    @staticmethod
    def detect(path: Path) -> bool:
        """Whether it begins as an export of Actiware or with the line of its epoch table."""
        if not path.is_file() or not path.name.lower().endswith((".csv", ".csv.gz")):
            return False
        head = _head(path)
        return head.lower().startswith("actiware") or _is_table(head.splitlines()[:1])

    def read(self, path: Path, *, subject: str) -> Visit:
        """Read every epoch.

        Raises:
            ReaderError: If there is no table of epochs, its dates are not clear, or a line is damaged.
            UnitError: If values are impossible.
        """
        text = read_bytes(path).decode("utf-8-sig", errors="replace")
        lines = text.splitlines()
        # An Actiware export has two tables with a line, a date and a time: the last one has the epochs.
        heads = [i for i, line in enumerate(lines) if _is_table([line])]
        if not heads:
            raise ReaderError(
                "The table of epochs is not there",
                expected="columns Date, Time and Activity (or Datum, Tijd and Activiteit)",
                fix="export it in English or Dutch, with the data of every epoch",
            )
        rows = _rows(lines, heads[-1])
        offset = _offset("\n".join(lines[: heads[-1]]))
        return _visit(rows, self._dates, offset, subject)


_Rows = dict[str, list[str]]


def _head(path: Path) -> str:
    return first_bytes(path, _HEAD_BYTES).decode("utf-8-sig", errors="replace")


def _is_table(lines: Sequence[str]) -> bool:
    fields = {_COLUMNS.get(field.strip(' "').lower()) for line in lines for field in line.split(",")}
    return {"date", "time", "activity"} <= fields


def _rows(lines: list[str], head: int) -> _Rows:
    """Column -> its text in every row."""
    names = [_COLUMNS.get(field.strip(' "').lower()) for field in lines[head].split(",")]
    known = [(i, name) for i, name in enumerate(names) if name is not None]
    width = max(i for i, _ in known) + 1
    found: _Rows = {name: [] for _, name in known}
    csv.field_size_limit(max(csv.field_size_limit(), _LARGEST_FIELD))
    try:
        for number, fields in enumerate(csv.reader(io.StringIO("\n".join(lines[head + 1 :]))), head + 2):
            if not any(field.strip() for field in fields):
                continue
            if len(fields) < width:
                raise ReaderError(
                    "A line has too few columns",
                    where=f"line {number}",
                    expected=f"{width} at least",
                    got=str(len(fields)),
                    fix="the export was cut off or edited; export it again",
                )
            for i, name in known:
                found[name].append(fields[i])
    except csv.Error:
        raise ReaderError("The table is damaged", expected="lines of a CSV file", fix="export it again") from None
    if not found["date"]:
        raise ReaderError("The table has no rows", where="epochs", fix="export the recording again")
    return found


def _offset(header: str) -> int | None:
    found = _OFFSET.search(header)
    if found is None:
        return None
    return int(f"{found[1]}1") * (int(found[2]) * 3600 + int(found[3]) * 60)


def _visit(rows: _Rows, given: Order, offset: int | None, subject: str) -> Visit:
    order = order_of(dict.fromkeys(rows["date"]), given, in_a_row=True, where="column Date")
    times = seconds(rows["date"], rows["time"], order, where="columns Date and Time") - (offset or 0)
    period = _period(times)
    worn = ~(_numbers(rows, "off_wrist") == 1)
    recordings = []
    for name, column, unit, scale in (("counts", "activity", "Hz", 1 / period), ("light", "light", "lux", 1.0)):
        if column in rows:
            values = np.where(worn, _numbers(rows, column), np.nan)[None] * scale
            recordings.append(_recording(name, column, values, unit, period, times[0], offset, subject))
    begins = np.rint(times * NS_PER_S).astype(np.int64)
    return Visit(
        subject=subject,
        recordings={recording.modality: recording for recording in recordings},
        labels=_labels(rows, begins, round(period * NS_PER_S)),
        source="actiwatch",
    )


def _period(times: NDArray[np.float64]) -> float:
    steps = np.diff(times)
    if not len(steps) or steps[0] <= 0 or (np.abs(steps - steps[0]) > 1e-3).any():
        raise ReaderError(
            "The rows are not one epoch apart",
            where="columns Date and Time",
            expected="rising times with one step, and two rows at least",
            fix="export the whole recording again; split it where the clock was set",
        )
    return float(steps[0])


def _numbers(rows: _Rows, column: str) -> NDArray[np.float64]:
    texts = rows.get(column)
    if texts is None:
        return np.full(len(rows["date"]), np.nan)
    try:
        return np.array(
            [np.nan if text.strip().lower() in _MISSING else float(text.replace(",", ".")) for text in texts]
        )
    except ValueError:
        raise ReaderError("A column holds something that is no number", where=column) from None


def _recording(
    name: str,
    channel: str,
    values: NDArray[np.float64],
    unit: str,
    period: float,
    start_s: float,
    offset: int | None,
    subject: str,
) -> Recording:
    return make_recording(
        values,
        modality=name,
        unit=unit,
        channels=("white" if channel == "light" else channel,),
        sampling_rate_hz=1 / period,
        start_ns=seconds_to_ns(float(start_s), where="first row"),
        subject=subject,
        device="actiwatch",
        body_site="wrist",
        utc_offset_s=offset,
        where=f"column {channel}",
    )


def _labels(rows: _Rows, begins: NDArray[np.int64], period_ns: int) -> dict[str, LabelTrack]:
    intervals = np.array(
        [_INTERVALS.get(text.strip().lower(), np.nan) for text in rows.get("interval", [])], dtype=float
    )
    classes = {
        "wear": (1 - _numbers(rows, "off_wrist"), ("not worn", "worn")),
        "sleep_wake": (_numbers(rows, "sleep_wake"), ("sleep", "wake")),
        "interval": (intervals, ("active", "rest", "sleep", "excluded")),
    }
    tracks = {}
    for name, (values, words) in classes.items():
        known = np.flatnonzero(np.isin(values, range(len(words))))
        if len(known):
            tracks[name] = LabelTrack(
                name, "class", begins[known], begins[known] + period_ns, values[known], classes=words
            )
    pressed = begins[_numbers(rows, "marker") == 1]
    if len(pressed):
        tracks["button"] = LabelTrack("button", "event", pressed, pressed, np.zeros(len(pressed)))
    return tracks
