"""LibreView: CSV exports of FreeStyle Libre sensors."""

import re
from pathlib import Path

from data_pipelines.readers._cgm import Diary, header_unit
from data_pipelines.readers._clock import Order, local_seconds, local_to_utc_ns
from data_pipelines.readers._exports import LOOK, head, own_files
from data_pipelines.readers._files import read_bytes
from data_pipelines.readers._rows import Rows, read_rows
from data_pipelines.readers._slow import Worn
from hdt_fm.schema.recording import Visit

_HEADER = re.compile(rb"(?i)serial number.*device timestamp.*record type.*historic glucose")
# Record type, column -> label and unit; None takes the unit from the column's name.
_EVENTS = (
    ("1", r"scan glucose.*", "scan_glucose", None),
    ("2", r"strip glucose.*", "finger_glucose", None),
    ("3", r"ketone.*", "ketone", "mmol/L"),
    ("4", r"rapid-acting insulin \(units\)", "bolus", "U"),
    ("4", r"long-acting insulin \(units\)", "long_acting", "U"),
    ("5", r"carbohydrates \(grams\)", "carbs", "g"),
)


class Libreview:
    """Reads one person's exports: a CSV, or a folder of CSVs of several spans.

    Format: LibreView CSV (libreview.com, "Download glucose data"): a title line, then Device, Serial Number, Device
        Timestamp, Record Type (0 historic, 1 scan, 2 strip, 3 ketone, 4 insulin, 5 food, 6 other), ...
    Units: glucose mg/dL or mmol/L as the header says; labels scan_glucose and finger_glucose mg/dL, bolus and
        long_acting U, carbs g, ketone mmol/L.
    Lossy: Names, serial numbers, notes, and entries without an amount. `LO` and `HI` are unobserved, and counted in
        the label track glucose_beyond. Stored readings go to the nearest place of the sensor's 15 minutes (5 or 1);
        scans are a label, as they are not even in time. Times are local to the minute: give `utc_offset_s`, or they
        are taken as UTC. An hour that a local clock showed twice is read as one.

    Args:
        utc_offset_s: Of the local time, if known.
        dates: Whether 03-04-2021 is in March or in April; `auto` tells it from the file, or asks.
    """

    def __init__(self, *, utc_offset_s: int | None = None, dates: Order = "auto") -> None:
        self._offset, self._dates = utc_offset_s, dates

    @staticmethod
    def detect(path: Path) -> bool:
        """Whether it begins with the columns of a LibreView export, or is a folder with such a file."""
        return bool(_files(path, LOOK))

    def read(self, path: Path, *, subject: str) -> Visit:
        """Read stored glucose, scans, strips, doses and meals.

        Raises:
            ReaderError: If a file is cut off or edited, holds no glucose, or its dates could be read either way.
            UnitError: If most readings cannot be in the header's unit.
        """
        diary = Diary()
        for number, file in enumerate(_files(path) or [path], start=1):
            rows = read_rows(read_bytes(file), _HEADER, where=f"LibreView export {number}")
            self._add(diary, rows.filled(rows.need("device timestamp", "times")))
        worn = Worn(subject, "freestyle_libre", body_site="arm", utc_offset_s=self._offset)
        return diary.visit(worn, source="libreview", where="Historic Glucose")

    def _add(self, diary: Diary, rows: Rows) -> None:
        stamp = rows.need("device timestamp", "times")
        kind, historic = rows.need("record type", "record types"), rows.need(r"historic glucose.*", "glucose")
        # Day and month are told from all rows at once.
        seconds = local_seconds(rows.texts(stamp), where=stamp, order=self._dates)
        times = local_to_utc_ns(seconds, self._offset)
        kinds = rows.texts(kind).to_numpy(zero_copy_only=False)
        stored = kinds == "0"
        readings = rows.where_equal(kind, "0").readings(historic)
        diary.add_glucose(times[stored], readings, header_unit(historic, where=rows.where))
        for code, pattern, name, unit in _EVENTS:
            column = rows.find(pattern)
            if column is not None and (kinds == code).any():
                values = rows.where_equal(kind, code).readings(column)[0]
                diary.add_events(name, times[kinds == code], values, unit or header_unit(column, where=rows.where))


def _files(path: Path, look: int | None = None) -> list[Path]:
    return own_files(path, (".csv", ".csv.gz"), lambda file: bool(_HEADER.search(head(file, 4096))), look)
