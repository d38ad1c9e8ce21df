"""Stress-Predict: wrist sessions of a laboratory stress protocol, with its labels."""

import io
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, time, timedelta
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from data_pipelines.cohorts._visits import OneVisit, Visits
from data_pipelines.readers._files import read_bytes, whole_workbook
from data_pipelines.readers._numbers import parse_csv
from data_pipelines.readers._recordings import datetime_to_ns
from data_pipelines.readers.empatica_e4 import EmpaticaE4
from hdt_fm.schema.errors import ReaderError
from hdt_fm.schema.recording import NS_PER_S, LabelTrack, Visit
from hdt_fm.schema.subject import SubjectKey

CLASSES = ("rest", "stress")
_LABELS = Path("Processed_data") / "Improved_All_Combined_hr_rsp_binary.csv"
_TIME_LOGS = Path("Processed_data") / "Time_logs.xlsx"
_STRESS_TASKS = ("Stroop Test", "Interview", "Hyperventilation")
# Nobody was recorded before 8 in the morning, so an earlier hour of the 12-hour log is in the afternoon.
_FIRST_HOUR = 8


class StressPredict:
    """One visit a participant: `Raw_data/Sxx.zip` with a `stress` class track.

    The label is given second by second (0 rest, 1 stress) on the same clock as the signals; equal neighbours are
    joined into one interval. A participant without rows there (S01) is labelled from the task times in
    `Time_logs.xlsx`, which are whole minutes: those edges are up to a minute off. Seconds that neither file speaks
    of (consent, putting the device on) have no label.

    Args:
        path: Folder of the data set, with Raw_data and Processed_data.
        subject_key: See `SubjectKey.find`; `public` gives the same pseudonyms everywhere.
        limit: Only the first sessions, for a quick look; None is all.
    """

    name = "stress_predict"
    licence = "MIT"
    source = "Iqbal et al. 2022, doi:10.3390/s22218135; github.com/italha-d/Stress-Predict-Dataset"

    def __init__(self, *, path: str, subject_key: str = "auto", limit: int | None = None) -> None:
        self._folder = Path(path)
        self._key = subject_key
        self._limit = limit

    def inputs(self) -> list[Path]:
        """The sessions, the label file and the time log."""
        labels = self._folder / _LABELS
        others = [labels.with_suffix(".csv.gz"), labels, self._folder / _TIME_LOGS]
        return [*self._sessions(), *(path for path in others if path.is_file())]

    def visits(self) -> Iterator[Visit]:
        """Each session in order of name; see `Visits` for what happens after an error."""
        key, stress = SubjectKey.find(self._key), self._stress_tracks()
        sessions = [(path, key.pseudonym(self.name, path.stem)) for path in self._sessions()]
        return Visits(
            [
                OneVisit(partial(_read, path, subject, stress.get(path.stem)), subject, (path,))
                for path, subject in sessions
            ]
        )

    def _sessions(self) -> list[Path]:
        sessions = sorted(path for path in (self._folder / "Raw_data").glob("S*") if EmpaticaE4.detect(path))
        if not sessions:
            raise ReaderError(
                "The cohort's folder holds no session",
                where=str(self._folder),
                expected="Raw_data/Sxx.zip (Empatica E4)",
                fix="point cohort.path to the stress_predict folder",
            )
        return sessions[: self._limit]

    def _stress_tracks(self) -> dict[str, LabelTrack]:
        seconds = self._labelled_seconds()
        logged = _time_logs(self._folder / _TIME_LOGS, skip=set(seconds))
        return logged | {name: _joined(times, labels) for name, (times, labels) in seconds.items()}

    def _labelled_seconds(self) -> dict[str, tuple[NDArray[np.int64], NDArray[np.int64]]]:
        plain = self._folder / _LABELS
        path = next((path for path in (plain.with_suffix(".csv.gz"), plain) if path.is_file()), None)
        if path is None:
            return {}
        table = parse_csv(read_bytes(path), where=plain.name)
        missing = [name for name in ("Participant", "Time(sec)", "Label") if name not in table.column_names]
        if missing:
            raise ReaderError("The label file lacks a column", where=plain.name, expected=", ".join(missing))
        people, times, labels = (table.column(name).to_numpy() for name in ("Participant", "Time(sec)", "Label"))
        if not np.isin(labels, (0, 1)).all():
            raise ReaderError("The label file holds another label", where=plain.name, expected="0 (rest), 1 (stress)")
        return {
            f"S{person:02d}": (times[people == person].astype(np.int64), labels[people == person].astype(np.int64))
            for person in np.unique(people).astype(int).tolist()
        }


def _read(path: Path, subject: str, stress: LabelTrack | None) -> Visit:
    visit = EmpaticaE4().read(path, subject=subject)
    # Button presses mark the tasks' edges, which the stress track holds already.
    labels = {name: track for name, track in visit.labels.items() if name != "tags"}
    if stress is not None:
        labels["stress"] = stress
    return replace(visit, labels=labels, source="stress_predict")


def _joined(times_s: NDArray[np.int64], labels: NDArray[np.int64]) -> LabelTrack:
    """One interval for each stretch of consecutive seconds with one label."""
    order = np.argsort(times_s, kind="stable")
    times_s, labels = times_s[order], labels[order]
    new = np.flatnonzero((np.diff(times_s) != 1) | (np.diff(labels) != 0)) + 1
    first, last = np.concatenate([[0], new]), np.concatenate([new, [len(labels)]]) - 1
    return _stress(times_s[first] * NS_PER_S, (times_s[last] + 1) * NS_PER_S, labels[first])


def _stress(starts: NDArray[np.int64], ends: NDArray[np.int64], labels: NDArray[np.int64]) -> LabelTrack:
    return LabelTrack("stress", "class", starts, ends, labels.astype(np.float64), classes=CLASSES)


def _time_logs(path: Path, skip: set[str]) -> dict[str, LabelTrack]:
    """Stress tracks from the log, for participants who are not in `skip`."""
    if not path.is_file():
        return {}
    sheet = pd.read_excel(io.BytesIO(whole_workbook(read_bytes(path))), header=None)
    tasks = sheet.iloc[0].ffill().astype(str)
    edges = sheet.iloc[1].astype(str)
    tracks = {}
    for _, row in sheet.iloc[2:].iterrows():
        name = str(row[0])
        if name in skip or pd.isna(row[sheet.columns[-1]]):
            continue
        day = pd.Timestamp(row[sheet.columns[-1]]).to_pydatetime()
        spans = [
            (task, _moment(day, row[column]), _moment(day, row[column + 1]))
            for column, (task, edge) in enumerate(zip(tasks, edges, strict=True))
            if edge == "Start" and task != "Consent" and isinstance(row[column], time)
        ]
        tracks[name] = _from_tasks([(task in _STRESS_TASKS, start, end) for task, start, end in spans])
    return tracks


def _from_tasks(spans: list[tuple[bool, datetime, datetime]]) -> LabelTrack:
    """Stress during the stress tasks, rest from the first to the last logged minute besides."""
    stress = sorted((start, end) for is_stress, start, end in spans if is_stress)
    cuts = [min(start for _, start, _ in spans), *(t for span in stress for t in span), max(end for *_, end in spans)]
    moments = np.array([datetime_to_ns(moment) for moment in cuts], dtype=np.int64)
    # Rest, stress, rest, ... ; a rest of no length falls away.
    labels = np.arange(len(moments) - 1) % 2
    kept = moments[1:] > moments[:-1]
    return _stress(moments[:-1][kept], moments[1:][kept], labels[kept])


def _moment(day: datetime, clock: time) -> datetime:
    hours = clock.hour + (12 if clock.hour < _FIRST_HOUR else 0)
    return day + timedelta(hours=hours, minutes=clock.minute, seconds=clock.second)
