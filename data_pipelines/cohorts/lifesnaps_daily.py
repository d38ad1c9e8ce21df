"""LifeSnaps, daily table: four months of a Fitbit Sense, with mood and places."""

from collections import Counter
from collections.abc import Iterator
from functools import partial
from itertools import combinations
from pathlib import Path

import pandas as pd

from data_pipelines.cohorts._daily import daily, day_labels, midnights
from data_pipelines.cohorts._tables import csv_table
from data_pipelines.cohorts._visits import OneVisit, Visits
from data_pipelines.readers._slow import Worn
from hdt_fm.schema.errors import ReaderError
from hdt_fm.schema.recording import Visit
from hdt_fm.schema.subject import SubjectKey

_TABLE = "daily_fitbit_sema_df_unprocessed.csv"
_SIGNALS = {
    "temp": ("nightly_temperature", "celsius"),
    "hrv": ("rmssd", "ms"),
    "spo2": ("spo2", "%"),
    "resp_rate": ("full_sleep_breathing_rate", "1/min"),
    "heart_rate": ("bpm", "bpm"),
    "stress_score": ("stress_score", "1"),
    "eda": ("scl_avg", "uS"),
    "steps": ("steps", "1/d"),
    "energy": ("calories", "kcal/d"),
}
_LABELS = {
    "resting_heart_rate": ("resting_hr", "bpm"),
    "sleep_min": ("minutesAsleep", "min"),
    "sleep_efficiency": ("sleep_efficiency", "%"),
    "active_min": ("very_active_minutes", "min"),
    "sedentary_min": ("sedentary_minutes", "min"),
}
# How someone said they felt, and where they said they were, on a day: 1 or 0, where they were asked and answered.
_MOODS = ("ALERT", "HAPPY", "NEUTRAL", "RESTED/RELAXED", "SAD", "TENSE/ANXIOUS", "TIRED")
_PLACES = ("ENTERTAINMENT", "GYM", "HOME", "HOME_OFFICE", "OTHER", "OUTDOORS", "TRANSIT", "WORK/SCHOOL")
# What a day of one person hardly ever shares with a day of another, and how many such days say that two ids are one.
_DAY = ("date", "calories", "resting_hr")
_DAYS_ALIKE = 20
_SEXES = {"MALE": "M", "FEMALE": "F"}


class LifesnapsDaily:
    """One visit a person: a sample a day.

    Units: as the table of modalities has them; `steps` and `energy` are means over the day. Labels for a whole day:
        `mood_<word>` and `place_<word>` (1 or 0), sleep, activity, resting heart rate. Covariates: sex, age band
        (adults below 30, or `30+`), body mass index as published.
    Lossy: Shares and scores that Fitbit makes of other columns, badges, goals. A day's local midnight is taken as UTC.
        Resting heart rates of 0 and days of 0 steps or calories are days without the device. Of several rows of a
        person and day, the mean is taken. As published, two people stand there under two ids each: ids that share 20
        days and more are kept apart as subjects and tied as a group, so that no split parts them.

    Args:
        path: Folder with the daily table, as published.
        subject_key: See `SubjectKey.find`.
        limit: Only the first people, for a quick look; None is all.
    """

    name = "lifesnaps_daily"
    licence = "CC BY 4.0"
    source = "Yfantidou et al. 2022, doi:10.1038/s41597-022-01764-x"

    def __init__(self, *, path: str, subject_key: str = "auto", limit: int | None = None) -> None:
        self._folder, self._key, self._limit = Path(path), subject_key, limit

    def inputs(self) -> list[Path]:
        """The table."""
        path = self._folder / _TABLE
        if not path.is_file():
            raise ReaderError(
                "The cohort's folder lacks its table",
                where=str(self._folder),
                expected=_TABLE,
                fix="point cohort.path to the folder of the daily table",
            )
        return [path]

    def visits(self) -> Iterator[Visit]:
        """Each person in order of id; see `Visits` for what happens after an error."""
        (path,), key = self.inputs(), SubjectKey.find(self._key)
        wanted = [source for source, _ in (*_SIGNALS.values(), *_LABELS.values())]
        table = csv_table(path, needs=("id", "date", "age", "gender", "bmi", *wanted, *_MOODS, *_PLACES), where="table")
        first, parts = _first_ids(table), []
        for raw, rows in list(table.groupby("id", sort=True))[: self._limit]:
            subject, group = (key.pseudonym(self.name, str(one)) for one in (raw, first[str(raw)]))
            parts.append(OneVisit(partial(_read, rows.drop(columns="id"), subject, group), subject, (path,)))
        return Visits(parts)


def _first_ids(table: pd.DataFrame) -> dict[str, str]:
    """Of each id the first one, in order, that is of the same person."""
    told = table[(table["calories"].str.strip() != "") & (table["resting_hr"].str.strip() != "")]
    alike = [sorted(set(ids)) for _, ids in told.groupby(list(_DAY))["id"] if ids.nunique() > 1]
    days = Counter(pair for ids in alike for pair in combinations(ids, 2))
    first = {one: one for one in sorted(set(table["id"]))}
    for (one, other), count in sorted(days.items()):
        if count >= _DAYS_ALIKE:
            first[other] = first[one]
    return first


def _read(rows: pd.DataFrame, subject: str, group: str) -> Visit:
    times = midnights(rows["date"], where="date")
    rows = rows.assign(resting_hr=rows["resting_hr"].where(pd.to_numeric(rows["resting_hr"], errors="coerce") > 0, ""))
    said = {f"mood_{_word(name)}": (name, "1") for name in _MOODS} | {f"place_{_word(n)}": (n, "1") for n in _PLACES}
    return Visit(
        subject=subject,
        recordings=daily(rows, times, _SIGNALS, Worn(subject, "fitbit_sense", "wrist")),
        labels=day_labels(rows, times, {**_LABELS, **said}),
        covariates=_covariates(rows),
        group=group,
        source="lifesnaps_daily",
    )


def _word(name: str) -> str:
    return name.lower().replace("/", "_")


def _covariates(rows: pd.DataFrame) -> dict[str, str]:
    """The first that is told: a person's own words do not change, apart from days on which none is there."""
    said = {name: next((cell for cell in rows[name] if cell.strip()), "") for name in ("gender", "age", "bmi")}
    age, bmi = {"<30": "18-29", ">=30": "30+"}.get(said["age"], ""), {"<19": "10-18", ">=30": "30+"}
    found = {"sex": _SEXES.get(said["gender"], ""), "age_band": age, "bmi_band": bmi.get(said["bmi"], said["bmi"])}
    return {name: word for name, word in found.items() if word}
