"""FHIR: observations of a health record or of a device, as a bundle or as NDJSON."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data_pipelines.readers._exports import LOOK, head, own_files
from data_pipelines.readers._fhir_codes import KEPT, NOT_OBSERVED, UNITS
from data_pipelines.readers._fhir_sampled import Waves
from data_pipelines.readers._files import read_bytes
from data_pipelines.readers._json import documents, iso_ns, items, number, texts
from data_pipelines.readers._persons import choose_person
from data_pipelines.readers._points import Kept, Points
from hdt_fm.schema.errors import ReaderError
from hdt_fm.schema.recording import Visit

_LIKE = re.compile(rb'"resourceType"\s*:\s*"(Bundle|Observation)"')
_LOINC, _UCUM = "http://loinc.org", "http://unitsofmeasure.org"
_TIMES = ("effectiveDateTime", "effectiveInstant", "effectivePeriod", "issued")


class Fhir:
    """Reads one patient's observations: a file, or a folder of files.

    Format: HL7 FHIR R4 and R5, JSON: a Bundle, one Observation, or NDJSON of either; observations by their LOINC code
        (data_pipelines/readers/_fhir_codes.py), components too, with valueQuantity in UCUM or valueSampledData, at
        effectiveDateTime, effectiveInstant or effectivePeriod.
    Units: heart_rate bpm, hrv ms, spo2 %, resp_rate and steps 1/min, energy kcal/min, glucose mg/dL, temp celsius,
        ecg mV (sampled). Labels: finger_glucose mg/dL, body_temperature celsius, weight kg, systolic_pressure,
        diastolic_pressure and mean_pressure mmHg, resting_heart_rate bpm.
    Lossy: All other codes and resources, values that are no quantity, what was entered in error, and free text. Numbers
        become their mean in each minute, or a rate over their period (steps, energy); marks E, U and L of sampled data
        are unobserved. A time without an offset is taken as UTC.

    Args:
        person: Reference of the patient to read (`Patient/...`); needed where there are several.
    """

    def __init__(self, *, person: str | None = None) -> None:
        self._person = person

    @staticmethod
    def detect(path: Path) -> bool:
        """Whether it is JSON that begins as a Bundle or Observation, or a folder with such a file."""
        return bool(_files(path, LOOK))

    @staticmethod
    def people(path: Path) -> tuple[str, ...]:
        """References of the patients of all observations, in order.

        Raises:
            ReaderError: If a file is not whole JSON.
        """
        return tuple(sorted({texts(found, "subject", "reference") for found in _observations(path)} - {""}))

    def read(self, path: Path, *, subject: str) -> Visit:
        """Read every observation of a known code.

        Raises:
            ReaderError: If a file is not whole JSON, holds several patients and none was asked for, or nothing of use.
            UnitError: If a unit is not known, or most values cannot be in theirs.
        """
        found = list(_observations(path))
        whose = {texts(one, "subject", "reference") for one in found} - {""}
        person = choose_person(whose, self._person, where="subject.reference")
        points, waves = Points(), Waves()
        for one in found:
            if texts(one, "subject", "reference") in ("", person) and texts(one, "status") not in NOT_OBSERVED:
                _keep(one, points, waves)
        return points.visit(subject=subject, source="fhir", recordings=waves.recordings(subject))


def _keep(one: dict[str, Any], points: Points, waves: Waves) -> None:
    parts = [one, *(part for part in items(one, "component") if isinstance(part, dict))]
    for part in parts:
        if isinstance(part.get("valueSampledData"), dict):
            if waves.knows(part, one):
                begin, _, offset = _time(one)
                waves.add(part, one, begin, offset)
        elif isinstance(part.get("valueQuantity"), dict) and (kept := _kept(part)) is not None:
            begin, end, offset = _time(one)
            value = number(part["valueQuantity"].get("value"))
            if kept.form == "spread" and begin == end:
                raise ReaderError(
                    "An amount over time has no period",
                    where=kept.name,
                    expected="effectivePeriod with start and end",
                    fix="correct it where the file was made",
                )
            if value == value and not texts(part["valueQuantity"], "comparator"):
                points.add(kept, begin, end, value, _unit(part["valueQuantity"]), offset)


def _kept(part: dict[str, Any]) -> Kept | None:
    codings = [coding for coding in items(part.get("code"), "coding") if texts(coding, "system") == _LOINC]
    return next((KEPT[code] for coding in codings if (code := texts(coding, "code")) in KEPT), None)


def _unit(quantity: dict[str, Any]) -> str:
    """The UCUM code; a text beside it only where there is no code."""
    if texts(quantity, "system") in (_UCUM, "") and (code := texts(quantity, "code")):
        return UNITS.get(code, code)
    unit = texts(quantity, "unit")
    return UNITS.get(unit, unit)


def _time(one: dict[str, Any]) -> tuple[int, int, int | None]:
    name = next((name for name in _TIMES if one.get(name)), "effectiveDateTime")
    if name == "effectivePeriod":
        begin, offset = iso_ns(texts(one, name, "start"), where=name)
        end, _ = iso_ns(texts(one, name, "end"), where=name)
        if end < begin:
            raise ReaderError("A period ends before it begins", where=name)
        return begin, end, offset
    begin, offset = iso_ns(texts(one, name), where=name)
    return begin, begin, offset


def _observations(path: Path) -> Iterator[dict[str, Any]]:
    for count, file in enumerate(_files(path) or [path], start=1):
        for document in documents(read_bytes(file), where=f"FHIR file {count}"):
            inside = [entry.get("resource") for entry in items(document, "entry") if isinstance(entry, dict)]
            for one in (document, *inside, *items(document if isinstance(document, list) else None)):
                if isinstance(one, dict) and one.get("resourceType") == "Observation":
                    yield one


def _files(path: Path, look: int | None = None) -> list[Path]:
    def is_own(file: Path) -> bool:
        begin = head(file)
        return begin.lstrip()[:1] in (b"{", b"[") and bool(_LIKE.search(begin))

    return own_files(path, (".json", ".ndjson", ".json.gz", ".ndjson.gz"), is_own, look)
