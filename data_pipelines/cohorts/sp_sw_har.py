"""SP-SW-HAR: phone in the pocket and watch at the wrist while people stand up, walk, turn and sit down."""

import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from data_pipelines.cohorts._people import age_band
from data_pipelines.cohorts._steady_clock import SteadyClock, steady_clock
from data_pipelines.cohorts._visits import OneVisit, Visits
from data_pipelines.readers._files import members, read_bytes
from data_pipelines.readers._numbers import parse_csv
from data_pipelines.readers._recordings import make_recording, seconds_to_ns
from hdt_fm.schema.errors import ReaderError
from hdt_fm.schema.recording import LabelTrack, Recording, Visit
from hdt_fm.schema.subject import SubjectKey

CLASSES = ("seated", "standing_up", "walking", "turning", "sitting_down")
_PERSON = re.compile(r"s\d+")
_FILE = re.compile(r"(s\d+)_(\d+)_(sp|sw)\.csv")
_SUBJECTS = "subjects_info.csv"
# Modality -> columns, unit in the file.
_SIGNALS = {
    "acc": (("x_acc", "y_acc", "z_acc"), "m/s^2"),
    "gyro": (("x_gyro", "y_gyro", "z_gyro"), "rad/s"),
}
_NUMBERS = (*(column for columns, _ in _SIGNALS.values() for column in columns), "timestamp")
# Both devices give a little more than 100 samples a second; far from it, the time column is in another unit.
_RATES_HZ = (50.0, 200.0)

_Read = Callable[[], bytes]


class SpSwHar:
    """One visit an execution (about 11 s: seated, stand up, walk, turn, walk back, turn, sit down); ten or so a person.

    Watch: `acc`, `gyro`; phone: `acc_pocket`, `gyro_pocket`. The label track `activity` is the watch's, and the phone's
    where an execution has no watch file: the two were labelled on one time line and agree (see README).

    Format: sNN.zip (or a folder sNN) with sNN_EE_sp.csv and sNN_EE_sw.csv: x, y, z of both sensors, UNIX milliseconds,
        label, one row a sample.
    Units: acc m/s^2, gyro rad/s, both with gravity and offset as the device gives them.
    Lossy: Time stamps say when a sample arrived, up to 0.15 s late and in batches. Samples get the steady clock that
        fits them (about 102.4 Hz phone, 104.3 Hz watch). executions_info.csv (how the phone lay, which way people
        turned) is not read.

    Args:
        path: Folder of the data set, with sNN.zip and subjects_info.csv.
        subject_key: See `SubjectKey.find`; `public` gives the same pseudonyms everywhere.
        limit: Only the first people, for a quick look; None is all.
    """

    name = "sp_sw_har"
    licence = "CC BY 4.0"
    source = "Matey-Sanz et al. 2023, doi:10.1016/j.dib.2023.109809; doi:10.5281/zenodo.8398688"

    def __init__(self, *, path: str, subject_key: str = "auto", limit: int | None = None) -> None:
        self._folder = Path(path)
        self._key = subject_key
        self._limit = limit

    def inputs(self) -> list[Path]:
        """The people's zips (or the files of their folders) and the table of people."""
        files = [
            file
            for path in self._people()
            for file in (sorted(child for child in path.iterdir() if child.is_file()) if path.is_dir() else [path])
        ]
        table = self._folder / _SUBJECTS
        return [*files, table] if table.is_file() else files

    def visits(self) -> Iterator[Visit]:
        """Each person's executions in order of their numbers; see `Visits` for what happens after an error."""
        key, facts = SubjectKey.find(self._key), _covariates(self._folder / _SUBJECTS)
        reads: list[Callable[[], Visit]] = []
        for path in self._people():
            subject = key.pseudonym(self.name, path.stem)
            try:
                executions = _executions(path)
            except ReaderError as error:
                reads.append(OneVisit(partial(_fail, error), subject, (path,)))
                continue
            read = partial(_read, subject=subject, covariates=facts.get(path.stem, {}))
            reads += [OneVisit(partial(read, files), subject, (path,)) for files in executions]
        return Visits(reads)

    def _people(self) -> list[Path]:
        people = [
            path
            for path in sorted(self._folder.glob("s*"))
            if _PERSON.fullmatch(path.stem) and (path.suffix == ".zip" or path.is_dir())
        ]
        if not people:
            raise ReaderError(
                "The cohort's folder holds no person",
                where=str(self._folder),
                expected="sNN.zip with sNN_EE_sp.csv and sNN_EE_sw.csv",
                fix="point cohort.path to the sp_sw_har folder",
            )
        twice = len(people) - len({path.stem for path in people})
        if twice:
            raise ReaderError(
                "A person is there both as a zip and as a folder",
                got=f"{twice} of them",
                fix="remove one of the two, or every execution would count twice",
            )
        return people[: self._limit]


def _fail(error: ReaderError) -> Visit:
    raise error


def _executions(path: Path) -> list[dict[str, _Read]]:
    """Files of each execution by device (`sp`, `sw`), in order of the execution's number."""
    found: dict[int, dict[str, _Read]] = {}
    for name, read in members(path).items():
        match = _FILE.fullmatch(name)
        if match is None:
            continue
        if match[1] != path.stem:
            raise ReaderError(
                "A person's zip holds a file of someone else",
                expected="the same sNN in the zip's name and in every file's",
                fix="sort the files by person, or one person could be on both sides of a split",
            )
        found.setdefault(int(match[2]), {})[match[3]] = read
    if not found:
        raise ReaderError("A person's zip holds no execution", expected="files such as sNN_EE_sw.csv")
    return [found[number] for number in sorted(found)]


def _read(files: Mapping[str, _Read], subject: str, covariates: dict[str, str]) -> Visit:
    recordings: dict[str, Recording] = {}
    labels: dict[str, LabelTrack] = {}
    for device, ending, word in (("sw", "", "watch"), ("sp", "_pocket", "phone")):
        if device in files:
            found, track = _read_device(files[device](), subject, ending, word)
            recordings |= found
            labels.setdefault("activity", track)
    return Visit(subject=subject, recordings=recordings, labels=labels, covariates=covariates, source="sp_sw_har")


def _read_device(data: bytes, subject: str, ending: str, word: str) -> tuple[dict[str, Recording], LabelTrack]:
    where = f"{word} file"
    types = dict.fromkeys(_NUMBERS, pa.float64()) | {"label": pa.string()}
    table = parse_csv(data, where=where, types=types)
    missing = [name for name in types if name not in table.column_names]
    if missing:
        raise ReaderError(
            "A file lacks a column",
            where=where,
            expected=", ".join(types),
            got=f"no {', '.join(missing)}",
            fix="take the files as they were published",
        )
    clock = steady_clock(table.column("timestamp").to_numpy(), where=f"{where}, column timestamp")
    rate = 1000.0 / clock.period
    if not _RATES_HZ[0] <= rate <= _RATES_HZ[1]:
        raise ReaderError(
            "The sampling rate does not fit the devices",
            where=f"{where}, column timestamp",
            expected="UNIX milliseconds, about 100 samples a second",
            got=f"{rate:.3g} samples a second",
            fix="bring the time column to milliseconds",
        )
    recordings = {}
    for kind, (columns, unit) in _SIGNALS.items():
        values = np.full((len(columns), int(clock.index[-1]) + 1), np.nan)
        values[:, clock.index] = np.stack([table.column(column).to_numpy() for column in columns])
        recordings[kind + ending] = make_recording(
            values,
            modality=kind + ending,
            unit=unit,
            channels=columns,
            sampling_rate_hz=rate,
            start_ns=seconds_to_ns(clock.start / 1000, where=where),
            subject=subject,
            device="smartwatch" if word == "watch" else "smartphone",
            body_site="wrist" if word == "watch" else "pocket",
            where=where,
        )
    return recordings, _activity(table.column("label").to_pylist(), clock, where)


def _activity(labels: list[str | None], clock: SteadyClock, where: str) -> LabelTrack:
    """One interval for each stretch of one label without a lost sample."""
    codes = [CLASSES.index(label.lower()) if label and label.lower() in CLASSES else -1 for label in labels]
    if -1 in codes:
        raise ReaderError(
            "A file holds another label",
            where=f"{where}, column label",
            expected=", ".join(name.upper() for name in CLASSES),
            got=f"{codes.count(-1)} row(s) with another or none",
            fix="take the files as they were published, or add the class to data_pipelines/cohorts/sp_sw_har.py",
        )
    values: NDArray[np.int64] = np.array(codes, dtype=np.int64)
    new = np.flatnonzero((np.diff(values) != 0) | (np.diff(clock.index) != 1)) + 1
    first, last = np.concatenate([[0], new]), np.concatenate([new, [len(values)]]) - 1
    begins, ends = clock.times()[first], clock.times()[last] + clock.period
    starts_ns, ends_ns = (np.rint(edges * 1e3).astype(np.int64) * 1000 for edges in (begins, ends))
    return LabelTrack("activity", "class", starts_ns, ends_ns, values[first].astype(np.float64), classes=CLASSES)


def _covariates(path: Path) -> dict[str, dict[str, str]]:
    """Person -> sex and ten-year age band, where the table of people is there."""
    if not path.is_file():
        return {}
    columns = {name: pa.string() for name in ("subject_id", "age", "gender")}
    table = parse_csv(read_bytes(path), where=_SUBJECTS, types=columns)
    missing = [name for name in columns if name not in table.column_names]
    if missing:
        raise ReaderError("The table of people lacks a column", where=_SUBJECTS, expected=", ".join(columns))
    people: dict[str, dict[str, str]] = {}
    for row in table.select(list(columns)).to_pylist():
        facts = people.setdefault(str(row["subject_id"]), {})
        if row["gender"] in ("F", "M"):
            facts["sex"] = row["gender"]
        if row["age"] and row["age"].isdigit():
            facts["age_band"] = age_band(int(row["age"]))
    return people
