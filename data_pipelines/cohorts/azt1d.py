"""AZT1D: people with type 1 diabetes on automated insulin delivery, four to seven weeks each."""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from data_pipelines.cohorts._diabetes import amounts, device_modes, insulin_rate, require_files
from data_pipelines.cohorts._tables import csv_table, numbers, with_columns
from data_pipelines.cohorts._visits import OneVisit, Visits
from data_pipelines.readers._cgm import glucose
from data_pipelines.readers._clock import local_seconds, local_to_utc_ns
from data_pipelines.readers._slow import Worn
from hdt_fm.schema.recording import Visit
from hdt_fm.schema.subject import SubjectKey

STEP_S = 300
MODES = ("regular", "sleep", "exercise")
_PERSON = re.compile(r"Subject (\d+)")
_TIME = "EventDateTime"
_GLUCOSE = ("CGM", "Readings (CGM / BGM)")
_EVENTS = {
    "bolus": "TotalBolusInsulinDelivered",
    "bolus_food": "FoodDelivered",
    "bolus_correction": "CorrectionDelivered",
    "carbs": "CarbSize",
}


class Azt1D:
    """One visit a person: glucose every 5 minutes, `insulin_rate`, and what was given and eaten.

    Units: glucose mg/dL; `insulin_rate` U/h; `bolus`, `bolus_food`, `bolus_correction` U; `carbs` g; `device_mode`
        is a class track.
    Lossy: The type of a bolus. Basal rates that no pump can give (hundreds of U/h, in seven people) are unobserved;
        where most are such, there is no `insulin_rate`. Zeros in the columns of doses mean none (Subject 8 writes them
        in each row). Local time without an offset is taken as UTC. Of rows at one time the first glucose stays.

    Args:
        path: The data set's folder, that holds `CGM Records`.
        subject_key: See `SubjectKey.find`.
        limit: Only the first people, for a quick look; None is all.
    """

    name = "azt1d"
    licence = "CC BY 4.0"
    source = "Khamesian et al. 2025, arXiv:2506.14789; doi:10.17632/gk9m674wcx.1"

    def __init__(self, *, path: str, subject_key: str = "auto", limit: int | None = None) -> None:
        self._folder, self._key, self._limit = Path(path), subject_key, limit

    def inputs(self) -> list[Path]:
        """One table a person."""
        found = {}
        for path in self._folder.glob("CGM Records/Subject */Subject *.csv*"):
            if match := _PERSON.match(path.name):
                found[int(match[1])] = path
        require_files(found, self._folder, "CGM Records/Subject N/Subject N.csv")
        return [found[number] for number in sorted(found)][: self._limit]

    def visits(self) -> Iterator[Visit]:
        """Each person in order of number; see `Visits` for what happens after an error."""
        key = SubjectKey.find(self._key)
        parts = []
        for path in self.inputs():
            subject = key.pseudonym(self.name, path.name.split(".")[0])
            parts.append(OneVisit(partial(_read, path, subject), subject, (path,)))
        return Visits(parts)


def _read(path: Path, subject: str) -> Visit:
    where = "table of a person"
    table = csv_table(path, needs=(_TIME, "Basal", "DeviceMode", *_EVENTS.values()), where=where)
    column = next((name for name in _GLUCOSE if name in table.columns), _GLUCOSE[0])
    table = with_columns(table, (column,), where)
    table = table[table[_TIME].str.strip() != ""]
    times = local_to_utc_ns(local_seconds(list(table[_TIME]), where=where), None)
    worn = Worn(subject, "dexcom_and_tandem")
    recordings = {
        "glucose": glucose(
            times, numbers(table[column], where=where), unit="mg/dL", step_s=STEP_S, worn=worn, where=where
        )
    }
    basal = insulin_rate(times, numbers(table["Basal"], where=where), step_s=STEP_S, worn=worn)
    if basal is not None:
        recordings["insulin_rate"] = basal
    tracks = [
        amounts(name, times, numbers(table[source], where=where), "g" if name == "carbs" else "U")
        for name, source in _EVENTS.items()
    ]
    tracks.append(device_modes(times, _modes(table["DeviceMode"]), MODES, step_s=STEP_S))
    return Visit(
        subject=subject,
        recordings=recordings,
        labels={track.name: track for track in tracks if len(track.values)},
        source="azt1d",
    )


def _modes(column: pd.Series) -> NDArray[np.int64]:
    words = column.str.strip().str.lower()
    return np.where(words == "sleep", 1, np.where(words == "exercise", 2, 0)).astype(np.int64)
