"""WFDB header files: what a record is made of (physionet.org/physiotools/wag/header-5.htm).

The library's own parser makes a table of each header, which takes longer than to read most signals.
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from data_pipelines.readers._beginning import first_bytes
from hdt_fm.schema.errors import ReaderError

RECORD_LINE = re.compile(
    r"(?P<name>[^\s/]+)(?:/(?P<segments>\d+))?\s+(?P<signals>\d+)"
    r"(?:\s+(?P<rate>[\d.eE+-]+)(?:/[\d.eE+-]+(?:\([\d.eE+-]+\))?)?"
    r"(?:\s+(?P<frames>\d+)(?:\s+(?P<time>[\d:.]+)(?:\s+(?P<date>\d+/\d+/\d+))?)?)?)?\s*"
)
_SIGNAL_LINE = re.compile(
    r"(?P<file>\S+)\s+(?P<format>\d+)(?:x(?P<frame>\d+))?(?::(?P<skew>\d+))?(?:\+(?P<offset>\d+))?"
    r"(?:\s+(?P<gain>[\d.eE+-]+)(?:\((?P<baseline>-?\d+)\))?(?:/(?P<unit>\S+))?"
    r"(?:\s+\d+(?:\s+(?P<zero>-?\d+)(?:\s+-?\d+(?:\s+-?\d+(?:\s+\d+(?:\s+(?P<name>.*\S))?)?)?)?)?)?)?\s*"
)
_SEGMENT_LINE = re.compile(r"(?P<name>\S+)\s+(?P<frames>\d+)\s*")
_DEFAULT_RATE_HZ, _DEFAULT_GAIN = 250.0, 200.0


@dataclass(frozen=True)
class StoredSignal:
    """One signal line: where its numbers are, and how they are scaled: (number - baseline) / gain = value in `unit`."""

    file: str
    format: str
    samples_a_frame: int
    skew: int
    byte_offset: int
    gain: float
    baseline: int
    unit: str
    name: str


@dataclass(frozen=True)
class Header:
    """One header; `segments` are (name, frames) where the record is made of other records."""

    rate_hz: float
    frames: int | None
    start: datetime | None
    signals: tuple[StoredSignal, ...] = ()
    segments: tuple[tuple[str, int], ...] = ()


def header_lines(path: Path) -> list[str]:
    """Lines that are neither empty nor comments."""
    lines = first_bytes(path, 1 << 20).decode("utf-8", errors="replace").splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


def read_header(path: Path) -> Header:
    """The header at a path.

    Raises:
        ReaderError: If it is missing or malformed, or points to a file in another folder.
    """
    if not path.is_file():
        raise _malformed("There is no header", where=None)
    lines = header_lines(path)
    record = RECORD_LINE.fullmatch(lines[0].strip()) if lines else None
    if record is None:
        raise _malformed("The first line describes no record", where="line 1")
    _refuse_other_folders(lines[1:])
    count = int(record["segments"] or record["signals"])
    if len(lines) - 1 < count:
        raise _malformed("It has fewer lines than its first one says", where=None)
    try:
        rate, start = float(record["rate"] or _DEFAULT_RATE_HZ), _start(record["time"], record["date"])
    except (ValueError, OverflowError):
        raise _malformed("The rate or the date cannot be", where="line 1") from None
    frames = int(record["frames"]) if record["frames"] else None
    if record["segments"]:
        found = [_needed(_SEGMENT_LINE.fullmatch(line.strip())) for line in lines[1 : count + 1]]
        return Header(rate, frames, start, segments=tuple((one["name"], int(one["frames"])) for one in found))
    signals = tuple(_signal(line, index) for index, line in enumerate(lines[1 : count + 1]))
    return Header(rate, frames, start, signals)


def _signal(line: str, index: int) -> StoredSignal:
    found = _needed(_SIGNAL_LINE.fullmatch(line.strip()))
    try:
        # A gain of 0 or none means that the signal was not calibrated; the standard then says 200.
        gain = float(found["gain"] or 0) or _DEFAULT_GAIN
    except ValueError:
        raise _malformed("A gain is no number", where=f"signal {index + 1}") from None
    return StoredSignal(
        file=found["file"],
        format=found["format"],
        samples_a_frame=int(found["frame"] or 1),
        skew=int(found["skew"] or 0),
        byte_offset=int(found["offset"] or 0),
        gain=gain,
        baseline=int(found["baseline"] if found["baseline"] is not None else found["zero"] or 0),
        unit=found["unit"] or "mV",
        name=found["name"] or f"signal {index + 1}",
    )


def _start(time: str | None, date: str | None) -> datetime | None:
    """None unless the header has both."""
    if time is None or date is None:
        return None
    day, month, year = (int(part) for part in date.split("/"))
    hours, minutes, seconds = ([0.0, 0.0] + [float(part) for part in time.split(":")])[-3:]
    return datetime(year, month, day) + timedelta(hours=hours, minutes=minutes, seconds=seconds)


def _refuse_other_folders(lines: list[str]) -> None:
    """A header names its signal files; one that names a file elsewhere is not to be followed."""
    for line in lines:
        name = line.split()[0]
        if "/" in name or "\\" in name or ":" in name or name.startswith("."):
            raise ReaderError(
                "The header points to a file outside its folder",
                where="header",
                expected="plain file names",
                fix="put all files of the record in one folder, and do not trust this header",
            )


def _needed(match: re.Match[str] | None) -> re.Match[str]:
    if match is None:
        raise _malformed("A line describes no signal or segment", where=None)
    return match


def _malformed(problem: str, where: str | None) -> ReaderError:
    return ReaderError(
        "The WFDB record cannot be read",
        where=f"header, {where}" if where else "header",
        expected="a whole header with its signal files beside it",
        got=problem,
        fix="check that every file named in the .hea is there and complete",
    )
