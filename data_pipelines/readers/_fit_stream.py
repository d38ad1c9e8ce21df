"""FIT bytes -> messages: checksum, headers and definitions; what a number means is told in `_fit_profile.py`.

A file is walked once, from header byte to header byte, and only the place of each message is kept. Its fields are
then cut out for all messages of one definition at once.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from data_pipelines.readers._fit_checksum import checksum
from hdt_fm.schema.errors import ReaderError

# Base type -> dtype and the value that means "none"; strings and bytes are no numbers.
_BASE_TYPES: dict[int, tuple[str, float]] = {
    0x00: ("u1", 0xFF),
    0x01: ("i1", 0x7F),
    0x02: ("u1", 0xFF),
    0x0A: ("u1", 0),
    0x0D: ("u1", 0xFF),
    0x83: ("i2", 0x7FFF),
    0x84: ("u2", 0xFFFF),
    0x8B: ("u2", 0),
    0x85: ("i4", 0x7FFFFFFF),
    0x86: ("u4", 0xFFFFFFFF),
    0x8C: ("u4", 0),
    0x88: ("f4", np.nan),
    0x89: ("f8", np.nan),
    0x8E: ("i8", 0x7FFFFFFFFFFFFFFF),
    0x8F: ("u8", 0xFFFFFFFFFFFFFFFF),
    0x90: ("u8", 0),
}
_BYTES = 0x0D


@dataclass
class Block:
    """All messages of one definition: where each begins, and where its fields lie behind its header byte."""

    message: int
    big_endian: bool
    size: int
    # number -> (offset, size, base type)
    fields: dict[int, tuple[int, int, int]]
    starts: list[int] = field(default_factory=list)

    @cached_property
    def places(self) -> NDArray[np.int64]:
        """The starts as an array; to be asked for once the file has been walked."""
        return np.array(self.starts, dtype=np.int64)


class Part:
    """One of the FIT files that a file is a chain of; messages are told apart by their place in `data`."""

    def __init__(self, data: NDArray[np.uint8], blocks: Sequence[Block]) -> None:
        self._data = data
        self._blocks: dict[int, list[Block]] = {}
        for block in blocks:
            if block.starts:
                self._blocks.setdefault(block.message, []).append(block)
        self._orders: dict[int, NDArray[np.int64]] = {}

    @property
    def messages(self) -> tuple[int, ...]:
        """The numbers of all messages that it holds."""
        return tuple(self._blocks)

    def places(self, message: int) -> NDArray[np.int64]:
        """Where the messages of one number begin, in order."""
        joined = _joined(self._blocks.get(message, []))
        if message not in self._orders:
            self._orders[message] = np.argsort(joined)
        return joined[self._orders[message]]

    def column(self, message: int, number: int) -> NDArray[np.float64]:
        """One field of all messages of one number, in their order: (message, value); NaN where there is none."""
        blocks = self._blocks.get(message, [])
        cut = [_cut(self._data, block, number) for block in blocks]
        if len(cut) < 2:
            return cut[0] if cut else np.empty((0, 1))
        joined = np.full((sum(map(len, cut)), max(values.shape[1] for values in cut)), np.nan)
        row = 0
        for values in cut:
            joined[row : row + len(values), : values.shape[1]] = values
            row += len(values)
        if message not in self._orders:
            self._orders[message] = np.argsort(_joined(blocks))
        return joined[self._orders[message]]

    def compressed_seconds(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Places of all messages with a compressed header, and the low five bits of the time in it."""
        places = np.sort(_joined([block for blocks in self._blocks.values() for block in blocks]))
        headers = self._data[places].astype(np.int64)
        compressed = headers >= 0x80
        return places[compressed], headers[compressed] & 0x1F


def read_parts(data: bytes) -> Iterator[Part]:
    """The files in the chain, each with its checksum tested.

    Raises:
        ReaderError: If a part is truncated or damaged, or uses a message before its definition.
    """
    position, array = 0, np.frombuffer(data, dtype=np.uint8)
    while position < len(data):
        begin, end = _header(data, position)
        if checksum(data[position:end]) != struct.unpack_from("<H", data, end)[0]:
            raise _damaged("Its checksum is wrong")
        yield Part(array, _walk(data, begin, end))
        position = end + 2


def _header(data: bytes, position: int) -> tuple[int, int]:
    """Begin and end of the messages."""
    head = data[position : position + 14]
    if len(head) < 12 or head[0] < 12 or head[8:12] != b".FIT":
        raise _damaged("No FIT header stands where one should")
    begin = position + head[0]
    end = begin + int.from_bytes(head[4:8], "little")
    if end + 2 > len(data):
        raise _damaged("It ends before its header says")
    return begin, end


def _walk(data: bytes, position: int, end: int) -> tuple[Block, ...]:
    known: dict[bytes, Block] = {}
    current: list[Block | None] = [None] * 16
    while position < end:
        header = data[position]
        if header & 0xC0 == 0x40:
            stop = _definition_end(data, position, end)
            # A device may define the same again and again; then it is one block all the same.
            key = bytes([header & 0x20]) + data[position + 1 : stop]
            current[header & 0x0F] = known[key] if key in known else known.setdefault(key, _block(key))
            position = stop
            continue
        block = current[(header >> 5) & 0x03 if header & 0x80 else header & 0x0F]
        if block is None:
            raise _damaged("A message comes before its definition")
        block.starts.append(position)
        position += block.size
    if position != end:
        raise _damaged("Its last message is cut off")
    return tuple(known.values())


def _definition_end(data: bytes, position: int, end: int) -> int:
    stop = position + 6 + 3 * data[position + 5] if position + 6 <= end else end + 1
    if data[position] & 0x20 and stop < end:
        stop += 1 + 3 * data[stop]
    elif data[position] & 0x20:
        stop = end + 1
    if stop > end:
        raise _damaged("A definition is cut off")
    return stop


def _block(definition: bytes) -> Block:
    big_endian = definition[2] == 1
    count = definition[5]
    size, fields = 1, {}
    for number, width, base in zip(*(definition[6 + k : 6 + 3 * count : 3] for k in range(3)), strict=True):
        fields[number] = (size, width, base)
        size += width
    # Developer fields have no fixed meaning: their bytes are passed over.
    size += sum(definition[7 + 3 * count + 1 :: 3]) if definition[0] else 0
    return Block(int.from_bytes(definition[3:5], "big" if big_endian else "little"), big_endian, size, fields)


def _cut(data: NDArray[np.uint8], block: Block, number: int) -> NDArray[np.float64]:
    offset, width, base = block.fields.get(number, (0, 0, 0))
    dtype, none = _BASE_TYPES.get(base, ("", 0.0))
    if not dtype or width == 0 or width % int(dtype[1]):
        return np.full((len(block.starts), 1), np.nan)
    places = block.places[:, np.newaxis] + np.arange(offset, offset + width)
    raw = data[places].view((">" if block.big_endian else "<") + dtype)
    # An array of bytes is "none" as a whole only: 0xFF may be a part of a number in it.
    missing = (raw == none).all(axis=1, keepdims=True) if base == _BYTES else raw == none
    return np.where(missing, np.nan, raw.astype(np.float64))


def _joined(blocks: Sequence[Block]) -> NDArray[np.int64]:
    return np.concatenate([np.empty(0, np.int64), *(block.places for block in blocks)])


def _damaged(problem: str) -> ReaderError:
    return ReaderError(
        "The FIT file is truncated or damaged",
        got=problem,
        expected="a whole file, as the device wrote it",
        fix="copy it from the device or the vendor's site again",
    )
