"""WESAD: wrist and chest during a laboratory protocol of rest, stress, amusement and meditation."""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from data_pipelines.cohorts._codes import class_track
from data_pipelines.cohorts._people import covariates
from data_pipelines.cohorts._visits import OneVisit, Visits
from data_pipelines.cohorts._wrist_and_chest import (
    CHEST,
    CHEST_HZ,
    START_NS,
    WRIST,
    Signal,
    arrays_of,
    codes_of,
    people,
    recordings_of,
)
from data_pipelines.readers._files import read_bytes
from hdt_fm.schema.recording import Visit
from hdt_fm.schema.subject import SubjectKey

CONDITIONS = {1: "baseline", 2: "stress", 3: "amusement", 4: "meditation"}
# 0 is between conditions; the publisher asks to ignore 5, 6 and 7.
_CODES = range(8)
# The two questions that the literature asks; meditation is in neither.
_TRACKS = {
    "stress": {1: "no_stress", 3: "no_stress", 2: "stress"},
    "affect": {1: "baseline", 2: "stress", 3: "amusement"},
    "condition": CONDITIONS,
}
_FURTHER = {
    "signal/chest/EMG": Signal("emg", ("mV",), CHEST_HZ, ("emg",), "respiban", "back"),
    "signal/chest/EDA": Signal("eda_abdomen", ("uS",), CHEST_HZ, ("eda",), "respiban", "abdomen"),
    "signal/chest/Temp": Signal("temp_chest", ("celsius",), CHEST_HZ, ("temp",), "respiban", "chest"),
}
_FACT = re.compile(r"^\s*(Age|Gender)\s*:\s*(\S+)\s*$", re.MULTILINE)


class Wesad:
    """One visit a person: `SN/SN.pkl`, labelled by what the protocol set.

    Labels, all class tracks: `stress` (stress against baseline and amusement, the binary task of the literature),
    `affect` (baseline, stress, amusement, its three-class task) and `condition` (these and meditation). Time between
    conditions and in the codes that the publisher asks to ignore has no label.

    Format: pickle with signal/wrist (E4: BVP 64 Hz, ACC 32 Hz, EDA and TEMP 4 Hz), signal/chest (RespiBAN: ECG, EMG,
        EDA, Temp, Resp, ACC at 700 Hz) and label at 700 Hz; read by `data_pipelines/unpickle.py` alone.
    Units: bvp nW, kept as arbitrary; wrist acc 1/64 g or g, told apart by gravity; eda uS; temp celsius; ecg and emg
        mV; resp % of the belt's range, kept as arbitrary; chest acc g.
    Lossy: Questionnaires (SN_quest.csv) and the files of the single devices, of which the pickle is the cut and aligned
        copy. It holds no clock: every session begins at midnight of 2000-01-01 UTC.

    Args:
        path: Folder WESAD with S2 .. S17, or the folder above it.
        subject_key: See `SubjectKey.find`; `public` gives the same pseudonyms everywhere.
        limit: Only the first people, for a quick look; None is all.
    """

    name = "wesad"
    licence = "CC BY 4.0 (the publisher asks for scientific, non-commercial use)"
    source = "Schmidt et al. 2018, doi:10.1145/3242969.3242985; archive.ics.uci.edu/dataset/465"

    def __init__(self, *, path: str, subject_key: str = "auto", limit: int | None = None) -> None:
        self._folder = Path(path)
        self._key = subject_key
        self._limit = limit

    def inputs(self) -> list[Path]:
        """Everyone's pickle and readme."""
        wanted = [path for person in self._people() for path in (person / f"{person.name}.pkl", _readme(person))]
        return [path for path in wanted if path.is_file()]

    def visits(self) -> Iterator[Visit]:
        """Each person in the order of their numbers; see `Visits` for what happens after an error."""
        key = SubjectKey.find(self._key)
        people = [(person, key.pseudonym(self.name, person.name)) for person in self._people()]
        return Visits([OneVisit(partial(_read, person, subject), subject, (person,)) for person, subject in people])

    def _people(self) -> list[Path]:
        return people(self._folder, "WESAD", cohort="WESAD")[: self._limit]


def _read(person: Path, subject: str) -> Visit:
    arrays = arrays_of(person)
    recordings = recordings_of(arrays, {**WRIST, **CHEST, **_FURTHER}, subject=subject)
    codes = codes_of(arrays, "label", rate_hz=CHEST_HZ, seconds=recordings["ecg"].duration_s, known=_CODES)
    return Visit(
        subject=subject,
        recordings=recordings,
        labels={
            name: class_track(name, codes, rate_hz=CHEST_HZ, start_ns=START_NS, classes=classes)
            for name, classes in _TRACKS.items()
        },
        covariates=_covariates(_readme(person)),
        source="wesad",
    )


def _readme(person: Path) -> Path:
    return person / f"{person.name}_readme.txt"


def _covariates(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    facts = dict(_FACT.findall(read_bytes(path).decode("utf-8", errors="replace")))
    return covariates(sex=facts.get("Gender", ""), age=facts.get("Age", ""))
