"""The log of a .gt3x: records with a kind, a second, a payload and a checksum."""

import struct
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from hdt_fm.schema.errors import ReaderError

ACTIVITY, LUX, CAPSENSE, PARAMETERS, ACTIVITY2, ACTIVITY3 = 0, 5, 13, 21, 26, 27
_READ = (ACTIVITY, LUX, CAPSENSE, PARAMETERS, ACTIVITY2, ACTIVITY3)
_RECORD = struct.Struct("<BBIH")
_SEPARATOR = b"\x1e"
# Undocumented bytes between records are rare; a log that is mostly such is no log.
_MAX_DAMAGED = 10_000

Records = dict[int, list[tuple[int, bytes]]]


def read_records(data: bytes) -> tuple[Records, int]:
    """Type -> (time, payload) of the records that are read and have a right checksum; how many were damaged."""
    found: Records = {kind: [] for kind in _READ}
    damaged = 0
    for kind, stamp, payload in _walk(data):
        if kind < 0:
            damaged += 1
            if damaged > _MAX_DAMAGED and damaged > sum(map(len, found.values())):
                raise ReaderError("Most records of the log are damaged", where="log.bin", fix="copy the file again")
        elif kind in found:
            found[kind].append((stamp, payload))
    return found, damaged


def _walk(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Kind, time and payload of each record; kind -1 where bytes that should be one are not."""
    position = data.find(_SEPARATOR)
    while position >= 0:
        if position + _RECORD.size >= len(data):
            yield -1, 0, b""
            return
        _, kind, stamp, size = _RECORD.unpack_from(data, position)
        end = position + _RECORD.size + size
        if end < len(data) and _folded(data[position:end]) ^ 0xFF == data[end]:
            yield kind, stamp, data[position + _RECORD.size : end]
            position = data.find(_SEPARATOR, end + 1)
        else:
            yield -1, 0, b""
            position = data.find(_SEPARATOR, position + 1)


def _folded(data: bytes) -> int:
    return int(np.bitwise_xor.reduce(np.frombuffer(data, np.uint8)))


def parameters(records: Records) -> dict[tuple[int, int], float]:
    """Addresses -> values, all taken as the vendor's floats: 24 bits of fraction, 8 of exponent, both with sign."""
    found = {}
    for _, payload in records[PARAMETERS]:
        for space, name, value in struct.iter_unpack("<HHI", payload[: len(payload) // 8 * 8]):
            exponent, fraction = value >> 24, value & 0xFFFFFF
            fraction -= (fraction >> 23) << 24
            exponent -= (exponent >> 7) << 8
            found[space, name] = fraction / (1 << 23) * 2.0**exponent
    return found


def unpack_seconds(data: bytes, kind: int, size: int, rate: int) -> NDArray[np.float32]:
    """Records of one kind -> (second, sample, x y z), in steps."""
    if kind == ACTIVITY2:
        return np.frombuffer(data, "<i2").reshape(-1, rate, 3).astype(np.float32)
    nibbles = np.frombuffer(data, np.uint8).reshape(-1, size)
    halves = np.stack([nibbles >> 4, nibbles & 15], axis=2).reshape(len(nibbles), -1)[:, : 9 * rate]
    parts = halves.reshape(len(nibbles), rate, 3, 3).astype(np.int16)
    words = (parts[..., 0] << 12 | parts[..., 1] << 8 | parts[..., 2] << 4) >> 4
    # The older kind begins with y.
    return (words[..., [1, 0, 2]] if kind == ACTIVITY else words).astype(np.float32)
