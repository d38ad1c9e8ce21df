"""Blocks of windows -> one shard: USTAR with .npy members, plain, packed or sealed, and its index."""

import hashlib
import os
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
import xxhash
from numpy.typing import NDArray

from hdt_fm.schema.age import SUFFIX, seal
from hdt_fm.schema.codec import CODECS, Codec, encode, need_codec
from hdt_fm.schema.errors import ShardError
from hdt_fm.schema.npy import DTYPES, npy_header
from hdt_fm.schema.shard import HEADER_MEMBER, MEMBER_PATTERN, ShardHeader, member_name
from hdt_fm.schema.shard_index import MEMBER, SEALED, ShardIndex, index_bytes, member_record, write_index
from hdt_fm.schema.shard_seal import Seal, stored_name
from hdt_fm.schema.shard_walk import TAR_BLOCK

I16_LIMIT = 32767
Block = tuple[int, Mapping[str, np.ndarray]]


@dataclass(frozen=True)
class Packed:
    """What one shard turned out to be.

    Attributes:
        bytes, sha256: Of the plain tar, also where it was sealed on its way and never lay on a disk.
        seal: Of what lies there instead.
    """

    bytes: int
    sha256: str
    windows: int
    blocks: int
    seal: Seal | None = None


@dataclass(frozen=True)
class Member:
    """A member of a plain tar: its record without place and checksum, and what it holds."""

    record: np.ndarray
    content: tuple[bytes | memoryview, ...]


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


def write_shard(path: Path, header: ShardHeader, blocks: Iterable[Block], *, to: Sequence[str] = ()) -> Packed:
    """Write `path` and the index beside it, each by a temporary name, fsync and rename; the index first.

    Args:
        path: The `.tar`; the index gets the suffix `.idx`.
        blocks: (block number, members by name) with rising numbers; all arrays of a block have one first axis.
        to: Public keys of those for whom it is sealed; a plain one without.

    Raises:
        ShardError: If a member's name or dtype may not be in a shard.
        ConfigError: If the library of a codec in the header is not installed.
    """
    codecs: dict[str, Codec] = {}
    for column in header.modalities:
        need_codec(column.codec)
        codecs |= {column.name: column.codec, f"{column.name}_observed": column.codec}
    windows = count = 0

    def members() -> Iterator[Member]:
        nonlocal windows, count
        for number, arrays in blocks:
            for name, array in arrays.items():
                yield _member(number, name, array, codecs.get(name, "none"))
            windows, count = windows + len(next(iter(arrays.values()))), count + 1

    made = write_members(path, header.model_dump_json().encode(), header, members(), to=to)
    return replace(made, windows=windows, blocks=count)


def write_members(
    path: Path, head: bytes, header: ShardHeader, members: Iterable[Member], *, to: Sequence[str] = ()
) -> Packed:
    """As `write_shard`, of members as they lie in a plain tar; windows and blocks are left to the caller.

    Args:
        head: `header` as its bytes are to be.
    """
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("wb") as file:
        plain, sealed = (TarWriter(None), TarWriter(file)) if to else (TarWriter(file), None)
        plain.add(HEADER_MEMBER, head)
        if sealed is not None:
            sealed.add(HEADER_MEMBER + SUFFIX, seal(head, to))
        for member in members:
            plain.add_member(member.record, member.content)
            if sealed is not None:
                record = member.record.copy()
                record["name"] = stored_name(record["name"].item().decode(), header).encode()
                record["codec"] |= SEALED
                sealed.add_member(record, (seal(b"".join(member.content), to),))
        digest = plain.finish()
        lying, lies = (plain, digest) if sealed is None else (sealed, sealed.finish())
        file.flush()
        os.fsync(file.fileno())
    table = np.array(lying.records, dtype=MEMBER) if lying.records else np.empty(0, dtype=MEMBER)
    index = ShardIndex(lying.place, lies, table)
    write_index(path.with_suffix(".idx"), index)
    os.replace(temporary, path)
    made = Seal(bytes=lying.place, sha256=lies.hex(), index_sha256=hashlib.sha256(index_bytes(index)).hexdigest())
    return Packed(plain.place, digest.hex(), 0, 0, made if to else None)


def _member(block: int, name: str, array: np.ndarray, codec: Codec) -> Member:
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
    return Member(member_record(block, name, data.dtype, data.shape, len(head), codec), (head, body))


class TarWriter:
    """Streams members to a file, with the digests taken on the way; without a file it takes the digests alone."""

    def __init__(self, file: BinaryIO | None) -> None:
        self.file, self.place, self.sha256 = file, 0, hashlib.sha256()
        self.records: list[np.ndarray] = []

    def add(self, name: str, *content: bytes | memoryview) -> int:
        """A member; returns where its content begins."""
        info = tarfile.TarInfo(name)
        info.size = sum(map(len, content))
        self._put(info.tobuf(format=tarfile.USTAR_FORMAT))
        start = self.place
        for part in content:
            self._put(part)
        self._put(bytes(-self.place % TAR_BLOCK))
        return start

    def add_member(self, record: np.ndarray, content: Sequence[bytes | memoryview]) -> None:
        """A member with its record, which gets its place and checksum."""
        checksum = xxhash.xxh3_64()
        for part in content:
            checksum.update(part)
        record = record.copy()
        name, codec = record["name"].item().decode(), CODECS[record["codec"] & (SEALED - 1)]
        full = member_name(int(record["block"]), name, codec, sealed=bool(record["codec"] & SEALED))
        record["offset"] = self.add(full, *content)
        record["length"], record["xxh3"] = sum(map(len, content)), checksum.intdigest()
        self.records.append(record)

    def finish(self) -> bytes:
        """The end of the tar; returns its digest."""
        self._put(bytes(2 * TAR_BLOCK))
        return self.sha256.digest()

    def _put(self, data: bytes | memoryview) -> None:
        if self.file is not None:
            self.file.write(data)
        self.sha256.update(data)
        self.place += len(data)
