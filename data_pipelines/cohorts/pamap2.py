"""PAMAP2: inertial units at wrist, chest and ankle, and a heart rate monitor, during eighteen activities."""

import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from data_pipelines.cohorts._codes import check_codes, class_track
from data_pipelines.cohorts._visits import OneVisit, Visits
from data_pipelines.readers._files import read_bytes
from data_pipelines.readers._grid import median_rate, place
from data_pipelines.readers._numbers import parse_csv
from data_pipelines.readers._recordings import make_recording
from hdt_fm.schema.errors import ReaderError
from hdt_fm.schema.recording import NS_PER_S, LabelTrack, Recording, Visit
from hdt_fm.schema.subject import SubjectKey

PROTOCOL = {
    1: "lying",
    2: "sitting",
    3: "standing",
    4: "walking",
    5: "running",
    6: "cycling",
    7: "nordic_walking",
    12: "ascending_stairs",
    13: "descending_stairs",
    16: "vacuum_cleaning",
    17: "ironing",
    24: "rope_jumping",
}
OPTIONAL = {
    9: "watching_tv",
    10: "computer_work",
    11: "car_driving",
    18: "folding_laundry",
    19: "house_cleaning",
    20: "playing_soccer",
}
# What everybody did but one person, who only jumped rope: the eight classes that Yuan et al. score.
SHARED = {code: PROTOCOL[code] for code in (1, 2, 3, 4, 12, 13, 16, 17)}
_TRACKS: Mapping[str, Mapping[int, str]] = {
    "activity": PROTOCOL | OPTIONAL,
    "protocol_activity": PROTOCOL,
    "shared_activity": SHARED,
}
RATE_HZ = 100.0
_COLUMNS = 54
# First column (from 0) of a unit; within it temperature, acceleration of 16 g and of 6 g, angular rate, magnetic field
# and orientation follow each other.
_UNITS = {"": (3, "wrist"), "_chest": (20, "chest"), "_ankle": (37, "ankle")}
_WITHIN = {"acc": (1, "m/s^2"), "gyro": (7, "rad/s")}
_FILE = re.compile(r"subject(\d+)\.dat")
# The files count seconds from no stated moment: protocol sessions begin at midnight of 2000-01-01, optional a day on.
_FOLDERS = ("Protocol", "Optional")
_FIRST_NS, _DAY_NS = 946_684_800 * NS_PER_S, 86_400 * NS_PER_S
# A heart rate holds until the next one, as long as that comes in time.
_HOLDS_S = 1.0


class Pamap2:
    """One visit a session: Protocol/subjectNNN.dat, and Optional/subjectNNN.dat if asked for.

    Wrist: `acc`, `gyro`; chest: `acc_chest`, `gyro_chest`; ankle: `acc_ankle`, `gyro_ankle`. Labels: `activity` (all
    eighteen), `protocol_activity` (the twelve of the protocol), `shared_activity` (the eight that all but one person
    did), `heart_rate` in bpm from the monitor at the chest, about nine times a second.

    Format: text, 54 columns, a row every 10 ms: time in s, activity, heart rate, then 17 columns a unit (hand, chest,
        ankle); NaN where a unit's radio lost the sample.
    Units: acc m/s^2, gyro rad/s.
    Lossy: Acceleration in the range of 6 g, which the publisher advises against (it saturates in running and
        jumping); temperature inside the units; magnetic field; orientation, which the publisher calls invalid. Time of
        activity 0 (between activities) has no label. Age and sex are in a PDF only, and are not read.

    Args:
        path: Folder PAMAP2_Dataset, or the folder above it.
        optional: Whether the sessions of Optional/ are read too; five of the nine people have one.
        subject_key: See `SubjectKey.find`; `public` gives the same pseudonyms everywhere.
        limit: Only the first sessions, for a quick look; None is all.
    """

    name = "pamap2"
    licence = "CC BY 4.0"
    source = "Reiss and Stricker 2012, doi:10.1109/ISWC.2012.13; archive.ics.uci.edu/dataset/231"

    def __init__(
        self, *, path: str, optional: bool = False, subject_key: str = "auto", limit: int | None = None
    ) -> None:
        inside = Path(path) / "PAMAP2_Dataset"
        self._folder = inside if inside.is_dir() else Path(path)
        self._chosen = _FOLDERS if optional else _FOLDERS[:1]
        self._key = subject_key
        self._limit = limit

    def inputs(self) -> list[Path]:
        """Every session's file."""
        return self._sessions()

    def visits(self) -> Iterator[Visit]:
        """Protocol sessions in order of name, then optional ones; see `Visits` for what happens after an error."""
        key = SubjectKey.find(self._key)
        sessions = [(path, key.pseudonym(self.name, _number(path))) for path in self._sessions()]
        return Visits([OneVisit(partial(_read, path, subject), subject, (path,)) for path, subject in sessions])

    def _sessions(self) -> list[Path]:
        found = []
        for name in self._chosen:
            sessions = sorted(path for path in (self._folder / name).glob("*.dat") if _FILE.fullmatch(path.name))
            if not sessions:
                raise ReaderError(
                    "The cohort's folder holds no session",
                    where=f"{self._folder.name}/{name}",
                    expected=f"{name}/subjectNNN.dat",
                    fix="point cohort.path to the unpacked PAMAP2_Dataset, or set cohort.optional=false",
                )
            found += sessions
        return found[: self._limit]


def _number(path: Path) -> str:
    match = _FILE.fullmatch(path.name)
    assert match is not None
    return match[1]


def _read(path: Path, subject: str) -> Visit:
    folder = path.parent.name
    rows = _rows(path, where=f"{folder} file")
    times = rows[:, 0]
    rate = median_rate(times, where=f"{folder} file, column 1")
    if abs(rate - RATE_HZ) > 0.02 * RATE_HZ:
        raise ReaderError(
            "The sampling rate does not fit the units",
            where=f"{folder} file, column 1",
            expected=f"seconds, {RATE_HZ:g} rows a second",
            got=f"{rate:.3g} rows a second",
            fix="take the file as it was published",
        )
    check_codes(rows[:, 1], {0, *PROTOCOL, *OPTIONAL}, where=f"{folder} file, column 2 (activity)")
    start_ns = _FIRST_NS + _FOLDERS.index(folder) * _DAY_NS
    placed = place(times, rows, RATE_HZ, where=f"{folder} file, column 1")
    codes = np.where(np.isnan(placed[:, 1]), 0, placed[:, 1]).astype(np.int64)
    labels = {
        name: class_track(name, codes, rate_hz=RATE_HZ, start_ns=start_ns, classes=classes)
        for name, classes in _TRACKS.items()
    }
    return Visit(
        subject=subject,
        recordings=_recordings(placed.T, start_ns, subject, folder),
        labels=labels | {"heart_rate": _heart_rate(placed[:, 2], start_ns)},
        source="pamap2",
    )


def _recordings(columns: NDArray[np.float64], start_ns: int, subject: str, folder: str) -> dict[str, Recording]:
    found = {}
    for ending, (first, site) in _UNITS.items():
        for kind, (within, unit) in _WITHIN.items():
            begin = first + within
            found[kind + ending] = make_recording(
                columns[begin : begin + 3],
                modality=kind + ending,
                unit=unit,
                channels=("x", "y", "z"),
                sampling_rate_hz=RATE_HZ,
                start_ns=start_ns,
                subject=subject,
                device="colibri_wireless",
                body_site=site,
                where=f"{folder} file, columns {begin + 1} to {begin + 3}",
            )
    return found


def _rows(path: Path, *, where: str) -> NDArray[np.float64]:
    data = read_bytes(path)
    line = data.split(b"\n", 1)[0]
    if len(line.split(b" ")) != len(line.split()):
        # Other spaces than single ones, as editors and copies leave them.
        data = b"\n".join(b" ".join(line.split()) for line in data.splitlines())
    names = [str(column) for column in range(_COLUMNS)]
    table = parse_csv(data, where=where, names=names, types=dict.fromkeys(names, pa.float64()), delimiter=" ")
    return np.stack([table.column(name).to_numpy() for name in names], axis=1)


def _heart_rate(rates_bpm: NDArray[np.float64], start_ns: int) -> LabelTrack:
    here = np.flatnonzero(np.isfinite(rates_bpm) & (rates_bpm > 0))
    until = np.append(here[1:], len(rates_bpm))
    ends = np.minimum(until, here + round(_HOLDS_S * RATE_HZ))
    starts_ns, ends_ns = (start_ns + edge * round(NS_PER_S / RATE_HZ) for edge in (here, ends))
    return LabelTrack("heart_rate", "value", starts_ns, ends_ns, rates_bpm[here], unit="bpm")
