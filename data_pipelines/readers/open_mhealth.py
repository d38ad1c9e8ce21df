"""Open mHealth and IEEE 1752: data points of apps in a common JSON."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from data_pipelines.readers._exports import LOOK, head, own_files
from data_pipelines.readers._files import read_bytes
from data_pipelines.readers._json import documents, iso_ns, items, number, texts
from data_pipelines.readers._persons import choose_person
from data_pipelines.readers._points import SLEEP_STAGES, Kept, Points
from hdt_fm.schema.errors import ReaderError
from hdt_fm.schema.recording import NS_PER_S, Visit

_LIKE = re.compile(rb'"schema_id"\s*:|"effective_time_frame"\s*:')
_BODY = re.compile(rb'"(namespace|body|effective_time_frame)"\s*:')
_LENGTHS_S = {"sec": 1.0, "s": 1.0, "ms": 1e-3, "min": 60.0, "h": 3600.0, "d": 86_400.0}
_GLUCOSE = {"mg/dL": ("mg/dL", 1.0), "mmol/L": ("mg/dL", 18.0156)}
_PRESSURE = {"mmHg": ("mmHg", 1.0)}
_ENERGY = {"kcal": ("kcal/min", 1.0), "kJ": ("kcal/min", 1 / 4.184), "cal": ("kcal/min", 1e-3)}
_PER_MINUTE = {"beats/min": ("bpm", 1.0), "bpm": ("bpm", 1.0)}
# What a body is called -> how it is kept.
KEPT: Mapping[str, Kept] = MappingProxyType(
    {
        "heart_rate": Kept("averaged", "heart_rate", _PER_MINUTE, "heart_rate"),
        "rr_interval": Kept("event", "beats", {"ms": ("s", 1e-3), "sec": ("s", 1.0), "s": ("s", 1.0)}),
        "oxygen_saturation": Kept("averaged", "spo2", {"%": ("%", 1.0)}, "spo2"),
        "respiratory_rate": Kept("averaged", "resp_rate", {"breaths/min": ("1/min", 1.0)}, "resp_rate"),
        "step_count": Kept("spread", "steps", {"steps": ("1/min", 1.0), "": ("1/min", 1.0)}, "steps"),
        "kcal_burned": Kept("spread", "energy", _ENERGY, "active"),
        "calories_burned": Kept("spread", "energy", _ENERGY, "active"),
        "blood_glucose": Kept("glucose", "glucose", _GLUCOSE),
        "body_temperature": Kept("event", "body_temperature", {"C": ("celsius", 1.0)}),
        "skin_temperature": Kept("averaged", "temp", {"C": ("celsius", 1.0)}, "skin"),
        "body_weight": Kept("event", "weight", {"kg": ("kg", 1.0), "lb": ("kg", 0.45359237), "g": ("kg", 1e-3)}),
        "systolic_blood_pressure": Kept("event", "systolic_pressure", _PRESSURE),
        "diastolic_blood_pressure": Kept("event", "diastolic_pressure", _PRESSURE),
        "sleep_episode": Kept("sleep", "sleep_stage", {}),
    }
)


class OpenMhealth:
    """Reads one person's data points: a file, or a folder of files.

    Format: Open mHealth (openmhealth.org) and IEEE 1752.1 data points, JSON: one point, a list, or NDJSON; a point is
        header and body, or a body alone. Kinds: heart-rate, rr-interval, oxygen-saturation, respiratory-rate,
        step-count, calories-burned, blood-glucose, body-temperature, body-weight, blood-pressure, sleep-episode.
    Units: As each point says; heart_rate bpm, spo2 %, resp_rate and steps 1/min, energy kcal/min, glucose mg/dL, temp
        celsius. Labels: beats s, body_temperature celsius, weight kg, systolic_pressure and diastolic_pressure mmHg,
        sleep_stage.
    Lossy: Other kinds; statistics other than the average; times given as a part of a day; contexts such as posture or
        meal. Numbers become their mean in each minute, amounts a rate over their interval. Glucose further than half
        an hour apart is the label spot_glucose. A time without an offset is taken as UTC.

    Args:
        person: `user_id` of the points to read; needed where there are several people.
    """

    def __init__(self, *, person: str | None = None) -> None:
        self._person = person

    @staticmethod
    def detect(path: Path) -> bool:
        """Whether it is JSON that begins with a schema id or an effective time frame, or a folder with such a file."""
        return bool(_files(path, LOOK))

    @staticmethod
    def people(path: Path) -> tuple[str, ...]:
        """The `user_id` of all points, in order; empty where they have none.

        Raises:
            ReaderError: If a file is not whole JSON.
        """
        return tuple(sorted({whose for whose, _ in _bodies(path)} - {""}))

    def read(self, path: Path, *, subject: str) -> Visit:
        """Read every point of a known kind.

        Raises:
            ReaderError: If a file is not whole JSON or holds nothing of use, or several people and none was asked for.
            UnitError: If a unit is not known, or most values cannot be in theirs.
        """
        found = list(_bodies(path))
        person = choose_person({whose for whose, _ in found} - {""}, self._person, where="header.user_id")
        points = Points()
        for whose, body in found:
            if whose in ("", person) and texts(body, "descriptive_statistic") in ("", "average", "mean"):
                _keep(body, points)
        return points.visit(subject=subject, source="open_mhealth")


def _keep(body: dict[str, Any], points: Points) -> None:
    for name, kept in KEPT.items():
        held = body.get(name)
        if held is None and not (name == "sleep_episode" and _is_episode(body)):
            continue
        time = _time(body)
        if time is None:
            continue
        begin, end, offset = time
        if kept.form == "spread" and begin == end:
            raise ReaderError("An amount over time has no interval", where=name, expected="a time_interval")
        if kept.form == "sleep":
            points.add(kept, begin, end, SLEEP_STAGES.index("asleep"), "", offset)
            continue
        # Early step counts are a plain number, without a unit.
        value, unit = (number(held.get("value")), texts(held, "unit")) if isinstance(held, dict) else (number(held), "")
        if unit in ("F", "K") and "C" in kept.units:
            value, unit = ((value - 32) * 5 / 9 if unit == "F" else value - 273.15), "C"
        if value == value:
            points.add(kept, begin, end, value, unit, offset)


def _is_episode(body: Mapping[str, Any]) -> bool:
    return "total_sleep_time" in body or "is_main_sleep" in body or "latency_to_sleep_onset" in body


def _time(body: Mapping[str, Any]) -> tuple[int, int, int | None] | None:
    """Begin, end and offset; None for a part of a day, which has no clock."""
    frame, where = body.get("effective_time_frame"), "effective_time_frame"
    if isinstance(frame, dict) and isinstance(frame.get("time_interval"), dict):
        span = frame["time_interval"]
        if "part_of_day" in span:
            return None
        length = number(span["duration"].get("value")) if isinstance(span.get("duration"), dict) else float("nan")
        seconds = length * _LENGTHS_S.get(texts(span, "duration", "unit"), float("nan"))
        begin, end = span.get("start_date_time"), span.get("end_date_time")
        if begin and end:
            (first, offset), (last, _) = (
                iso_ns(texts(span, "start_date_time"), where=where),
                iso_ns(str(end), where=where),
            )
        elif begin and 0 <= seconds < 1e8:
            first, offset = iso_ns(texts(span, "start_date_time"), where=where)
            last = first + round(seconds * NS_PER_S)
        elif end and 0 <= seconds < 1e8:
            last, offset = iso_ns(texts(span, "end_date_time"), where=where)
            first = last - round(seconds * NS_PER_S)
        else:
            raise ReaderError("A time interval lacks its begin, end or duration", where=where)
        if last < first:
            raise ReaderError("A time interval ends before it begins", where=where)
        return first, last, offset
    moment, offset = iso_ns(texts(frame, "date_time"), where=where)
    return moment, moment, offset


def _bodies(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Whose (empty if unsaid) and what, of every point."""
    for count, file in enumerate(_files(path) or [path], start=1):
        for document in documents(read_bytes(file), where=f"Open mHealth file {count}"):
            for point in document if isinstance(document, list) else [document]:
                if not isinstance(point, dict):
                    continue
                whose = texts(point, "header", "user_id") or texts(point, "user_id")
                inside = point.get("body", point)
                for body in items(inside) if isinstance(inside, list) else [inside]:
                    if isinstance(body, dict):
                        yield whose, body


def _files(path: Path, look: int | None = None) -> list[Path]:
    def is_own(file: Path) -> bool:
        begin = head(file)
        return begin.lstrip()[:1] in (b"{", b"[") and bool(_LIKE.search(begin)) and bool(_BODY.search(begin))

    return own_files(path, (".json", ".ndjson", ".json.gz", ".ndjson.gz"), is_own, look)
