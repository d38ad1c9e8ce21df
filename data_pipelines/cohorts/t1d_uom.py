"""T1D-UOM: three months of everyday life with type 1 diabetes, with a Garmin watch."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from data_pipelines.cohorts._diabetes import amounts, held, insulin_rate, require_files
from data_pipelines.cohorts._tables import csv_table, numbers, with_columns
from data_pipelines.cohorts._visits import OneVisit, Visits
from data_pipelines.readers._clock import local_seconds
from data_pipelines.readers._slow import Worn, averaged, intervals, spread, utc_offsets
from hdt_fm.schema.errors import ReaderError
from hdt_fm.schema.recording import NS_PER_S, LabelTrack, Recording, Visit
from hdt_fm.schema.subject import SubjectKey

STAGES = ("deep", "light", "rem", "awake")
_ID = re.compile(r"UoM(?P<before>[A-Za-z]*)(?P<id>\d+)(?P<after>[A-Za-z]*)\.csv(\.gz)?")
_KINDS = ("Glucose", "Activity", "Nutrition", "sleep", "sleeptime", "Basal", "Bolus")
# 2303's glucose is contained in 2304's file: it is one person's or the other's, and nobody's twice.
_SHARED_GLUCOSE, _ITS_OWNER = "2304", "2303"
_MEALS = {"carbs": "carbs_g", "protein": "prot_g", "fat": "fat_g", "fibre": "fibre_g"}
# A pump's entry that nothing follows for so long says nothing any more.
_LONGEST_BASAL_S = 6 * 3600
# Above this share of intervals with two offsets from UTC, the file holds what two watches counted at once.
_TWO_WATCHES = 0.1
_FINE_S, _COARSE_S, _BETWEEN_S = 300, 900, 450


class T1DUom:
    """One visit a person, of what they have: glucose, a watch, insulin, meals and sleep.

    Units: glucose mg/dL (of mmol/L), every 5 or 15 minutes by sensor; `heart_rate` bpm and `stress_score` every 5
        minutes; `steps` 1/min, `energy` kcal/min (active) and `met` every 15; `insulin_rate` U/h (pumps); `bolus` and
        `long_acting` U; `carbs`, `protein`, `fat`, `fibre` g; `stage` of sleep.
    Lossy: Kinds and names of meals, distance, motion intensity, resting heart rate, daily sums. Times are local: they
        become UTC by the offsets that the person's own watch wrote, or British time where there is none. Glucose of
        2304 is left out (it holds 2303's); both are one group. Of 2305's activity, half is of a second watch, at the
        same time five hours west of Britain: only what is on British time is read.

    Args:
        path: The data set's folder, that holds `Glucose Data`.
        subject_key: See `SubjectKey.find`.
        limit: Only the first people, for a quick look; None is all.
    """

    name = "t1d_uom"
    licence = "CC BY 4.0"
    source = "T1D-UOM 2025, doi:10.5281/zenodo.15169263"

    def __init__(self, *, path: str, subject_key: str = "auto", limit: int | None = None) -> None:
        self._folder, self._key, self._limit = Path(path), subject_key, limit

    def inputs(self) -> list[Path]:
        """Every table of every person."""
        return sorted(path for files in self._people().values() for path in files.values())

    def visits(self) -> Iterator[Visit]:
        """Each person in order of id; see `Visits` for what happens after an error."""
        key = SubjectKey.find(self._key)
        parts = []
        for raw, files in self._people().items():
            subject = key.pseudonym(self.name, raw)
            group = key.pseudonym(self.name, _ITS_OWNER if raw == _SHARED_GLUCOSE else raw)
            files = {kind: path for kind, path in files.items() if (raw, kind) != (_SHARED_GLUCOSE, "Glucose")}
            parts.append(OneVisit(partial(_read, files, subject, group), subject, tuple(files.values())))
        return Visits(parts)

    def _people(self) -> dict[str, dict[str, Path]]:
        found: dict[str, dict[str, Path]] = {}
        for path in sorted(self._folder.rglob("UoM*.csv*")):
            match = _ID.fullmatch(path.name)
            if match and (kind := match["before"] + match["after"]) in _KINDS:
                found.setdefault(match["id"], {})[kind] = path
        require_files(found, self._folder, "Glucose Data/UoMGlucoseNNNN.csv and its neighbours")
        return {raw: found[raw] for raw in sorted(found)[: self._limit]}


@dataclass(frozen=True)
class _Clock:
    """The local clock of a person: what the watch's offset was from a local second on."""

    from_local_s: NDArray[np.int64]
    offset_s: NDArray[np.int64]

    def utc_ns(self, texts: pd.Series, where: str) -> NDArray[np.int64]:
        local = local_seconds(list(texts), where=where, order="day_first")
        if len(self.from_local_s):
            at = np.maximum(np.searchsorted(self.from_local_s, local, side="right") - 1, 0)
            return (local - self.offset_s[at]) * NS_PER_S
        return (local - np.where(_british_summer(local), 3600, 0)) * NS_PER_S

    def track(self, first_ns: int, last_ns: int) -> LabelTrack:
        """How far it is ahead of UTC from hour to hour."""
        utc_s = np.arange(first_ns // NS_PER_S, last_ns // NS_PER_S + 3600, 3600)
        if len(self.from_local_s):
            at = np.searchsorted(self.from_local_s - self.offset_s, utc_s, side="right") - 1
            offset_s = self.offset_s[np.maximum(at, 0)]
        else:
            offset_s = np.where(_british_summer(utc_s + 3600), 3600, 0)
        return utc_offsets(utc_s * NS_PER_S, offset_s)


def _british_summer(local_s: NDArray[np.int64]) -> NDArray[np.bool_]:
    """From 1 o'clock UTC on the last Sunday of March to that of October."""
    days = local_s.astype("datetime64[s]").astype("datetime64[Y]")
    edges = [
        np.busday_offset(days.astype("datetime64[M]") + month, 0, roll="forward", weekmask="Sun")
        - np.timedelta64(7, "D")
        for month in (3, 10)
    ]
    begin, end = ((edge.astype("datetime64[s]").astype(np.int64) + 3600) for edge in edges)
    return (local_s >= begin) & (local_s - 3600 < end)


def _read(files: Mapping[str, Path], subject: str, group: str) -> Visit:
    worn = Worn(subject, "garmin_watch", "wrist")
    activity = _table(files, "Activity", ("start_time_s", "start_time_offset_s", "step_count", "active_Kcal", "met"))
    activity = _one_watch(activity) if activity is not None else None
    clock = _clock(activity)
    recordings: dict[str, Recording] = {}
    tracks: list[LabelTrack] = []
    if (table := _table(files, "Glucose", ("bg_ts", "value"))) is not None:
        recordings["glucose"] = _glucose(table, clock, Worn(subject, "cgm"))
    if activity is not None:
        recordings |= _activity(activity, worn)
    if (table := _table(files, "sleep", ("sleep_ts", "heart_rate", "stress_level_value"))) is not None:
        recordings |= _all_day(table, clock, worn)
    if (table := _table(files, "Basal", ("basal_ts", "basal_dose", "insulin_kind"))) is not None:
        times, doses = clock.utc_ns(table["basal_ts"], "Basal"), numbers(table["basal_dose"], where="Basal")
        pump = (table["insulin_kind"].str.strip() == "R").to_numpy()
        tracks.append(amounts("long_acting", times[~pump], doses[~pump], "U"))
        if pump.any():
            rate = held(times[pump], doses[pump], step_s=_FINE_S, longest_s=_LONGEST_BASAL_S)
            basal = insulin_rate(*rate, step_s=_FINE_S, worn=Worn(subject, "insulin_pump"))
            recordings |= {"insulin_rate": basal} if basal is not None else {}
    if (table := _table(files, "Bolus", ("bolus_ts", "bolus_dose"))) is not None:
        times = clock.utc_ns(table["bolus_ts"], "Bolus")
        tracks.append(amounts("bolus", times, numbers(table["bolus_dose"], where="Bolus"), "U"))
    if (table := _table(files, "Nutrition", ("meal_ts", *_MEALS.values()))) is not None:
        times = clock.utc_ns(table["meal_ts"], "Nutrition")
        tracks += [amounts(n, times, numbers(table[c], where="Nutrition"), "g") for n, c in _MEALS.items()]
    if (table := _table(files, "sleeptime", ())) is not None:
        tracks.append(_stages(table))
    if recordings:
        spans = [(one.start_ns, one.end_ns) for one in recordings.values()]
        tracks.append(clock.track(min(first for first, _ in spans), max(last for _, last in spans)))
    labels = {track.name: track for track in tracks if len(track.values)}
    return Visit(subject=subject, recordings=recordings, labels=labels, group=group, source="t1d_uom")


def _table(files: Mapping[str, Path], kind: str, needs: tuple[str, ...]) -> pd.DataFrame | None:
    return csv_table(files[kind], needs=needs, where=f"{kind} table") if kind in files else None


def _one_watch(activity: pd.DataFrame) -> pd.DataFrame:
    """Rows of the watch on British time, where two watches tell of the same quarters of an hour."""
    begins = numbers(activity["start_time_s"], where="Activity table").astype(np.int64)
    offsets = numbers(activity["start_time_offset_s"], where="Activity table").astype(np.int64)
    pairs = np.unique(np.stack([begins, offsets]), axis=1)
    twice = np.unique(pairs[0], return_counts=True)[1] > 1
    if twice.mean() <= _TWO_WATCHES:
        return activity
    british = np.where(_british_summer(begins + 3600), 3600, 0)
    return activity[offsets == british]


def _clock(activity: pd.DataFrame | None) -> _Clock:
    if activity is None:
        return _Clock(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))
    begins = numbers(activity["start_time_s"], where="Activity table").astype(np.int64)
    offsets = numbers(activity["start_time_offset_s"], where="Activity table").astype(np.int64)
    order = np.argsort(begins + offsets, kind="stable")
    return _Clock((begins + offsets)[order], offsets[order])


def _glucose(table: pd.DataFrame, clock: _Clock, worn: Worn) -> Recording:
    times = clock.utc_ns(table["bg_ts"], "Glucose")
    steps = np.diff(np.unique(times)) / NS_PER_S
    # Scanned sensors give a value every 15 minutes and further ones whenever someone looked.
    frequent = len(steps) and np.median(steps[steps > 60]) < _BETWEEN_S and (steps >= _COARSE_S).mean() < 0.1
    return averaged(
        times,
        numbers(table["value"], where="Glucose"),
        modality="glucose",
        unit="mmol/L",
        channel="cgm",
        step_s=_FINE_S if frequent else _COARSE_S,
        worn=worn,
        where="Glucose",
    )


def _activity(table: pd.DataFrame, worn: Worn) -> dict[str, Recording]:
    """Several rows share a quarter of an hour, one for each kind of activity in it."""
    where = "Activity table"
    begins = numbers(table["start_time_s"], where=where)
    spent = numbers(with_columns(table, ("active_time_s", "duration_s"), where)["active_time_s"], where=where)
    whole = numbers(table["duration_s"], where=where)
    starts = (begins * NS_PER_S).astype(np.int64)
    ends = starts + (np.maximum(whole, 60) * NS_PER_S).astype(np.int64)
    columns = {
        "steps": (numbers(table["step_count"], where=where), "1/min"),
        "energy": (numbers(table["active_Kcal"], where=where), "kcal/min"),
        "met": (numbers(table["met"], where=where) * np.minimum(spent, whole) / 60, "1"),
    }
    return {
        name: spread(
            starts,
            ends,
            amounts_,
            modality=name,
            unit=unit,
            channel=name,
            step_s=_COARSE_S,
            worn=worn,
            where=where,
        )
        for name, (amounts_, unit) in columns.items()
    }


def _all_day(table: pd.DataFrame, clock: _Clock, worn: Worn) -> dict[str, Recording]:
    times, found = clock.utc_ns(table["sleep_ts"], "sleep"), {}
    for name, column, unit in (("heart_rate", "heart_rate", "bpm"), ("stress_score", "stress_level_value", "1")):
        values = numbers(table[column], where="sleep")
        # 0 bpm, and -1 or -2 of stress, are what the watch writes where it could not tell.
        known = values > 0
        if known.any():
            found[name] = averaged(
                times[known],
                values[known],
                modality=name,
                unit=unit,
                channel=name,
                step_s=_FINE_S,
                worn=worn,
                where="sleep table",
            )
    return found


def _stages(table: pd.DataFrame) -> LabelTrack:
    rows: list[tuple[int, int, int]] = []
    for place, stage in enumerate(STAGES):
        column = next((c for c in table.columns if c.replace(".", "_") == f"sleep_levels_map_{stage}"), None)
        for text in table[column] if column else ():
            rows += [(begin, end, place) for begin, end in _spans(text)]
    begins, ends, stages = (
        (np.array(column, dtype=np.int64) for column in zip(*rows, strict=True))
        if rows
        else (np.empty(0, dtype=np.int64),) * 3
    )
    begins, ends, stages = (column[_first_told(begins, ends)] for column in (begins, ends, stages))
    return intervals("stage", begins * NS_PER_S, ends * NS_PER_S, stages.astype(np.float64), classes=STAGES)


def _spans(text: str) -> Iterator[tuple[int, int]]:
    if not text.strip():
        return
    try:
        for span in json.loads(text):
            yield int(span["startTimeInSeconds"]), int(span["endTimeInSeconds"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ReaderError("The stages of a night cannot be read", where="sleeptime", got=type(error).__name__) from None


def _first_told(begins: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.int64]:
    """Intervals in order of time without those that overlap an earlier one: a night may have been sent twice."""
    kept, until = [], np.iinfo(np.int64).min
    for place in np.lexsort((ends, begins)):
        if begins[place] >= until:
            kept.append(place)
            until = ends[place]
    return np.array(kept, dtype=np.int64)
