"""Blocks of windows -> one shard: USTAR with .npy members, plain or packed, and its index."""

import hashlib
import os
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import xxhash
from numpy.typing import NDArray

from hdt_fm.schema.codec import Codec, encode, need_codec
from hdt_fm.schema.errors import ShardError
from hdt_fm.schema.npy import DTYPES, npy_header
from hdt_fm.schema.shard import HEADER_MEMBER, MEMBER_PATTERN, ShardHeader, member_name
from hdt_fm.schema.shard_index import MEMBER, ShardIndex, member_record, write_index
from hdt_fm.schema.shard_walk import TAR_BLOCK

I16_LIMIT = 32767
Block = tuple[int, Mapping[str, np.ndarray]]


@dataclass(frozen=True)
class Packed:
    """What one shard turned out to be."""

    bytes: int
    sha256: str
    windows: int
    blocks: int


def quantise(
    values: NDArray[np.float32], observed: NDArray[np.bool_], *, lsb: float, offset: float
) -> NDArray[np.int16]:
    """int16 codes with value ~ code * lsb + offset; out of range is clipped, unobserved is code 0.

    In float64: float32 rounding can wrap int16 on an almost flat window.

    Args:
        values: (window, channel, time).
        observed: (window, time).
    """
    codes = np.rint((values.astype(np.float64) - offset) / lsb)
    np.clip(codes, -I16_LIMIT, I16_LIMIT, out=codes)
    return np.where(observed[:, None, :], codes, 0.0).astype(np.int16)


def write_shard(path: Path, header: ShardHeader, blocks: Iterable[Block]) -> Packed:
    """Write `path` and the index beside it, each by a temporary name, fsync and rename; the index first.

    Args:
        path: The `.tar`; the index gets the suffix `.idx`.
        blocks: (block number, members by name) with rising numbers; all arrays of a block have one first axis.

    Raises:
        ShardError: If a member's name or dtype may not be in a shard.
        ConfigError: If the library of a codec in the header is not installed.
    """
    codecs: dict[str, Codec] = {}
    for column in header.modalities:
        need_codec(column.codec)
        codecs |= {column.name: column.codec, f"{column.name}_observed": column.codec}
    temporary = path.with_name(path.name + ".tmp")
    windows = count = 0
    with temporary.open("wb") as file:
        writer = _TarWriter(file)
        writer.add_bytes(HEADER_MEMBER, header.model_dump_json().encode())
        for number, members in blocks:
            for name, array in members.items():
                writer.add_array(number, name, array, codecs.get(name, "none"))
            windows, count = windows + len(next(iter(members.values()))), count + 1
        digest = writer.finish()
        file.flush()
        os.fsync(file.fileno())
    table = np.array(writer.records, dtype=MEMBER) if writer.records else np.empty(0, dtype=MEMBER)
    write_index(path.with_suffix(".idx"), ShardIndex(writer.place, digest, table))
    os.replace(temporary, path)
    return Packed(writer.place, digest.hex(), windows, count)


class _TarWriter:
    """Streams members to a file, with the digests taken on the way."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.place, self.sha256 = file, 0, hashlib.sha256()
        self.records: list[np.ndarray] = []

    def add_bytes(self, name: str, data: bytes) -> None:
        self._open(name, len(data))
        self._put(data)
        self._pad()

    def add_array(self, block: int, name: str, array: np.ndarray, codec: Codec = "none") -> None:
        """Plain where that is not larger, whatever the codec."""
        full = member_name(block, name)
        if not MEMBER_PATTERN.fullmatch(full) or array.dtype not in DTYPES:
            raise ShardError(
                f"{full!r} of {array.dtype} may not be in a shard",
                expected="a name of lower-case letters, digits and _ (64 at most), fewer than a million blocks, "
                f"and a dtype of {', '.join(dtype.str for dtype in DTYPES)}",
                fix="rename the label or modality; make block_windows larger if there are too many blocks",
            )
        data = np.ascontiguousarray(array)
        body: bytes | memoryview = data.reshape(-1).view(np.uint8).data
        if codec != "none":
            packed = encode(data, codec)
            body, codec = (packed, codec) if len(packed) < data.nbytes else (body, "none")
        head = npy_header(data.dtype, data.shape)
        record = member_record(block, name, data.dtype, data.shape, len(head), codec)
        self._open(member_name(block, name, codec), len(head) + len(body))
        record["offset"], record["length"] = self.place, len(head) + len(body)
        checksum = xxhash.xxh3_64(head)
        checksum.update(body)
        record["xxh3"] = checksum.intdigest()
        self._put(head)
        self._put(body)
        self._pad()
        self.records.append(record)

    def finish(self) -> bytes:
        self._put(bytes(2 * TAR_BLOCK))
        return self.sha256.digest()

    def _open(self, name: str, size: int) -> None:
        info = tarfile.TarInfo(name)
        info.size = size
        self._put(info.tobuf(format=tarfile.USTAR_FORMAT))

    def _pad(self) -> None:
        self._put(bytes(-self.place % TAR_BLOCK))

    def _put(self, data: bytes | memoryview) -> None:
        self.file.write(data)
        self.sha256.update(data)
        self.place += len(data)
