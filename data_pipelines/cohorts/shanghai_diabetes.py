"""Shanghai T1DM and T2DM: up to two weeks of glucose with insulin, drugs and meals, in and out of hospital."""

import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from data_pipelines.cohorts._diabetes import amounts, held, insulin_rate, require_files
from data_pipelines.cohorts._doses import Dose, doses_in, drug_track, insulin_track
from data_pipelines.cohorts._people import age_band
from data_pipelines.cohorts._tables import numbers, sheet
from data_pipelines.cohorts._visits import OneVisit, Visits
from data_pipelines.readers._cgm import glucose
from data_pipelines.readers._slow import Worn, events
from hdt_fm.schema.errors import ReaderError
from hdt_fm.schema.recording import NS_PER_S, LabelTrack, Recording, Visit
from hdt_fm.schema.subject import SubjectKey

STEP_S = 900
UTC_OFFSET_S = 8 * 3600
_FILE = re.compile(r"(?P<person>\d+)_(?P<recording>\d+)_\d{8}\.xlsx?")
# Headers differ a little from file to file; what is told of a column stands in it somewhere.
_COLUMNS = {
    "glucose": r"CGM",
    "finger": r"CBG",
    "ketone": r"Ketone",
    "diet": r"Dietary",
    "injected": r"s\.c\.",
    "drugs": r"Non-insulin",
    "pump_bolus": r"CSII\s*-\s*bolus",
    "pump_basal": r"CSII\s*-\s*basal|胰岛素泵基础量",
    "infused": r"i\.v\.",
}
_HEADER = re.compile(r"CSII - |Insulin dose - ")
_FINGER_MG_DL = (10.0, 1000.0)
_LONGEST_BASAL_S = 24 * 3600


class ShanghaiDiabetes:
    """One visit a recording; a patient may have several, and the subject is the patient.

    Units: glucose mg/dL every 15 minutes; `insulin_rate` U/h (pumps); `bolus`, `long_acting`, `intermediate`,
        `premixed`, `insulin_iv` U; `drug_<name>` mg; `meal` 1 for anything eaten; `finger_glucose` mg/dL; `ketone`
        mmol/L. Covariates: sex, age band, type of diabetes.
    Lossy: What was eaten (free text; amounts are of dishes). Doses are text, such as `Novolin R, 6 IU`, and become
        typed events by `_doses.py`; a cell without a dose in it is refused, apart from a pump that was switched off
        (0) and a header that was copied into a cell. Grams that no tablet has are read as milligrams. Clock: China
        Standard Time.

    Args:
        path: Folder that holds Shanghai_T1DM, Shanghai_T2DM and their summaries.
        subject_key: See `SubjectKey.find`.
        limit: Only the first recordings, for a quick look; None is all.
    """

    name = "shanghai_diabetes"
    licence = "CC BY 4.0"
    source = "Zhao et al. 2023, doi:10.1038/s41597-023-01940-7"

    def __init__(self, *, path: str, subject_key: str = "auto", limit: int | None = None) -> None:
        self._folder, self._key, self._limit = Path(path), subject_key, limit

    def inputs(self) -> list[Path]:
        """The recordings and the summaries."""
        return [*self._recordings(), *self._summaries()]

    def visits(self) -> Iterator[Visit]:
        """Each recording in order of patient and number; see `Visits` for what happens after an error."""
        key, people, parts = SubjectKey.find(self._key), self._people(), []
        for path in self._recordings():
            raw = _person(path)
            subject = key.pseudonym(self.name, raw)
            parts.append(OneVisit(partial(_read, path, subject, people.get(raw, {})), subject, (path,)))
        return Visits(parts)

    def _recordings(self) -> list[Path]:
        found = [path for path in self._folder.glob("Shanghai_T*/*.xls*") if _FILE.fullmatch(path.name)]
        require_files(found, self._folder, "Shanghai_T1DM/NNNN_N_YYYYMMDD.xlsx and the like")
        return sorted(found, key=lambda path: path.name)[: self._limit]

    def _summaries(self) -> list[Path]:
        return sorted(self._folder.glob("Shanghai_T*_Summary.xls*"))

    def _people(self) -> dict[str, dict[str, str]]:
        """Facts of each patient, from the first recording's row: they differ by a year or two between recordings."""
        facts: dict[str, dict[str, str]] = {}
        for path in self._summaries():
            needs = ("Patient Number", "Gender (Female=1, Male=2)", "Age (years)", "Type of Diabetes")
            table = sheet(path, needs=needs, where="summary").sort_values("Patient Number")
            for number, sex, age, kind in table[list(needs)].itertuples(index=False):
                band = age_band(int(age)) if pd.notna(age) else None
                known = {
                    "sex": {"1": "F", "2": "M"}.get(str(sex).split(".")[0]),
                    "age_band": band,
                    "diabetes": str(kind),
                }
                facts.setdefault(str(number).split("_")[0], {name: word for name, word in known.items() if word})
        return facts


def _person(path: Path) -> str:
    match = _FILE.fullmatch(path.name)
    assert match is not None
    return match["person"]


def _read(path: Path, subject: str, covariates: Mapping[str, str]) -> Visit:
    table = sheet(path, needs=("Date",), where="recording")
    column = {name: _column(table, pattern) for name, pattern in _COLUMNS.items()}
    moments = pd.to_datetime(table["Date"], errors="coerce")
    if moments.isna().any() or column["glucose"] is None:
        raise ReaderError("A recording lacks times or glucose", where="recording", expected="columns Date and CGM")
    times = moments.to_numpy().astype("datetime64[ns]").astype(np.int64) - UTC_OFFSET_S * NS_PER_S
    worn = Worn(subject, "freestyle_libre", "arm", UTC_OFFSET_S)
    measured = numbers(column["glucose"], where="CGM")
    recordings: dict[str, Recording] = {
        "glucose": glucose(times, measured, unit="mg/dL", step_s=STEP_S, worn=worn, where="CGM")
    }
    pumped, basal = _pump(column["pump_bolus"], column["pump_basal"], times, worn)
    if basal is not None:
        recordings["insulin_rate"] = basal
    tracks = [
        *_doses(times, column["injected"], column["drugs"], column["infused"], pumped),
        *_measured(times, column["finger"], column["ketone"]),
        _meals(times, column["diet"]),
    ]
    return Visit(
        subject=subject,
        recordings=recordings,
        labels={track.name: track for track in tracks if len(track.values)},
        covariates=dict(covariates),
        source="shanghai_diabetes",
    )


def _column(table: pd.DataFrame, pattern: str) -> pd.Series | None:
    name = next((name for name in table.columns if re.search(pattern, str(name), re.IGNORECASE)), None)
    return table[name] if name is not None else None


def _texts(column: pd.Series | None) -> Iterator[tuple[int, str]]:
    """Row and text of the cells that hold something."""
    for row, cell in enumerate(column if column is not None else ()):
        if not pd.isna(cell) and (text := str(cell).strip()) and not _HEADER.match(text):
            yield row, text


def _doses(
    times: NDArray[np.int64],
    injected: pd.Series | None,
    drugs: pd.Series | None,
    infused: pd.Series | None,
    pumped: list[tuple[int, Dose]],
) -> list[LabelTrack]:
    given: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for row, text in _texts(injected):
        for dose in doses_in(text, where="s.c."):
            given.setdefault((insulin_track(dose), "U"), []).append((row, dose.amount))
    for row, dose in [*pumped, *((r, d) for r, t in _texts(drugs) for d in doses_in(t, where="Non-insulin"))]:
        name = drug_track(dose) if dose.unit == "mg" else insulin_track(dose)
        given.setdefault((name, dose.unit), []).append((row, dose.amount))
    for row, text in _texts(infused):
        units = sum(dose.amount for dose in doses_in(text, where="i.v.") if dose.unit == "U")
        given.setdefault(("insulin_iv", "U"), []).append((row, units))
    return [
        amounts(name, times[[row for row, _ in rows]], np.array([amount for _, amount in rows]), unit)
        for (name, unit), rows in sorted(given.items())
    ]


def _pump(
    bolus: pd.Series | None, basal: pd.Series | None, times: NDArray[np.int64], worn: Worn
) -> tuple[list[tuple[int, Dose]], Recording | None]:
    """Boluses, and the rate as a recording; a bolus column may hold a drug (as text), a basal one words of a stop."""
    given = []
    for row, text in _texts(bolus):
        number = re.fullmatch(r"\d+(\.\d+)?", text)
        given += (
            [(row, Dose("regular", float(text), "U"))] if number else [(row, d) for d in doses_in(text, where="CSII")]
        )
    entries = [(row, 0.0 if "suspend" in text else float(text)) for row, text in _rates(basal)]
    if not entries:
        return given, None
    rows, rates = (np.array(column) for column in zip(*entries, strict=True))
    steady = held(times[rows], rates, step_s=STEP_S, longest_s=_LONGEST_BASAL_S)
    return given, insulin_rate(*steady, step_s=STEP_S, worn=worn)


def _rates(basal: pd.Series | None) -> Iterator[tuple[int, str]]:
    for row, text in _texts(basal):
        if "suspend" not in text and not re.fullmatch(r"\d+(\.\d+)?", text):
            raise ReaderError(
                "A basal rate is no number", where="CSII - basal", expected="U/h, or that it was suspended"
            )
        yield row, text


def _measured(times: NDArray[np.int64], finger: pd.Series | None, ketone: pd.Series | None) -> Iterator[LabelTrack]:
    if finger is not None:
        values = numbers(finger, where="CBG")
        low, high = _FINGER_MG_DL
        yield events("finger_glucose", times, np.where((values >= low) & (values <= high), values, np.nan), "mg/dL")
    if ketone is not None:
        yield events("ketone", times, numbers(ketone, where="Ketone"), "mmol/L")


def _meals(times: NDArray[np.int64], diet: pd.Series | None) -> LabelTrack:
    """`data not available` means eaten and not written down."""
    rows = [row for row, _ in _texts(diet)]
    return events("meal", times[rows], np.ones(len(rows)), "1")
