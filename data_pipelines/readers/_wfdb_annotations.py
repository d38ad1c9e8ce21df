"""Marks of a WFDB record: heart beats, and rhythms from one mark to the next."""

import re
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from data_pipelines.readers._files import read_bytes
from hdt_fm.schema.errors import ReaderError
from hdt_fm.schema.recording import NS_PER_S, LabelTrack

# Codes of the format (physionet.org/physiotools/wag/annot-5.htm): every kind of beat, and the marks used here.
_BEATS = {*range(1, 14), 25, 30, 34, 35, 38, 41}
_RHYTHM, _NOTE = 28, 22
_SKIP, _NUM, _SUB, _CHAN, _AUX = 59, 60, 61, 62, 63
# `(AFIB`: a short word in capitals. Anything else that stands there is a note by a person.
_RHYTHM_NAME = re.compile(rb"\(([A-Z]{1,6})\x00*")
_MOST_SAMPLES = 1 << 40
# Thirty years: what is longer is a damaged header, and would leave the years that int64 nanoseconds hold.
LONGEST_S = 1e9
_RESOLUTION = re.compile(rb"## time resolution: (\d{1,9}(?:\.\d{1,9})?)")


def read_annotations(path: Path, *, start_ns: int, end_ns: int, frame_rate_hz: float) -> dict[str, LabelTrack]:
    """Label tracks of `.atr`; none where there is no such file.

    Raises:
        ReaderError: If the file is cut off or malformed.
    """
    file = path.with_suffix(".atr")
    if not file.is_file():
        return {}
    marks = list(_marks(read_bytes(file)))
    told = next((float(m[1]) for _, code, note in marks if code == _NOTE and (m := _RESOLUTION.match(note))), 0.0)
    rate = told or frame_rate_hz
    if marks and marks[-1][0] / rate > LONGEST_S:
        raise _malformed("its marks go centuries ahead")
    at = lambda samples: start_ns + np.rint(np.array(samples) / rate * NS_PER_S).astype(np.int64)
    beats = at([sample for sample, code, _ in marks if code in _BEATS])
    found = [LabelTrack("beats", "event", beats, beats, np.zeros(len(beats)))] if len(beats) else []
    rhythms = [(s, m[1].decode()) for s, code, note in marks if code == _RHYTHM and (m := _RHYTHM_NAME.match(note))]
    begins = at([sample for sample, _ in rhythms])
    if len(begins) and begins[-1] < end_ns:
        classes = tuple(sorted({name for _, name in rhythms}))
        values = np.array([classes.index(name) for _, name in rhythms], dtype=np.float64)
        found.append(LabelTrack("rhythm", "class", begins, np.append(begins[1:], end_ns), values, classes=classes))
    return {track.name: track for track in found}


def _marks(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """(sample, code, note) in order of time.

    A word of sixteen bits holds a code and the samples since the mark before; some codes say more of the last mark.
    """
    sample, position, mark, note = 0, 0, None, b""
    while True:
        if position + 2 > len(data):
            raise _malformed("it ends before its end mark")
        word = int.from_bytes(data[position : position + 2], "little")
        code, low = word >> 10, word & 0x3FF
        position += 2
        if code == _AUX:
            note = data[position : position + low]
            position += low + low % 2
        elif code == _SKIP:
            if position + 4 > len(data):
                raise _malformed("it ends before its end mark")
            high, rest = struct.unpack_from("<hH", data, position)
            sample += (high << 16) + rest
            position += 4
        elif code not in (_NUM, _SUB, _CHAN):
            if mark is not None:
                yield (*mark, note)
            if word == 0:
                return
            sample += low
            if not (mark[0] if mark else 0) <= sample < _MOST_SAMPLES:
                raise _malformed("its marks go back in time, or centuries ahead")
            mark, note = (sample, code), b""


def _malformed(got: str) -> ReaderError:
    return ReaderError(
        "The annotations cannot be read",
        where=".atr",
        expected="an annotation file in MIT format",
        got=got,
        fix="take the record as it was published",
    )
