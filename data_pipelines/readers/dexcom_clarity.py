"""Dexcom Clarity: CSV exports of a glucose sensor."""

import re
from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from data_pipelines.readers._cgm import Diary, header_unit
from data_pipelines.readers._clock import local_seconds, local_to_utc_ns
from data_pipelines.readers._exports import LOOK, head, own_files
from data_pipelines.readers._files import read_bytes
from data_pipelines.readers._rows import Rows, read_rows
from data_pipelines.readers._slow import Worn, intervals
from hdt_fm.schema.recording import NS_PER_S, LabelTrack, Visit

_HEADER = re.compile(rb"(?i)event type.*event subtype.*glucose value")
_EFFORTS = ("light", "medium", "heavy")
# Event Type, Event Subtype (None: any) -> label and unit.
_DOSES = (
    ("Insulin", "Fast-Acting", "bolus", "U", r"insulin value.*"),
    ("Insulin", "Long-Acting", "long_acting", "U", r"insulin value.*"),
    ("Carbs", None, "carbs", "g", r"carb value.*"),
)


class DexcomClarity:
    """Reads one person's exports: a CSV, or a folder of CSVs of several spans.

    Format: Clarity CSV (clarity.dexcom.com, "Export"): Index, Timestamp, Event Type, Event Subtype, Patient Info,
        Device Info, Source Device ID, Glucose Value, Insulin Value, Carb Value, Duration, ...; rows without a time
        before the readings.
    Units: glucose mg/dL, or mmol/L if the header says so; labels bolus and long_acting U, carbs g,
        finger_glucose (calibrations) mg/dL.
    Lossy: Names, birth date, device ids, alerts, notes and the rate of change. `Low` and `High` are unobserved, and
        counted in the label track glucose_beyond. Readings go to the nearest place of a 5-minute grid (1 or 15 if the
        sensor's step is that). Times are the display's local time: give `utc_offset_s`, or they are taken as UTC. An
        hour that a local clock showed twice is read as one.

    Args:
        utc_offset_s: Of the local time, if known.
    """

    def __init__(self, *, utc_offset_s: int | None = None) -> None:
        self._offset = utc_offset_s

    @staticmethod
    def detect(path: Path) -> bool:
        """Whether it begins with the columns of a Clarity export, or is a folder with such a file."""
        return bool(_files(path, LOOK))

    def read(self, path: Path, *, subject: str) -> Visit:
        """Read glucose, calibrations, doses, meals and exercise.

        Raises:
            ReaderError: If a file is cut off or edited, or holds no glucose.
            UnitError: If most readings cannot be in the header's unit.
        """
        diary, exercise = Diary(), []
        for number, file in enumerate(_files(path) or [path], start=1):
            rows = read_rows(read_bytes(file), _HEADER, where=f"Clarity export {number}")
            exercise += self._add(diary, rows.filled(rows.need(r"timestamp.*", "times")))
        worn = Worn(subject, "dexcom", utc_offset_s=self._offset)
        return diary.visit(worn, source="dexcom_clarity", further=exercise[:1], where="Glucose Value")

    def _add(self, diary: Diary, rows: Rows) -> list[LabelTrack]:
        stamp, kind = rows.need(r"timestamp.*", "times"), rows.need(r"event type", "events")
        value = rows.need(r"glucose value.*", "glucose")
        unit = header_unit(value, where=rows.where)
        for word in ("EGV", "Calibration"):
            found = rows.where_equal(kind, word)
            times = local_to_utc_ns(local_seconds(found.texts(stamp), where=stamp), self._offset)
            if word == "EGV":
                diary.add_glucose(times, found.readings(value), unit)
            else:
                diary.add_events("finger_glucose", times, found.readings(value)[0], unit)
        for word, subtype, name, dose_unit, pattern in _DOSES:
            found, column = rows.where_equal(kind, word), rows.find(pattern)
            if subtype is not None:
                found = found.where_equal(rows.need("event subtype", "subtypes"), subtype)
            if column is not None and found.table.num_rows:
                times = local_to_utc_ns(local_seconds(found.texts(stamp), where=stamp), self._offset)
                diary.add_events(name, times, found.numbers(column), dose_unit)
        return self._exercise(rows.where_equal(kind, "Exercise"), stamp)

    def _exercise(self, rows: Rows, stamp: str) -> list[LabelTrack]:
        subtype, duration = rows.find("event subtype"), rows.find(r"duration.*")
        if subtype is None or duration is None or rows.table.num_rows == 0:
            return []
        rows = rows.only(pc.match_substring_regex(rows.texts(duration), r"^\d{1,3}:\d{2}:\d{2}$"))
        times = local_to_utc_ns(local_seconds(rows.texts(stamp), where=stamp), self._offset)
        parts = [[int(part) for part in text.split(":")] for text in rows.texts(duration).to_pylist()]
        seconds = np.array([h * 3600 + m * 60 + s for h, m, s in parts], dtype=np.int64)
        words = [(text or "").strip().lower() for text in rows.texts(subtype).to_pylist()]
        efforts = np.array([_EFFORTS.index(w) if w in _EFFORTS else np.nan for w in words], dtype=np.float64)
        return [intervals("exercise", times, times + seconds * NS_PER_S, efforts, classes=_EFFORTS)]


def _files(path: Path, look: int | None = None) -> list[Path]:
    return own_files(path, (".csv", ".csv.gz"), lambda file: bool(_HEADER.search(head(file, 4096))), look)
