"""Levels: the CSV export of the app, which shows the glucose of a Libre or Dexcom sensor."""

import re
from pathlib import Path

import numpy as np

from data_pipelines.readers._cgm import Diary, header_unit
from data_pipelines.readers._clock import local_seconds
from data_pipelines.readers._exports import LOOK, head, own_files
from data_pipelines.readers._files import read_bytes
from data_pipelines.readers._rows import Rows, read_rows
from data_pipelines.readers._slow import Worn, utc_offsets
from hdt_fm.schema.errors import ReaderError
from hdt_fm.schema.recording import NS_PER_S, LabelTrack, Visit

_HEADER = re.compile(rb"(?i)time \(utc\).*time \(local\).*glucose reading \((?:mg/dl|mmol/l)\).*type of reading")


class Levels:
    """Reads one person's exports: a CSV, or a folder of CSVs of several spans.

    Format: Levels CSV: a title line with the person's name, then Time (UTC), Time (Local), Glucose Reading (mg/dL),
        Type of Reading (timeseries or directRead).
    Units: glucose mg/dL; label scan_glucose mg/dL; label utc_offset s.
    Lossy: The name. Readings of type timeseries go to the nearest place of the sensor's step (1, 5 or 15 minutes);
        direct reads are a label, as they are not even in time. The clock is UTC, with the local offset beside it.
    """

    @staticmethod
    def detect(path: Path) -> bool:
        """Whether it begins with the columns of a Levels export, or is a folder with such a file."""
        return bool(_files(path, LOOK))

    def read(self, path: Path, *, subject: str) -> Visit:
        """Read the sensor's readings and the direct reads.

        Raises:
            ReaderError: If a file is cut off or edited, or holds no glucose.
            UnitError: If most readings cannot be in the header's unit.
        """
        diary, clocks = Diary(), []
        for number, file in enumerate(_files(path) or [path], start=1):
            rows = read_rows(read_bytes(file), _HEADER, where=f"Levels export {number}")
            clocks.append(_add(diary, rows.filled(rows.need(r"time \(utc\)", "times"))))
        times, offsets = (np.concatenate(column) for column in zip(*clocks, strict=True))
        further: list[LabelTrack] = [utc_offsets(times, offsets)] if len(times) else []
        worn = Worn(subject, "levels", utc_offset_s=int(offsets[np.argmin(times)]) if len(times) else None)
        return diary.visit(worn, source="levels", further=further, where="Glucose Reading")


def _add(diary: Diary, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
    value, kind = rows.need(r"glucose reading.*", "glucose"), rows.need("type of reading", "types")
    utc, local = (
        local_seconds(rows.texts(rows.need(rf"time \({which}\)", "times")), where=f"Time ({which})")
        for which in ("utc", "local")
    )
    # A second may be rounded differently in the two.
    offsets = np.rint((local - utc) / 900).astype(np.int64) * 900
    if (np.abs(offsets) > 14 * 3600).any():
        raise ReaderError("UTC and local time are further apart than time zones are", where=rows.where)
    times, unit = utc * NS_PER_S, header_unit(value, where=rows.where)
    kinds = rows.texts(kind).to_numpy(zero_copy_only=False)
    readings, beyond = rows.readings(value)
    direct = kinds == "directRead"
    diary.add_glucose(times[~direct], (readings[~direct], beyond[~direct]), unit)
    if direct.any():
        diary.add_events("scan_glucose", times[direct], readings[direct], unit)
    return times, offsets


def _files(path: Path, look: int | None = None) -> list[Path]:
    return own_files(path, (".csv", ".csv.gz"), lambda file: bool(_HEADER.search(head(file, 4096))), look)
