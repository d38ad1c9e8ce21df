"""Fitabase: CSV tables of Fitbit wearers, often of many people in one folder."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_pipelines.readers._clock import local_seconds, local_to_utc_ns
from data_pipelines.readers._exports import LOOK, head, own_files
from data_pipelines.readers._files import read_bytes
from data_pipelines.readers._persons import choose_person
from data_pipelines.readers._rows import Rows, read_rows
from data_pipelines.readers._slow import Worn, averaged, events, intervals, spread
from hdt_fm.schema.errors import ReaderError
from hdt_fm.schema.recording import NS_PER_S, LabelTrack, Recording, Visit

_HEADER = re.compile(
    rb"(?i)^(?:\xef\xbb\xbf)?id,(activitydate|activityhour|activityminute|sleepday|date,weightkg|time,value|date,value,logid)"
)
_FIRST_CELL = re.compile(rb"(?m)^([^,\r\n]{1,64}),")
_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86_400
INTENSITIES = ("sedentary", "light", "fairly_active", "very_active")
SLEEP = ("asleep", "restless", "wake")
# Modality -> unit, channel, and the tables that hold it, finest first: beginning of the name, column, seconds a row.
_AMOUNTS = {
    "steps": (
        "1/min",
        "steps",
        (("minutestepswide", "steps", 60), ("minutestepsnarrow", "steps", 60), ("hourlysteps", "steptotal", _HOUR_S)),
        ("dailyactivity", "totalsteps", _DAY_S),
    ),
    "energy": (
        "kcal/min",
        "total",
        (
            ("minutecalorieswide", "calories", 60),
            ("minutecaloriesnarrow", "calories", 60),
            ("hourlycalories", "calories", _HOUR_S),
        ),
        ("dailyactivity", "calories", _DAY_S),
    ),
}
_METS_ARE = 10.0


class Fitabase:
    """Reads one person of a Fitabase export: a folder of tables, or one table.

    Format: Fitabase (fitabase.com, "Fitabase data dictionary"): daily, hourly and minute tables (`..._merged.csv`,
        also .gz), wide or narrow; first column Id; dates such as 4/12/2016 1:00:00 PM.
    Units: steps 1/min, energy kcal/min (total, with the resting share), met, heart_rate bpm. Labels:
        activity_intensity, sleep_stage (of minutes), minutes_asleep and minutes_in_bed (of a day) min, weight kg,
        body_fat %.
    Lossy: Of steps and energy the finest table only, and energy of an hour or a day as an even rate in it; distances;
        sums of active minutes; hourly intensities; BMI. Heart rate becomes its mean in each `step_s`. Times are local:
        give `utc_offset_s`, or they are taken as UTC.

    Args:
        person: Whose rows to read, as the export writes the Id; needed where there are several people.
        utc_offset_s: Of the local time, if known.
        step_s: Of the grid of heart rate; a grid holds four years at 15 s.
    """

    def __init__(self, *, person: str | None = None, utc_offset_s: int | None = None, step_s: int = 15) -> None:
        self._person, self._offset, self._step_s = person, utc_offset_s, step_s

    @staticmethod
    def detect(path: Path) -> bool:
        """Whether it is a table that begins with Id and a Fitabase date column, or a folder with one."""
        return bool(_files(path, LOOK))

    @staticmethod
    def people(path: Path) -> tuple[str, ...]:
        """Raw ids of everyone in the tables, in order.

        Raises:
            ReaderError: If a table is cut off or edited.
        """
        return tuple(sorted({text for file in _files(path) for text in _ids(read_bytes(file))}))

    def read(self, path: Path, *, subject: str) -> Visit:
        """Read one person.

        Raises:
            ReaderError: If there are several people and none was asked for, or a table is cut off or edited.
            UnitError: If most values cannot be in their unit.
        """
        tables = {_kind(file): read_bytes(file) for file in (_files(path) or [path])}
        person = choose_person({text for data in tables.values() for text in _ids(data)}, self._person, where="Id")
        if person is None:
            raise ReaderError("The tables hold no row", fix="export the span again")
        rows_of = {kind: read_rows(_only(data, person), _HEADER, where=kind) for kind, data in tables.items()}
        mine = {kind: rows for kind, rows in rows_of.items() if rows.table.num_rows}
        worn = Worn(subject, "fitbit", body_site="wrist", utc_offset_s=self._offset)
        recordings = [self._amount(mine, modality, worn) for modality in _AMOUNTS]
        recordings += [self._heart_rate(mine, worn), self._mets(mine, worn)]
        labels = [track for track in self._labels(mine) if len(track.values)]
        if not labels and all(recording is None for recording in recordings):
            raise ReaderError("The tables hold nothing of use", expected="steps, calories, heart rate, sleep or weight")
        return Visit(
            subject=subject,
            recordings={recording.modality: recording for recording in recordings if recording is not None},
            labels={track.name: track for track in labels},
            source="fitabase",
        )

    def _times(self, rows: Rows) -> NDArray[np.int64]:
        name = rows.table.column_names[1] if len(rows.table.column_names) > 1 else rows.need("date", "times")
        seconds = local_seconds(rows.texts(name), where=rows.where, order="month_first")
        return local_to_utc_ns(seconds, self._offset)

    def _amount(self, tables: dict[str, Rows], modality: str, worn: Worn) -> Recording | None:
        unit, channel, fine, daily = _AMOUNTS[modality]
        for kind, column, seconds in (*fine, daily):
            if kind in tables:
                rows = tables[kind]
                begins, values = self._wide(rows, column) if kind.endswith("wide") else self._narrow(rows, column)
                return spread(
                    begins,
                    begins + seconds * NS_PER_S,
                    values,
                    modality=modality,
                    unit=unit,
                    channel=channel,
                    step_s=_MINUTE_S if seconds == _MINUTE_S else _HOUR_S,
                    worn=worn,
                    where=rows.where,
                )
        return None

    def _narrow(self, rows: Rows, column: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        return self._times(rows), rows.numbers(rows.need(column, "amounts"))

    def _wide(self, rows: Rows, column: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """A row an hour, a column a minute."""
        minutes = np.arange(60)
        values = np.stack([rows.numbers(rows.need(f"{column}{minute:02d}", "minutes")) for minute in minutes], axis=1)
        begins = self._times(rows)[:, None] + minutes[None] * _MINUTE_S * NS_PER_S
        known = np.isfinite(values)
        return begins[known], values[known]

    def _heart_rate(self, tables: dict[str, Rows], worn: Worn) -> Recording | None:
        rows = tables.get("heartrate_seconds")
        if rows is None:
            return None
        times, values = self._narrow(rows, "value")
        return averaged(
            times,
            values,
            modality="heart_rate",
            unit="bpm",
            channel="ppg",
            step_s=self._step_s,
            worn=worn,
            where=rows.where,
        )

    def _mets(self, tables: dict[str, Rows], worn: Worn) -> Recording | None:
        rows = tables.get("minutemetsnarrow")
        if rows is None:
            return None
        times, values = self._narrow(rows, "mets")
        return averaged(
            times, values / _METS_ARE, modality="met", unit="1", channel="met", step_s=60, worn=worn, where=rows.where
        )

    def _labels(self, tables: dict[str, Rows]) -> list[LabelTrack]:
        found: list[LabelTrack] = []
        for kind in ("minuteintensitieswide", "minuteintensitiesnarrow"):
            if kind in tables and not found:
                read = self._wide if kind.endswith("wide") else self._narrow
                found.append(
                    _runs("activity_intensity", *read(tables[kind], "intensity"), INTENSITIES, tables[kind].where)
                )
        if "minutesleep" in tables:
            times, values = self._narrow(tables["minutesleep"], "value")
            found.append(_runs("sleep_stage", times, values - 1, SLEEP, tables["minutesleep"].where))
        if "sleepday" in tables:
            times = self._times(rows := tables["sleepday"])
            for column, name in (("totalminutesasleep", "minutes_asleep"), ("totaltimeinbed", "minutes_in_bed")):
                values = rows.numbers(rows.need(column, "minutes"))
                found.append(intervals(name, times, times + _DAY_S * NS_PER_S, values, unit="min"))
        if "weightloginfo" in tables:
            times = self._times(rows := tables["weightloginfo"])
            found.append(events("weight", times, rows.numbers(rows.need("weightkg", "weights")), "kg"))
            if (fat := rows.find("fat")) is not None:
                found.append(events("body_fat", times, rows.numbers(fat), "%"))
        return found


def _runs(
    name: str, begins: NDArray[np.int64], values: NDArray[np.float64], classes: tuple[str, ...], where: str
) -> LabelTrack:
    """Minutes of one class after another as one interval."""
    known = np.isfinite(values)
    order = np.argsort(begins[known], kind="stable")
    times, values = begins[known][order], values[known][order]
    if ((values < 0) | (values >= len(classes)) | (values % 1 != 0)).any():
        raise ReaderError("A table holds a class that is not known", where=where, expected=f"{len(classes)} classes")
    step = _MINUTE_S * NS_PER_S
    first = np.ones(len(times), dtype=np.bool_)
    first[1:] = (np.diff(times) > step) | (np.diff(values) != 0)
    last = np.append(first[1:], True)[: len(times)]
    return intervals(name, times[first], times[last] + step, values[first], classes=classes)


def _ids(data: bytes) -> set[str]:
    """First cells of all lines below the header."""
    return {cell.strip().decode("ascii", "replace") for cell in _FIRST_CELL.findall(data.partition(b"\n")[2])}


def _only(data: bytes, person: str) -> bytes:
    """The header and the person's lines; one person's rows of 33 need not cost what all do."""
    header, _, body = data.partition(b"\n")
    begin = person.encode() + b","
    return b"\n".join([header, *(line for line in body.split(b"\n") if line.startswith(begin))])


def _kind(file: Path) -> str:
    """Of `minuteStepsWide_merged.csv.gz` the first word, in small letters; dates in names are left out."""
    name = re.sub(r"(_merged)?(_\d.*)?\.csv(\.gz)?$", "", file.name, flags=re.IGNORECASE).lower()
    return name if re.fullmatch(r"[a-z_]{3,40}", name) else "table"


def _files(path: Path, look: int | None = None) -> list[Path]:
    is_own: Callable[[Path], bool] = lambda file: bool(_HEADER.match(head(file, 512)))
    return own_files(path, (".csv", ".csv.gz"), is_own, look)
