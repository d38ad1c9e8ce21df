"""UCI HAR: a phone at the waist of thirty people in six activities, made whole again from its overlapping windows."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_pipelines.cohorts._codes import check_codes
from data_pipelines.cohorts._visits import Visits
from data_pipelines.readers._files import read_bytes
from data_pipelines.readers._recordings import make_recording
from hdt_fm.schema.errors import ReaderError
from hdt_fm.schema.recording import NS_PER_S, LabelTrack, Visit
from hdt_fm.schema.subject import SubjectKey

ACTIVITIES = {
    1: "walking",
    2: "walking_upstairs",
    3: "walking_downstairs",
    4: "sitting",
    5: "standing",
    6: "lying",
}
PARTS = ("train", "test")
RATE_HZ, WINDOW = 50.0, 128
HALF = WINDOW // 2
# The files hold no clock, so everyone begins at midnight of 2000-01-01.
START_NS = 946_684_800 * NS_PER_S
# Modality -> its files, unit.
_SIGNALS = {
    "acc_waist": (("total_acc_x", "total_acc_y", "total_acc_z"), "g"),
    "gyro_waist": (("body_gyro_x", "body_gyro_y", "body_gyro_z"), "rad/s"),
}
# Between two stretches, in samples: no window of the published length reaches over it, and every stretch begins where
# a published window does when windows are cut half a window apart.
_BETWEEN = WINDOW

Stretch = tuple[int, int]


@dataclass(frozen=True)
class _Part:
    """One of the two folders: a row a window."""

    subjects: NDArray[np.int64]
    activities: NDArray[np.int64]
    signals: Mapping[str, NDArray[np.float64]]


class UciHar:
    """One visit a person, with an `activity` class track.

    The publisher cut the signals into windows of 128 samples that share half of their samples with the next one.
    Windows that follow each other in the files, of one person and one activity, are joined where those halves are the
    same, so that no sample is there twice. Stretches that do not touch have unobserved time between them; how long it
    was is not known. Cut into windows of 2.56 s, 1.28 s apart, they are the published windows again, one for one.

    Format: text, a row a window of 128 numbers, in train/ and test/: Inertial Signals/total_acc_{x,y,z}_{part}.txt and
        body_gyro_{x,y,z}_{part}.txt, y_{part}.txt, subject_{part}.txt.
    Units: acc g, gyro rad/s; both at 50 Hz, low-passed at 20 Hz by the publisher.
    Lossy: body_acc (total_acc without its slow part) and the 561 features. No file says when, or how old people are.
        The published split is a covariate, `published_split`.

    Args:
        path: Folder "UCI HAR Dataset", or the folder above it.
        subject_key: See `SubjectKey.find`; `public` gives the same pseudonyms everywhere.
        limit: Only the first people, for a quick look; None is all.
    """

    name = "uci_har"
    licence = "CC BY 4.0 (the publisher's README prohibits commercial use)"
    source = "Anguita et al. 2013 (ESANN); archive.ics.uci.edu/dataset/240"

    def __init__(self, *, path: str, subject_key: str = "auto", limit: int | None = None) -> None:
        inside = Path(path) / "UCI HAR Dataset"
        self._folder = inside if inside.is_dir() else Path(path)
        self._key = subject_key
        self._limit = limit

    def inputs(self) -> list[Path]:
        """The files that are read."""
        return [path for part in PARTS for path in _files(self._folder, part).values() if path.is_file()]

    def visits(self) -> Iterator[Visit]:
        """Each person in the order of their numbers; all files are read here, since each is of many people.

        Raises:
            ReaderError: If a file is missing, broken or of another length, or a person is in both parts.
        """
        key = SubjectKey.find(self._key)
        parts = {part: _read_part(self._folder, part) for part in PARTS}
        both = set(parts["train"].subjects.tolist()) & set(parts["test"].subjects.tolist())
        if both:
            raise ReaderError(
                "The published split leaks: people are in train and in test",
                expected="everyone in one of them",
                got=f"{len(both)} in both",
                fix="take the files as they were published",
            )
        people = sorted((int(number), part) for part in PARTS for number in np.unique(parts[part].subjects))
        return Visits(
            [
                partial(_visit, parts[part], number, key.pseudonym(self.name, str(number)), part)
                for number, part in people[: self._limit]
            ]
        )


def _files(folder: Path, part: str) -> dict[str, Path]:
    names = [name for files, _ in _SIGNALS.values() for name in files]
    signals = {name: folder / part / "Inertial Signals" / f"{name}_{part}.txt" for name in names}
    return {"subject": folder / part / f"subject_{part}.txt", "y": folder / part / f"y_{part}.txt"} | signals


def _read_part(folder: Path, part: str) -> _Part:
    files = _files(folder, part)
    tables = {name: _numbers(path, 1 if name in ("subject", "y") else WINDOW) for name, path in files.items()}
    rows = len(tables["y"])
    for name, table in tables.items():
        if len(table) != rows:
            raise ReaderError(
                "Two files of one part differ in length",
                where=files[name].name,
                expected=f"{rows} rows, as {files['y'].name} has",
                got=f"{len(table)}",
                fix="a file was cut off or edited: unpack the data set again",
            )
    check_codes(tables["y"][:, 0], ACTIVITIES, where=files["y"].name)
    signals = {modality: np.stack([tables[name] for name in names]) for modality, (names, _) in _SIGNALS.items()}
    return _Part(tables["subject"][:, 0].astype(np.int64), tables["y"][:, 0].astype(np.int64), signals)


def _numbers(path: Path, columns: int) -> NDArray[np.float64]:
    """Rows of numbers with any space between them."""
    if not path.is_file():
        raise ReaderError(
            "The cohort lacks a file",
            where=path.name,
            expected='train/ and test/ of "UCI HAR Dataset", with Inertial Signals/ in each',
            fix="point cohort.path to the unpacked data set",
        )
    data = read_bytes(path)
    fields = data.split()
    try:
        values = np.array(fields, dtype=np.float64)
    except ValueError:
        raise ReaderError(
            "A file holds something that is no number", where=path.name, fix="unpack the data set again"
        ) from None
    rows = sum(1 for line in data.splitlines() if line.strip())
    if not rows or len(values) != rows * columns:
        raise ReaderError(
            "A file is not as wide as it was published",
            where=path.name,
            expected=f"{columns} number(s) a row",
            got=f"{len(values)} in {rows} row(s)",
            fix="the file was cut off or edited: unpack the data set again",
        )
    return values.reshape(rows, columns)


def _visit(part: _Part, number: int, subject: str, split: str) -> Visit:
    stretches = _stretches(part, np.flatnonzero(part.subjects == number))
    lengths = [HALF * (stop - first + 1) for first, stop in stretches]
    begins = [0, *itertools.accumulate(length + _BETWEEN for length in lengths)][:-1]
    recordings = {
        modality: make_recording(
            _whole(part.signals[modality], stretches, begins),
            modality=modality,
            unit=unit,
            channels=("x", "y", "z"),
            sampling_rate_hz=RATE_HZ,
            start_ns=START_NS,
            subject=subject,
            device="smartphone",
            body_site="waist",
            where=f"{split}/Inertial Signals, {modality}",
        )
        for modality, (_, unit) in _SIGNALS.items()
    }
    starts, ends = (
        START_NS + np.array(edges, dtype=np.int64) * round(NS_PER_S / RATE_HZ)
        for edges in (begins, [begin + length for begin, length in zip(begins, lengths, strict=True)])
    )
    classes = np.array([part.activities[first] - 1 for first, _ in stretches], dtype=np.float64)
    activity = LabelTrack("activity", "class", starts, ends, classes, classes=tuple(ACTIVITIES.values()))
    return Visit(
        subject=subject,
        recordings=recordings,
        labels={"activity": activity},
        covariates={"published_split": split},
        source="uci_har",
    )


def _stretches(part: _Part, rows: NDArray[np.int64]) -> list[Stretch]:
    """Rows [first, stop) that continue each other: the second half of one is the first half of the next."""
    here, there = rows[:-1], rows[1:]
    joined = (there == here + 1) & (part.activities[here] == part.activities[there])
    for windows in part.signals.values():
        joined &= (windows[:, here, HALF:] == windows[:, there, :HALF]).all(axis=(0, 2))
    first = rows[np.concatenate([[True], ~joined])]
    last = rows[np.concatenate([~joined, [True]])]
    return list(zip(first.tolist(), (last + 1).tolist(), strict=True))


def _whole(windows: NDArray[np.float64], stretches: Sequence[Stretch], begins: Sequence[int]) -> NDArray[np.float64]:
    """(channel, time) with every sample once and NaN between stretches."""
    first, stop = stretches[-1]
    values = np.full((len(windows), begins[-1] + HALF * (stop - first + 1)), np.nan)
    for (first, stop), begin in zip(stretches, begins, strict=True):
        halves = np.concatenate([windows[:, first:stop, :HALF], windows[:, stop - 1 : stop, HALF:]], axis=1)
        values[:, begin : begin + HALF * (stop - first + 1)] = halves.reshape(len(windows), -1)
    return values
