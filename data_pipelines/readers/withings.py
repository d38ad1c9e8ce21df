"""Withings sleep mat: raw tables with lists in their cells, and the summary of nights."""

import csv
import io
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_pipelines.readers._beginning import first_bytes
from data_pipelines.readers._files import members, read_bytes
from data_pipelines.readers._grid import place
from data_pipelines.readers._recordings import datetime_to_ns, make_recording
from hdt_fm.schema.errors import ReaderError
from hdt_fm.schema.recording import NS_PER_S, LabelTrack, Recording, Visit

_RAW_HEAD = "start,duration,value"
_RAW_NAME = re.compile(r"raw_sleep-monitor_(hr|respiratory-rate|sleep-state|snoring)\.csv")
_SIGNALS = {"hr": ("heart_rate", "bpm"), "respiratory-rate": ("resp_rate", "1/min")}
_STAGES = ("awake", "light", "deep", "rem")
_LIST = re.compile(r"\[(-?\d{1,9}(?:,-?\d{1,9})*)\]")
_PERIOD_S = 60
# A night's table, column by column: in German, in English, then the label and its unit.
_NIGHT = (
    ("von", "from", "", ""),
    ("bis", "to", "", ""),
    ("leicht (s)", "light (s)", "night_light_sleep", "s"),
    ("tief (s)", "deep (s)", "night_deep_sleep", "s"),
    ("rem (s)", "rem (s)", "night_rem_sleep", "s"),
    ("wach (s)", "awake (s)", "night_awake", "s"),
    ("aufwachen", "wake up", "night_awakenings", "1"),
    ("duration to sleep (s)", "duration to sleep (s)", "night_sleep_latency", "s"),
    ("duration to wake up (s)", "duration to wake up (s)", "night_wake_latency", "s"),
    ("snoring (s)", "snoring (s)", "night_snoring", "s"),
    ("snoring episodes", "snoring episodes", "night_snoring_episodes", "1"),
    ("average heart rate", "average heart rate", "night_heart_rate", "bpm"),
    ("heart rate (min)", "heart rate (min)", "night_heart_rate_min", "bpm"),
    ("heart rate (max)", "heart rate (max)", "night_heart_rate_max", "bpm"),
)
_HEAD_BYTES = 512
_LONGEST_CELL = 1 << 20


class Withings:
    """Reads one table, or a folder of them as one visit.

    Format: Withings data export (support.withings.com, "Exporting my data"): raw_sleep-monitor_{hr,respiratory-rate,
        sleep-state,snoring}.csv with lists of durations and values in their cells; sleep.csv, one line a night, with
        an English or German header.
    Units: heart_rate bpm and resp_rate 1/min, one a minute.
    Lossy: Columns and files that are not named here; of rows that overlap the later start stays out. The sleep state
        becomes the class label `sleep_stage`, snoring (0 to 100) the values `snoring`, each column of the nights
        values over the night. The local offset is that of the first row.
    """

    @staticmethod
    def detect(path: Path) -> bool:
        """Whether it is such a table, or a folder with one."""
        if path.is_dir():
            return any(_is_raw(child) for child in sorted(path.glob("raw_sleep-monitor_*.csv")))
        return path.is_file() and (_is_raw(path) or _is_night(_first_line(path)))

    def read(self, path: Path, *, subject: str) -> Visit:
        """Read every table that is there.

        Raises:
            ReaderError: If there is none, or a cell is damaged.
            UnitError: If values are impossible.
        """
        files: Mapping[str, Callable[[], bytes]]
        files = members(path) if path.is_dir() else {path.name: lambda: read_bytes(path)}
        recordings: dict[str, Recording] = {}
        labels: dict[str, LabelTrack] = {}
        for name, load in files.items():
            raw = _RAW_NAME.fullmatch(name)
            if raw is not None and raw[1] in _SIGNALS:
                modality, unit = _SIGNALS[raw[1]]
                recordings[modality] = _signal(load(), modality, unit, subject)
            elif raw is not None:
                track = _track(load(), raw[1])
                labels[track.name] = track
            elif name.endswith(".csv") and _is_night((data := load())[:_HEAD_BYTES].decode("utf-8-sig", "replace")):
                labels |= _nights(data)
        if not recordings and not labels:
            raise ReaderError(
                "There is no table of a Withings sleep mat here",
                expected="raw_sleep-monitor_hr.csv and the like, or sleep.csv",
                got=f"{len(files)} other file(s)",
            )
        return Visit(subject=subject, recordings=recordings, labels=labels, source="withings")


def _first_line(path: Path) -> str:
    if not path.name.lower().endswith(".csv"):
        return ""
    return first_bytes(path, _HEAD_BYTES).decode("utf-8-sig", errors="replace")


def _is_raw(path: Path) -> bool:
    return path.is_file() and _RAW_NAME.fullmatch(path.name) is not None and _first_line(path).startswith(_RAW_HEAD)


def _is_night(text: str) -> bool:
    fields = [field.strip(' "').lower() for field in text.splitlines()[0].split(",")] if text.strip() else []
    return any(fields[:6] == [column[i] for column in _NIGHT[:6]] for i in (0, 1))


def _rows(data: bytes, where: str) -> list[list[str]]:
    previous = csv.field_size_limit(_LONGEST_CELL)
    try:
        rows = list(csv.reader(io.StringIO(data.decode("utf-8-sig", errors="replace"))))
    except csv.Error:
        raise ReaderError("The table is damaged", where=where, fix="export it again") from None
    finally:
        csv.field_size_limit(previous)
    if len(rows) < 2:
        raise ReaderError("The table has no rows", where=where, fix="leave it out, or export it again")
    for number, row in enumerate(rows[1:], 2):
        if len(row) != len(rows[0]):
            raise ReaderError(
                "A line has the wrong number of columns",
                where=f"{where}, line {number}",
                expected=str(len(rows[0])),
                got=str(len(row)),
                fix="the export was cut off or edited; export it again",
            )
    return rows


def _moment(text: str, where: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None or not 1970 <= moment.year < 2200:
        raise ReaderError("A time is not ISO 8601 with an offset", where=where, expected="2020-10-23T22:03:00+02:00")
    return moment


def _numbers(text: str, where: str) -> NDArray[np.float64]:
    found = _LIST.fullmatch(text.replace(" ", ""))
    if found is None:
        raise ReaderError("A cell is no list of whole numbers", where=where, expected="such as [60,60]")
    return np.array(found[1].split(","), dtype=np.float64)


def _samples(data: bytes, where: str) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], int]:
    """Begin and length of each value in UTC seconds, the values in order of time, and the local offset of the first."""
    begins: list[NDArray[np.float64]] = []
    lengths: list[NDArray[np.float64]] = []
    values: list[NDArray[np.float64]] = []
    offset = 0
    for number, (start, duration, value) in enumerate(_triples(data, where), 2):
        line = f"{where}, line {number}"
        moment = _moment(start, line)
        if not begins:
            shift = moment.utcoffset()
            offset = round(shift.total_seconds()) if shift else 0
        spans, numbers = _numbers(duration, line), _numbers(value, line)
        if len(spans) != len(numbers) or (spans <= 0).any():
            raise ReaderError("Durations and values do not fit each other", where=line, expected="one above 0 for each")
        begins.append(datetime_to_ns(moment) / NS_PER_S + np.concatenate([[0], np.cumsum(spans[:-1])]))
        lengths.append(spans)
        values.append(numbers)
    order = np.argsort(np.concatenate(begins), kind="stable")
    return np.concatenate(begins)[order], np.concatenate(lengths)[order], np.concatenate(values)[order], offset


def _triples(data: bytes, where: str) -> list[list[str]]:
    rows = _rows(data, where)
    if rows[0] != _RAW_HEAD.split(","):
        raise ReaderError("The table has other columns", where=where, expected=_RAW_HEAD)
    return rows[1:]


def _signal(data: bytes, modality: str, unit: str, subject: str) -> Recording:
    begins, lengths, values, offset = _samples(data, modality)
    if (lengths != _PERIOD_S).any():
        raise ReaderError(
            "A value does not stand for a minute", where=modality, expected=f"durations of {_PERIOD_S} s throughout"
        )
    first = np.concatenate([[True], np.rint(np.diff(begins) / _PERIOD_S) > 0])
    placed = place(begins[first], values[first, None], 1 / _PERIOD_S, where=modality)
    return make_recording(
        placed.T,
        modality=modality,
        unit=unit,
        channels=(modality,),
        sampling_rate_hz=1 / _PERIOD_S,
        start_ns=round(begins[0]) * NS_PER_S,
        subject=subject,
        device="withings_sleep",
        body_site="",
        utc_offset_s=offset,
        where=modality,
    )


def _track(data: bytes, kind: str) -> LabelTrack:
    begins, lengths, values, _ = _samples(data, kind)
    starts = np.rint(begins).astype(np.int64) * NS_PER_S
    ends = starts + np.rint(lengths).astype(np.int64) * NS_PER_S
    if kind == "snoring":
        return LabelTrack("snoring", "value", starts, ends, values)
    if not np.isin(values, range(len(_STAGES))).all():
        raise ReaderError("A sleep state is not known", where=kind, expected=f"0 to 3: {', '.join(_STAGES)}")
    return LabelTrack("sleep_stage", "class", starts, ends, values, classes=_STAGES)


def _nights(data: bytes) -> dict[str, LabelTrack]:
    rows = _rows(data, "nights")
    names = [field.strip().lower() for field in rows[0]]
    nights = [
        (_moment(row[0], f"nights, line {i}"), _moment(row[1], f"nights, line {i}"))
        for i, row in enumerate(rows[1:], 2)
    ]
    starts = np.array([datetime_to_ns(night[0]) for night in nights], dtype=np.int64)
    ends = np.array([datetime_to_ns(night[1]) for night in nights], dtype=np.int64)
    if (ends <= starts).any():
        raise ReaderError("A night ends before it begins", where="nights", expected="von before bis, or from before to")
    tracks = {}
    for german, english, name, unit in _NIGHT[2:]:
        column = next((i for i, text in enumerate(names) if text in (german, english)), None)
        if column is not None:
            values = _column(rows, column, german)
            known = np.isfinite(values)
            if known.any():
                tracks[name] = LabelTrack(name, "value", starts[known], ends[known], values[known], unit=unit)
    return tracks


def _column(rows: list[list[str]], column: int, name: str) -> NDArray[np.float64]:
    try:
        return np.array([float(row[column]) if row[column].strip() else np.nan for row in rows[1:]])
    except ValueError:
        raise ReaderError("A column holds something that is no number", where=f"nights, {name}") from None
