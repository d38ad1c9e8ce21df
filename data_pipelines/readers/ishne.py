"""ISHNE files of Holter recorders."""

import binascii
import re
import struct
from datetime import datetime
from pathlib import Path

import numpy as np

from data_pipelines.readers._beginning import first_bytes
from data_pipelines.readers._channels import RawSignal, to_recordings
from data_pipelines.readers._files import read_bytes
from data_pipelines.readers._recordings import check_rate, datetime_to_ns
from hdt_fm.schema.errors import ReaderError
from hdt_fm.schema.recording import NS_PER_S, LabelTrack, Visit

_MAGIC = b"ISHNE1.0"
_HEADER = 522
_MAX_LEADS = 12
_INVALID = -32768
_LEADS = (
    *("unknown", "bipolar", "X", "Y", "Z", "I", "II", "III", "aVR", "aVL", "aVF"),
    *("V1", "V2", "V3", "V4", "V5", "V6", "ES", "AS", "AI"),
)
_BEAT = re.compile(rb"(\d{1,9}(?:\.\d{1,9})?)\s+([A-Z])")
# A stretch that could not be read, not a beat.
_UNREADABLE = b"X"


class Ishne:
    """Reads one recording, with its beats where a text file of the same name lies beside it.

    Format: ISHNE 1.0 (Badilini 1998, "The ISHNE Holter standard output file format"), .ecg or .ecg.gz. Beats: a line
        each with seconds from the start and a letter, in `<name>.txt`.
    Units: ecg, from the nanovolts a step that the header has for each lead.
    Lossy: Name, id, sex, race, day of birth, pacemaker code and the variable header; lead quality; the kind of a beat;
        beats marked X (unreadable). The header's local time is taken as UTC.
    """

    @staticmethod
    def detect(path: Path) -> bool:
        """Whether the file begins with the word of the format."""
        return first_bytes(path, len(_MAGIC)) == _MAGIC

    def read(self, path: Path, *, subject: str) -> Visit:
        """Read all leads.

        Raises:
            ReaderError: If the header is malformed, or the file or its beats are cut off.
            UnitError: If most values cannot be in nanovolts.
        """
        if not self.detect(path):
            raise ReaderError("This is no ISHNE file", expected="a file that begins with ISHNE1.0")
        data = read_bytes(path)
        if len(data) < _HEADER:
            raise _malformed("a header that is cut off")
        _check_header(data)
        samples, _, begin = struct.unpack_from("<iii", data, 14)
        (leads,) = struct.unpack_from("<h", data, 156)
        (rate,) = struct.unpack_from("<h", data, 272)
        check_rate(rate, where="header")
        if not 1 <= leads <= _MAX_LEADS or samples < 1 or begin < _HEADER:
            raise _malformed("a number of leads or samples that cannot be")
        if begin + 2 * samples * leads > len(data):
            raise _malformed("fewer samples than the header says")
        stored = np.frombuffer(data, dtype="<i2", count=samples * leads, offset=begin).reshape(samples, leads)
        start_ns = datetime_to_ns(_started(data))
        signals = [_lead(data, index, stored[:, index], float(rate)) for index in range(leads)]
        recordings = to_recordings(signals, start_ns=start_ns, subject=subject, device="holter", where="file")
        return Visit(
            subject=subject,
            recordings=recordings,
            labels=_beats(path, start_ns=start_ns, duration_s=samples / rate),
            source="ishne",
        )


def _check_header(data: bytes) -> None:
    """The checksum is over both headers; 0 is what recorders write that do not make one."""
    told, variable = struct.unpack_from("<Hi", data, 8)
    if told and told != binascii.crc_hqx(data[10 : _HEADER + max(variable, 0)], 0xFFFF):
        raise _malformed("a header with a wrong checksum")


def _lead(data: bytes, index: int, stored: np.ndarray, rate: float) -> RawSignal:
    code, step = (struct.unpack_from("<h", data, begin + 2 * index)[0] for begin in (158, 206))
    if step <= 0:
        raise _malformed("a lead without a resolution")
    name = _LEADS[code] if 1 < code < len(_LEADS) else f"lead {index + 1}"
    invalid = stored == _INVALID
    if not invalid.any():
        return RawSignal(name, "nV", rate, stored, "ecg", calibration=(float(step), 0.0))
    return RawSignal(name, "nV", rate, np.where(invalid, np.nan, stored * float(step)), "ecg")


def _started(data: bytes) -> datetime | None:
    day, month, year = struct.unpack_from("<hhh", data, 138)
    try:
        return datetime(year, month, day, *struct.unpack_from("<hhh", data, 150))
    except ValueError:
        return None


def _beats(path: Path, *, start_ns: int, duration_s: float) -> dict[str, LabelTrack]:
    """Of the text file beside the recording; its first line may be an id, which is passed over."""
    beside = path.with_name(path.name.removesuffix(".gz").rsplit(".", 1)[0] + ".txt")
    if beside == path or not beside.is_file():
        return {}
    lines = [line.strip() for line in read_bytes(beside).splitlines()]
    found = [_BEAT.fullmatch(line) for line in lines[1:] if line]
    if not found:
        return {}
    if None in found or (lines[0] and not (_BEAT.fullmatch(lines[0]) or re.fullmatch(rb"\w+", lines[0]))):
        raise ReaderError(
            "The text file beside the recording holds no list of beats",
            where="line of another form",
            expected="seconds and a letter in each line, after one line with an id",
            fix="export the beats again, or give that file another name",
        )
    found = [_BEAT.fullmatch(lines[0]), *found]
    seconds = np.array([float(one[1]) for one in found if one is not None and one[2] != _UNREADABLE])
    if len(seconds) and ((np.diff(seconds) < 0).any() or seconds[-1] > duration_s + 1):
        raise ReaderError(
            "The beats do not fit the recording",
            expected="times in order, within the recording",
            fix="check that both files are of one recording",
        )
    times = start_ns + np.rint(seconds * NS_PER_S).astype(np.int64)
    return {"beats": LabelTrack("beats", "event", times, times, np.zeros(len(times)))} if len(times) else {}


def _malformed(got: str) -> ReaderError:
    return ReaderError("The ISHNE file is truncated or damaged", expected="a whole file", got=got, fix="copy it again")
