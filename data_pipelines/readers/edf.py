"""European Data Format and its 24-bit sibling: EDF, EDF+, BDF."""

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import edfio
import numpy as np
from numpy.typing import NDArray

from data_pipelines.readers._beginning import first_bytes
from data_pipelines.readers._channels import RawSignal, modality_of, to_recordings
from data_pipelines.readers._recordings import check_rate, datetime_to_ns
from hdt_fm.schema.errors import ReaderError
from hdt_fm.schema.recording import Visit

_MAGIC = {b"0       ": "edf", b"\xffBIOSEMI": "bdf"}
_ONSET = re.compile(rb"([+-]\d+(?:\.\d*)?)[\x14\x15]")
# Sum of the pauses of a discontinuous file, as a multiple of what was recorded, beyond which the clock is broken.
_MAX_STRETCH = 1000


class Edf:
    """Reads one file.

    Format: EDF and EDF+ (edfplus.info/specs), BDF (biosemi.com/faq/file_format.htm); pauses of EDF+D become gaps.
    Units: From the header; labels become modalities by the table in `_channels.py`. Electrodes become channels.
    Lossy: Annotations (see `read_annotations`); patient and recording fields; unknown labels; signals of a modality at
        another rate or in another unit than its first. The header's local time is taken as UTC; an anonymised date
        starts at 1970.

    Args:
        only: Labels of the signals to read, as the file writes them; None takes every known one.
    """

    def __init__(self, *, only: Sequence[str] | None = None) -> None:
        self._only = only

    @staticmethod
    def detect(path: Path) -> bool:
        """Whether the file begins as EDF or BDF does."""
        return path.suffix.lower() in (".edf", ".bdf", ".rec") and first_bytes(path, 8) in _MAGIC

    def read(self, path: Path, *, subject: str) -> Visit:
        """Read every signal with a known label.

        Raises:
            ReaderError: If the header does not comply, the file is truncated, or no label is known or one is missing.
            UnitError: If values cannot be in the header's unit.
        """
        if not self.detect(path):
            raise ReaderError("This is no EDF or BDF file", expected="version '0' or 0xFF BIOSEMI, .edf or .bdf")
        signals, start = _load(path, self._only)
        recordings = to_recordings(signals, start_ns=datetime_to_ns(start), subject=subject, device="edf", where="file")
        return Visit(subject=subject, recordings=recordings, source="edf")


@dataclass(frozen=True)
class Annotation:
    """A word about a stretch of time, in seconds from the file's start; the duration is None where none is given."""

    onset_s: float
    duration_s: float | None
    text: str


def read_annotations(path: Path) -> tuple[datetime | None, tuple[Annotation, ...]]:
    """Start of an EDF+ or BDF+ file and its annotations in order of time; other files have none.

    Raises:
        ReaderError: If the header does not comply or the file is truncated.
    """
    if not Edf.detect(path):
        raise ReaderError("This is no EDF or BDF file", expected="version '0' or 0xFF BIOSEMI, .edf or .bdf")
    with _blaming_the_file():
        file = _open(path)
        found = tuple(Annotation(float(one.onset), one.duration, one.text) for one in file.annotations)
        return _start(file), found


def _load(path: Path, only: Sequence[str] | None) -> tuple[list[RawSignal], datetime | None]:
    with _blaming_the_file():
        file = _open(path)
        duration = float(file.data_record_duration)
        offsets = _record_offsets(path, file.num_data_records, duration, file.reserved)
        # Each look at a file's signals or at a label decodes the header again.
        labelled = [(signal.label, signal) for signal in file.signals]
        _require(only, [label for label, _ in labelled])
        signals = [
            _raw(label, signal, offsets)
            for label, signal in labelled
            if (only is None or label in only) and modality_of(label, float(signal.sampling_frequency)) is not None
        ]
        unknown = [RawSignal(label, "", 0.0, np.empty(0)) for label, _ in labelled if not signals]
        start = _start(file)
    for signal in signals:
        check_rate(signal.sampling_rate_hz, where=f"signal {signal.name}")
    return signals or unknown, start


def _raw(label: str, signal: Any, offsets: NDArray[np.float64] | None) -> RawSignal:
    """Numbers as they are stored, which are scaled later in one go; in a file with pauses, values."""
    rate, unit = float(signal.sampling_frequency), signal.physical_dimension
    if offsets is not None:
        return RawSignal(label, unit, rate, _with_pauses(signal.data, offsets, rate))
    physical_max, digital_max = signal.physical_max, signal.digital_max
    gain = (physical_max - signal.physical_min) / (digital_max - signal.digital_min)
    calibration = gain, physical_max / gain - digital_max
    return RawSignal(label, unit, rate, signal.digital, calibration=calibration)


@contextmanager
def _blaming_the_file() -> Iterator[None]:
    try:
        with warnings.catch_warnings():
            # It warns of a file that is shorter than its header says, and goes on; we do not.
            warnings.simplefilter("error")
            yield
    except ReaderError:
        raise
    # Whatever the library trips over in a damaged file, it is the file's fault.
    except Exception as error:
        raise ReaderError(
            "The EDF or BDF file does not comply with its standard",
            expected="a whole file whose header says what it holds",
            got=type(error).__name__,
            fix="check that the copy is complete; repair the header with the recorder's own software",
        ) from None


def _open(path: Path) -> edfio.Edf | edfio.Bdf:
    with path.open("rb") as handle:
        read = edfio.read_edf if handle.read(1) == b"0" else edfio.read_bdf
    return read(path)


def _require(only: Sequence[str] | None, there: Sequence[str]) -> None:
    missing = [name for name in only or () if name not in there]
    if missing:
        raise ReaderError(
            "The file lacks a signal",
            where=", ".join(missing),
            expected="every signal that was asked for",
            got=", ".join(there) or "no signal",
            fix="take the file as it was published, or ask for the signals that it holds",
        )


def _start(file: edfio.Edf | edfio.Bdf) -> datetime | None:
    try:
        return datetime.combine(file.startdate, file.starttime)
    except edfio.AnonymizedDateError:
        return None


def _with_pauses(values: NDArray[np.float64], offsets: NDArray[np.float64] | None, rate: float) -> NDArray[np.float64]:
    """Data records put where their onsets say, NaN between them."""
    if offsets is None:
        return values
    records = values.reshape(len(offsets), -1)
    first = np.rint(offsets * rate).astype(np.int64)
    placed = np.full(int(first[-1]) + records.shape[1], np.nan)
    for start, record in zip(first.tolist(), records, strict=True):
        placed[start : start + len(record)] = record
    return placed


def _record_offsets(path: Path, count: int, duration_s: float, reserved: str) -> NDArray[np.float64] | None:
    """Seconds from the first data record to each one of a discontinuous file; None for a continuous one."""
    if not reserved.startswith(("EDF+D", "BDF+D")):
        return None
    data = path.read_bytes()
    width = 2 if data[:1] == b"0" else 3
    number = int(data[252:256])
    labels = [data[256 + 16 * i : 272 + 16 * i].strip() for i in range(number)]
    lengths = [int(data[256 + 216 * number + 8 * i :][:8]) * width for i in range(number)]
    column = next(i for i, label in enumerate(labels) if label in (b"EDF Annotations", b"BDF Annotations"))
    begin = 256 * (number + 1) + sum(lengths[:column])
    onsets = []
    for record in range(count):
        match = _ONSET.match(data, begin + record * sum(lengths))
        if match is None:
            raise ReaderError("A data record does not say when it begins", where=f"data record {record + 1}")
        onsets.append(float(match[1]))
    offsets = np.array(onsets) - onsets[0]
    if (np.diff(offsets) < duration_s * 0.999).any() or offsets[-1] > _MAX_STRETCH * max(count, 1) * duration_s:
        raise ReaderError(
            "The data records of a discontinuous file are not in order of time",
            expected="onsets that rise by at least the duration of a record",
            fix="repair the file with the recorder's own software",
        )
    return offsets
