"""Glooko: the zip of tables that a pump and a glucose sensor were uploaded to."""

import re
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_pipelines.readers._cgm import Diary, header_unit
from data_pipelines.readers._clock import Order, local_seconds, local_to_utc_ns
from data_pipelines.readers._files import BROKEN_ZIP, members
from data_pipelines.readers._rows import Rows, read_rows
from data_pipelines.readers._slow import Worn, spread
from hdt_fm.schema.recording import NS_PER_S, Recording, Visit

_NAME = re.compile(r"(cgm|bg|bolus|basal|carbs|food|insulin|manual_insulin)_data_\d+\.csv", re.IGNORECASE)
_HEADER = re.compile(rb"(?i)^\W*timestamp\b")
_GLUCOSE = r".*glucose value.*\((?:mmol/l|mg/dl)\)|bg value.*"
_CARBS = r"carbs.*\(g\)"
_DOSE = r"dose \(units\)|insulin delivered \(u\)|value"
_BASAL_S = 300


class Glooko:
    """Reads one person's export: the zip, or a folder with its files.

    Format: Glooko export (glooko.com, "Export to CSV"): cgm_data_N, bg_data_N, bolus_data_N, basal_data_N,
        carbs_data_N, food_data_N, insulin_data_N and manual_insulin_data_N.csv, each with a title line and a header,
        separated by tabs or commas.
    Units: glucose mmol/L or mg/dL as the header says; insulin_rate (basal) U/h; labels bolus and insulin U, carbs g,
        finger_glucose mg/dL.
    Lossy: Names, serial numbers, trend arrows, notes, kinds of bolus, alarms, exercise and medication. Carbs beside a
        bolus and in a table of their own are one track. Readings go to the nearest place of the sensor's step; basal
        rates of intervals become their mean in each 5 minutes. Times are local: give `utc_offset_s`, or they are taken
        as UTC.

    Args:
        utc_offset_s: Of the local time, if known.
        dates: Order of day and month where the year is not first.
    """

    def __init__(self, *, utc_offset_s: int | None = None, dates: Order = "auto") -> None:
        self._offset, self._dates = utc_offset_s, dates

    @staticmethod
    def detect(path: Path) -> bool:
        """Whether it is a zip or folder with a file named as in a Glooko export, glucose or insulin among them."""
        return any(_NAME.fullmatch(name) for name in _names(path))

    def read(self, path: Path, *, subject: str) -> Visit:
        """Read glucose, basal rates, doses and carbohydrates.

        Raises:
            ReaderError: If the zip is damaged, a table is cut off or edited, or there is no glucose.
            UnitError: If most readings cannot be in the header's unit.
        """
        tables = self._tables(members(path))
        diary, basal = Diary(), []
        worn = Worn(subject, "glooko", utc_offset_s=self._offset)
        for kind, rows in tables:
            times = self._times(rows)
            if kind == "basal":
                basal.append((times, rows))
            elif kind in ("cgm", "bg"):
                value = rows.need(_GLUCOSE, "glucose")
                unit, readings = header_unit(value, where=rows.where), rows.readings(value)
                if kind == "cgm":
                    diary.add_glucose(times, readings, unit)
                else:
                    diary.add_events("finger_glucose", times, readings[0], unit)
            else:
                _add_doses(diary, kind, rows, times)
        visit = diary.visit(worn, source="glooko", where="cgm_data")
        rate = _basal(basal, worn) if basal else None
        return visit if rate is None else replace(visit, recordings={**visit.recordings, "insulin_rate": rate})

    def _tables(self, files: Mapping[str, Callable[[], bytes]]) -> Iterable[tuple[str, Rows]]:
        for name in sorted(files):
            match = _NAME.fullmatch(name)
            if match:
                rows = read_rows(files[name](), _HEADER, where=name.lower())
                rows = rows.filled(rows.need("timestamp", "times"))
                if rows.table.num_rows:
                    yield match[1].lower(), rows

    def _times(self, rows: Rows) -> NDArray[np.int64]:
        stamp = rows.need("timestamp", "times")
        return local_to_utc_ns(local_seconds(rows.texts(stamp), where=rows.where, order=self._dates), self._offset)


def _names(path: Path) -> list[str]:
    try:
        if path.is_dir():
            return [child.name for child in path.iterdir()]
        if path.suffix.lower() == ".zip" and path.is_file():
            with zipfile.ZipFile(path) as archive:
                return [name.replace("\\", "/").rsplit("/", 1)[-1] for name in archive.namelist()]
    except BROKEN_ZIP:
        pass
    return []


def _add_doses(diary: Diary, kind: str, rows: Rows, times: NDArray[np.int64]) -> None:
    carbs, dose = rows.find(_CARBS), rows.find(_DOSE)
    if carbs is not None:
        diary.add_events("carbs", times, rows.numbers(carbs), "g")
    if dose is not None and kind in ("bolus", "insulin", "manual_insulin"):
        diary.add_events("bolus" if kind == "bolus" else "insulin", times, rows.numbers(dose), "U")


def _basal(pieces: list[tuple[NDArray[np.int64], Rows]], worn: Worn) -> Recording | None:
    begins, rates, minutes = [], [], []
    for times, rows in pieces:
        begins.append(times)
        rates.append(rows.numbers(rows.need(r"(basal )?rate.*", "basal rates")))
        minutes.append(rows.numbers(rows.need(r"duration.*", "durations")))
    start, rate, lasts = np.concatenate(begins), np.concatenate(rates), np.concatenate(minutes)
    known = np.isfinite(rate) & np.isfinite(lasts) & (lasts > 0) & (lasts < 36 * 60)
    if not known.any():
        return None
    ends = start[known] + np.rint(lasts[known] * 60).astype(np.int64) * NS_PER_S
    return spread(
        start[known],
        ends,
        rate[known] * lasts[known],
        modality="insulin_rate",
        unit="U/h",
        channel="basal",
        step_s=_BASAL_S,
        worn=worn,
        where="basal_data",
        of_time_covered=True,
    )
