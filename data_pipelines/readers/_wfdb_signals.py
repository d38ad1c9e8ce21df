"""Signals of a WFDB record: numbers as they are stored, scaled here, and put together over segments."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_pipelines.readers._channels import RawSignal
from data_pipelines.readers._wfdb_header import Header, StoredSignal, read_header
from hdt_fm.schema.errors import ReaderError

# Format -> the stored number that means "not measured".
_BITS = ((8, "80 508"), (10, "310 311"), (12, "212"), (16, "16 61 160 516"), (24, "24 524"), (32, "32"))
_NONE = {form: -(2 ** (bits - 1)) for bits, forms in _BITS for form in forms.split()}
# No compressed format holds more samples in a byte; a header that promises more is damaged.
_MAX_SAMPLES_A_BYTE = 1000
_MIN_CAP = 10_000_000
# As for tables: no recording is this many times longer than what was recorded of it.
_MAX_STRETCH = 200
_MAX_VALUES = 500_000_000
_PIECE = 1 << 14


@dataclass
class _Track:
    """One signal of a record of several segments; `values` are NaN where no segment holds it."""

    unit: str
    samples_a_frame: int
    values: NDArray[np.float64]


def read_signals(path: Path, header: Header) -> tuple[list[RawSignal], int]:
    """The record's signals and its length in frames.

    Raises:
        ReaderError: If a file is missing, truncated or malformed, or segments do not fit together.
    """
    if not header.segments:
        if header.signals and all(signal.file == "~" for signal in header.signals):
            raise ReaderError(
                "The WFDB header is the layout of a longer record and holds no signal",
                expected="the header of a whole record or of one of its segments",
                fix="read the header that lists the segments",
            )
        values, frames = _values(path, header)
        return [
            RawSignal(signal.name, signal.unit, header.rate_hz * signal.samples_a_frame, one)
            for signal, one in zip(header.signals, values, strict=True)
        ], frames
    return [
        RawSignal(name, track.unit, header.rate_hz * track.samples_a_frame, track.values)
        for (name, _), track in _over_segments(path, header).items()
    ], sum(frames for _, frames in header.segments)


def _values(path: Path, header: Header) -> tuple[list[NDArray[np.float64]], int]:
    """Each signal in its header's unit, NaN where nothing was measured."""
    if not header.signals:
        raise _unreadable("a record without signals")
    _check_promise(path, header)
    plain = header.frames is not None and all(signal.format in _PLAIN for signal in header.signals)
    stored = _plain(path, header) if plain else _by_library(path)
    if len(stored) != len(header.signals):
        raise _unreadable("another number of signals than the header has")
    pairs = list(zip(stored, header.signals, strict=True))
    # The library has put skewed signals right.
    return [_scaled(one, signal, skewed=plain) for one, signal in pairs], min(
        len(one) // signal.samples_a_frame for one, signal in pairs
    )


def _check_promise(path: Path, header: Header) -> None:
    there = sum(file.stat().st_size for s in header.signals if (file := path.with_name(s.file)).is_file())
    frame = sum(signal.samples_a_frame for signal in header.signals)
    if (header.frames or 1) * frame > max(_MAX_SAMPLES_A_BYTE * there, _MIN_CAP) or frame == 0:
        raise _unreadable("a header that promises more samples than its files can hold")


def _by_library(path: Path) -> list[NDArray[np.integer]]:
    """Compressed and rare formats, and records that do not say how long they are."""
    # wfdb loads pandas and a web client, which the formats below do without.
    import wfdb

    try:
        record = wfdb.rdrecord(str(path.with_suffix("")), physical=False, smooth_frames=False)
        return list(record.e_d_signal)
    # Whatever the library trips over in a damaged file, it is the file's fault.
    except Exception as error:
        raise _unreadable(type(error).__name__) from None


def _plain(path: Path, header: Header) -> list[NDArray[np.integer]]:
    """Signals of one file take turns in it, frame by frame."""
    assert header.frames is not None
    found: list[NDArray[np.integer]] = []
    for (name, form), group in groupby(header.signals, key=lambda s: (s.file, s.format)):
        signals = list(group)
        frame = sum(signal.samples_a_frame for signal in signals)
        numbers = _numbers(path.with_name(name), form, signals[0].byte_offset, header.frames * frame)
        turns = numbers.reshape(header.frames, frame)
        begin = 0
        for signal in signals:
            found.append(turns[:, begin : begin + signal.samples_a_frame].reshape(-1))
            begin += signal.samples_a_frame
    return found


def _numbers(path: Path, form: str, byte_offset: int, count: int) -> NDArray[np.integer]:
    if not path.is_file():
        raise _unreadable("a signal file that is not there")
    numerator, denominator, decode = _PLAIN[form]
    size = -(-count * numerator // denominator)
    raw = np.fromfile(path, dtype=np.uint8, count=size, offset=byte_offset)
    if len(raw) < size:
        raise _unreadable("a signal file that is cut off")
    return decode(raw)[:count]


def _signed(dtype: str) -> Callable[[NDArray[np.uint8]], NDArray[np.integer]]:
    return lambda raw: raw.view(dtype)


def _of_24_bits(raw: NDArray[np.uint8]) -> NDArray[np.integer]:
    wide = np.zeros((len(raw) // 3, 4), dtype=np.uint8)
    wide[:, 1:] = raw.reshape(-1, 3)
    return wide.view("<i4")[:, 0] >> 8


def _of_12_bits(raw: NDArray[np.uint8]) -> NDArray[np.integer]:
    """Two numbers in three bytes; the middle one holds the high bits of both, the first's below."""
    triples = np.concatenate([raw, np.zeros(-len(raw) % 3, np.uint8)]).reshape(-1, 3)
    pairs = np.empty((len(triples), 2), dtype=np.int16)
    # Piece by piece while it is in the cache; shifted up and down again, so that the sign is carried along.
    for begin in range(0, len(triples), _PIECE):
        first, middle, last = triples[begin : begin + _PIECE].T.astype(np.int16)
        pairs[begin : begin + _PIECE, 0] = (first << 4 | middle << 12) >> 4
        pairs[begin : begin + _PIECE, 1] = (last << 4 | (middle & 0xF0) << 8) >> 4
    return pairs.reshape(-1)


# Format -> bytes over samples, and how to decode.
_PLAIN: dict[str, tuple[int, int, Callable[[NDArray[np.uint8]], NDArray[np.integer]]]] = {
    "16": (2, 1, _signed("<i2")),
    "61": (2, 1, _signed(">i2")),
    "32": (4, 1, _signed("<i4")),
    "80": (1, 1, lambda raw: raw.astype(np.int16) - 128),
    "160": (2, 1, lambda raw: raw.view("<u2").astype(np.int32) - 32768),
    "24": (3, 1, _of_24_bits),
    "212": (3, 2, _of_12_bits),
}


def _scaled(stored: NDArray[np.integer], signal: StoredSignal, *, skewed: bool) -> NDArray[np.float64]:
    """In the header's unit, NaN where nothing was measured; a skewed signal was stored some frames too late."""
    values = np.subtract(stored, signal.baseline, dtype=np.float64)
    values /= signal.gain
    none = _NONE.get(signal.format)
    if none is not None and (missing := stored == none).any():
        values[missing] = np.nan
    shift = min(signal.skew * signal.samples_a_frame, len(values)) if skewed else 0
    if shift:
        values[: len(values) - shift] = values[shift:]
        values[len(values) - shift :] = np.nan
    return values


def _over_segments(path: Path, header: Header) -> dict[tuple[str, int], _Track]:
    """(name, how many of that name came before it in its segment) -> the whole signal."""
    total = sum(frames for _, frames in header.segments)
    recorded = sum(frames for name, frames in header.segments if name != "~")
    if total > max(_MAX_STRETCH * recorded, _MIN_CAP):
        raise _unreadable("segments that lie too far apart")
    tracks: dict[tuple[str, int], _Track] = {}
    begin = 0
    for name, frames in header.segments:
        # The first segment of a variable layout holds no sample: it lists all the signals there are.
        if name != "~" and frames:
            place = path.with_name(f"{name}.hea")
            _add_segment(tracks, place, read_header(place), begin=begin, frames=frames, total=total)
        begin += frames
    return tracks


def _add_segment(
    tracks: dict[tuple[str, int], _Track], path: Path, header: Header, *, begin: int, frames: int, total: int
) -> None:
    values, length = _values(path, header)
    if length != frames:
        raise _unreadable("a segment that is longer or shorter than the record's header says")
    before: dict[str, int] = {}
    for signal, one in zip(header.signals, values, strict=True):
        key = signal.name, before.get(signal.name, 0)
        before[signal.name] = key[1] + 1
        if key not in tracks:
            # Every segment may bring new names, each with the whole record's length.
            if (len(tracks) + 1) * total * signal.samples_a_frame > _MAX_VALUES:
                raise _unreadable("too many different signals for its length")
            unknown = np.full(total * signal.samples_a_frame, np.nan)
            tracks[key] = _Track(signal.unit, signal.samples_a_frame, unknown)
        track = tracks[key]
        if (track.unit, track.samples_a_frame) != (signal.unit, signal.samples_a_frame):
            raise _unreadable("a signal in two units or at two rates")
        track.values[begin * signal.samples_a_frame :][: len(one)] = one


def _unreadable(got: str) -> ReaderError:
    return ReaderError(
        "The WFDB record cannot be read",
        expected="a whole header with its signal files beside it",
        got=got,
        fix="check that every file named in the .hea is there and complete",
    )
