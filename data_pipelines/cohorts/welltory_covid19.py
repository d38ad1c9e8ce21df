"""Welltory COVID-19 and wearables: heart rate variability, daily summaries, symptoms and weather in 2020."""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from data_pipelines.cohorts._daily import daily, day_labels, midnights
from data_pipelines.cohorts._diabetes import require_files
from data_pipelines.cohorts._tables import csv_table, numbers
from data_pipelines.cohorts._visits import OneVisit, Visits
from data_pipelines.readers._clock import local_seconds
from data_pipelines.readers._slow import Worn, events, intervals
from hdt_fm.schema.errors import ReaderError
from hdt_fm.schema.recording import NS_PER_S, LabelTrack, Visit
from hdt_fm.schema.subject import SubjectKey

_TABLES = {
    "participants": ("user_code", "gender", "age_range", "symptoms_onset"),
    "hrv_measurements": (
        "user_code",
        "measurement_datetime",
        "rmssd",
        "sdnn",
        "bpm",
        "how_feel",
        "how_mood",
        "rr_data",
    ),
    "blood_pressure": ("user_code", "measurement_datetime", "diastolic", "systolic"),
    "wearables": ("user_code", "day"),
    "weather": ("user_code", "day"),
    "sleep": ("user_code", "sleep_begin", "sleep_end"),
    "surveys": ("user_code", "scale", "created_at", "value"),
}
_SIGNALS = {
    "heart_rate": ("pulse_average", "bpm"),
    "spo2": ("average_spo2_value", "1"),
    "steps": ("steps_count", "1/d"),
    "energy": ("total_calories_burned", "kcal/d"),
    "sound": ("average_environment_exposure", "dB"),
}
_BODY = {"resting_heart_rate": ("resting_pulse", "bpm"), "body_temperature": ("body_temperature_avg", "celsius")}
_OUTSIDE = {
    "outdoor_temperature": ("avg_temperature_C", "celsius"),
    "outdoor_pressure": ("atmospheric_pressure", "hPa"),
    "outdoor_humidity": ("humidity", "%"),
    # Nothing in the release says so; as mm/h it would rain 33 mm a year where these people live, as in/h 830 mm.
    "precipitation": ("precip_intensity", "in/h"),
    "clouds": ("clouds", "%"),
}
_SPOT = {
    "hrv": ("rmssd", "ms"),
    "sdnn": ("sdnn", "ms"),
    "pulse": ("bpm", "bpm"),
    "felt": ("how_feel", "1"),
    "mood": ("how_mood", "1"),
}
_SYMPTOMS = "S_COVID_"
_RR_MS = (200.0, 3000.0)


class WelltoryCovid19:
    """One visit a person, of what they gave: spot measurements with their beats, daily summaries, symptoms, weather.

    Units: daily recordings in the units of the table of modalities; `beats` events with the interval before each in s;
        `hrv`, `sdnn` (ms), `pulse` (bpm), `felt`, `mood` events at each measurement; `systolic`, `diastolic` mmHg;
        `asleep`; `symptom_<name>` as answered (1 is none); `symptoms_onset`; for each day `outdoor_temperature`,
        `outdoor_pressure` in hPa (the published table of units says mmHg, the values are not), `outdoor_humidity`,
        `precipitation`, `clouds`, `resting_heart_rate`, `body_temperature`. Covariates: sex, age band.
    Lossy: City and country, height and weight, surveys of earlier illnesses (rare ones name a person), tags, and
        indices that were computed from other columns. Intervals between beats outside of 0.2 to 3 s. Times are local
        and taken as UTC.

    Args:
        path: Folder of the tables, as published.
        subject_key: See `SubjectKey.find`.
        limit: Only the first people, for a quick look; None is all.
    """

    name = "welltory_covid19"
    licence = "CC0 1.0"
    source = "Welltory COVID-19 and Wearables Open Data Research, 2020"

    def __init__(self, *, path: str, subject_key: str = "auto", limit: int | None = None) -> None:
        self._folder, self._key, self._limit = Path(path), subject_key, limit

    def inputs(self) -> list[Path]:
        """The tables that are there; the people's must be."""
        found = [path for name in _TABLES if (path := self._folder / f"{name}.csv").is_file()]
        require_files([path for path in found if path.stem == "participants"], self._folder, "participants.csv")
        return found

    def visits(self) -> Iterator[Visit]:
        """Each person in order of code; see `Visits` for what happens after an error."""
        files, key = tuple(self.inputs()), SubjectKey.find(self._key)
        tables = {path.stem: csv_table(path, needs=_TABLES[path.stem], where=path.name) for path in files}
        _refuse_strangers(tables)
        rows = {name: {str(code): own for code, own in table.groupby("user_code")} for name, table in tables.items()}
        parts = []
        for raw in sorted(rows["participants"])[: self._limit]:
            subject = key.pseudonym(self.name, raw)
            own = {name: groups[raw].drop(columns="user_code") for name, groups in rows.items() if raw in groups}
            parts.append(OneVisit(partial(_read, own, subject), subject, files))
        return Visits(parts)


def _refuse_strangers(tables: Mapping[str, pd.DataFrame]) -> None:
    known = set(tables["participants"]["user_code"])
    for name, table in tables.items():
        strangers = set(table["user_code"]) - known
        if strangers:
            raise ReaderError(
                "A table names people who are not among the participants",
                where=f"{name}.csv",
                got=f"{len(strangers)} of them",
                fix="take the tables as they were published, all of one release",
            )


def _read(own: Mapping[str, pd.DataFrame], subject: str) -> Visit:
    worn = Worn(subject, "phone_and_wearables")
    tracks: dict[str, LabelTrack] = {}
    recordings = {}
    if (table := own.get("wearables")) is not None:
        days = midnights(table["day"], where="wearables")
        recordings = daily(table, days, _SIGNALS, worn)
        tracks |= day_labels(table, days, _BODY)
    if (table := own.get("weather")) is not None:
        tracks |= day_labels(table, midnights(table["day"], where="weather"), _OUTSIDE)
    for track in (*_measurements(own), *_nights(own), *_surveys(own), *_onset(own["participants"])):
        if len(track.values):
            tracks[track.name] = track
    return Visit(
        subject=subject,
        recordings=recordings,
        labels=tracks,
        covariates=_covariates(own["participants"]),
        source="welltory_covid19",
    )


def _moments(texts: pd.Series, where: str) -> NDArray[np.int64]:
    return local_seconds([" ".join(text.split()) for text in texts], where=where) * NS_PER_S


def _measurements(own: Mapping[str, pd.DataFrame]) -> Iterator[LabelTrack]:
    if (table := own.get("hrv_measurements")) is not None:
        times = _moments(table["measurement_datetime"], "hrv_measurements")
        for name, (column, unit) in _SPOT.items():
            yield events(name, times, numbers(table[column], where=column), unit)
        yield _beats(times, table["rr_data"])
    if (table := own.get("blood_pressure")) is not None:
        times = _moments(table["measurement_datetime"], "blood_pressure")
        for name in ("systolic", "diastolic"):
            yield events(name, times, numbers(table[name], where=name), "mmHg")


def _beats(begins_ns: NDArray[np.int64], intervals_ms: pd.Series) -> LabelTrack:
    """Each measurement's beats, one after another from its start; a beat after an odd interval is left out."""
    times, values = [], []
    for begin, text in zip(begins_ns.tolist(), intervals_ms, strict=True):
        gaps = numbers(text.split(",") if text.strip() else [], where="rr_data")
        gaps = gaps[np.isfinite(gaps)]
        plausible = (gaps >= _RR_MS[0]) & (gaps <= _RR_MS[1])
        times.append((begin + np.cumsum(gaps) * 1e6).astype(np.int64)[plausible])
        values.append(gaps[plausible] / 1e3)
    return events("beats", np.concatenate(times), np.concatenate(values), "s")


def _nights(own: Mapping[str, pd.DataFrame]) -> Iterator[LabelTrack]:
    if (table := own.get("sleep")) is not None:
        begins, ends = _moments(table["sleep_begin"], "sleep"), _moments(table["sleep_end"], "sleep")
        yield intervals("asleep", begins, ends, np.ones(len(begins)), unit="1")


def _surveys(own: Mapping[str, pd.DataFrame]) -> Iterator[LabelTrack]:
    if (table := own.get("surveys")) is not None:
        for scale, rows in table[table["scale"].str.startswith(_SYMPTOMS)].groupby("scale"):
            name = "symptom_" + str(scale).removeprefix(_SYMPTOMS).lower()
            yield events(
                name, midnights(rows["created_at"], where="surveys"), numbers(rows["value"], where="value"), "1"
            )


def _onset(person: pd.DataFrame) -> Iterator[LabelTrack]:
    told = [text for text in person["symptoms_onset"] if text.strip()]
    if told:
        times = local_seconds(told, where="symptoms_onset", order="month_first") * NS_PER_S
        yield events("symptoms_onset", times, np.ones(len(told)), "1")


def _covariates(person: pd.DataFrame) -> dict[str, str]:
    found = {
        "sex": {"f": "F", "m": "M"}.get(person["gender"].iloc[0].strip(), ""),
        "age_band": person["age_range"].iloc[0],
    }
    return {name: word for name, word in found.items() if word}
