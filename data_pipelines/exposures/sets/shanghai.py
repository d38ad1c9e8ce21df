"""Shanghai: what people wrote that they ate, in English and Chinese, and their glucose around it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from data_pipelines.cohorts._tables import numbers, sheet
from data_pipelines.exposures._told import Event
from hdt_fm.schema.errors import ReaderError

_FILE = re.compile(r"(\d+)_\d+_\d{8}\.xlsx?")
_COLUMNS = {"english": r"Dietary", "chinese": r"饮食|进食", "glucose": r"CGM"}
_NOT_WRITTEN = ("data not available", "未记录")
_EPOCH, _SECOND = pd.Timestamp("1970-01-01"), pd.Timedelta(seconds=1)


@dataclass(frozen=True)
class Diary:
    """One recording.

    Attributes:
        person: Number of the patient within the set, from 0: a patient may have several recordings.
        english, chinese: The same meals in both languages; a text is empty where the meal was not written down.
        times_s, glucose_mg_dl: Every quarter of an hour, local time.
    """

    person: int
    english: tuple[Event, ...]
    chinese: tuple[Event, ...]
    times_s: NDArray[np.float64]
    glucose_mg_dl: NDArray[np.float64]


def shanghai_diaries(path: Path, *, limit: int | None = None) -> Iterator[Diary]:
    """Each recording that has both languages.

    Raises:
        ReaderError: If the folder has no recordings.
    """
    files = sorted((one for one in path.glob("Shanghai_T*/*.xls*") if _FILE.fullmatch(one.name)), key=lambda p: p.name)
    if not files:
        raise ReaderError(
            "The cohort's folder holds none of its files",
            where=str(path),
            expected="Shanghai_T1DM/NNNN_N_YYYYMMDD.xlsx and the like",
            fix="point to the data set's folder",
        )
    people: dict[str, int] = {}
    for file in files[:limit]:
        person = people.setdefault(file.name.split("_")[0], len(people))
        table = sheet(file, needs=("Date",), where="recording")
        found = {name: _column(table, pattern) for name, pattern in _COLUMNS.items()}
        times = np.asarray((pd.to_datetime(table["Date"]) - _EPOCH) / _SECOND, dtype=np.float64)
        columns = {name: column for name, column in found.items() if column is not None}
        if len(columns) == len(_COLUMNS):
            glucose = numbers(columns["glucose"], where="CGM")
            yield Diary(person, *_meals(columns["english"], columns["chinese"], times), times, glucose)


def _column(table: pd.DataFrame, pattern: str) -> pd.Series | None:
    name = next((name for name in table.columns if re.search(pattern, str(name))), None)
    return None if name is None else table[name]


def _meals(
    english: pd.Series, chinese: pd.Series, times: NDArray[np.float64]
) -> tuple[tuple[Event, ...], tuple[Event, ...]]:
    rows = [row for row, cell in enumerate(english) if isinstance(cell, str) and cell.strip()]
    made = (
        [Event("meal", float(times[row]), text=_text(column.iloc[row])) for row in rows]
        for column in (english, chinese)
    )
    one, other = (tuple(events) for events in made)
    return one, other


def _text(cell: object) -> str:
    text = cell.strip() if isinstance(cell, str) else ""
    return "" if text.lower() in _NOT_WRITTEN else text
