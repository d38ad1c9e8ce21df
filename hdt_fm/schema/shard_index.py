"""The offset index of one shard: where each member lies, and the checksum of its payload.

An index is a cache: everything in it comes from the tar, and `walk_tar` makes it again. It names the sha256
of its tar, so an index of another tar is seen at once. Layout: magic, member count, tar bytes, sha256 of the
tar, the members (`MEMBER`), xxh3-64 of all before. All numbers little-endian.
"""

import hashlib
import mmap
import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xxhash

from hdt_fm.schema.errors import CorruptShardError, ShardError
from hdt_fm.schema.npy import DTYPES, MAX_HEADER, parse_npy_header
from hdt_fm.schema.shard import HEADER_MEMBER, MEMBER_PATTERN, ShardHeader

TAR_BLOCK = 512
MAX_HEADER_JSON = 1 << 20
MEMBER = np.dtype(
    [
        ("block", "<u4"),
        ("dtype", "u1"),
        ("ndim", "u1"),
        ("header", "<u2"),
        ("offset", "<u8"),
        ("length", "<u8"),
        ("shape", "<u8", (3,)),
        ("xxh3", "<u8"),
        ("name", "S64"),
    ]
)
_MAGIC = b"hdtidx01"
_OCTAL = re.compile(rb"[0-7]{11}[\0 ]")
_PREFIX = len(_MAGIC) + 8 + 8 + 32


@dataclass(frozen=True)
class ShardIndex:
    """Members of one tar, in file order.

    Attributes:
        members: Records of `MEMBER`; `offset` and `length` span the whole .npy, `header` its header bytes.
    """

    tar_bytes: int
    tar_sha256: bytes
    members: np.ndarray


def member_record(block: int, name: str, dtype: np.dtype, shape: tuple[int, ...], header: int) -> np.ndarray:
    """One record without its place and checksum."""
    record = np.zeros((), dtype=MEMBER)
    record["block"], record["name"], record["header"] = block, name.encode(), header
    record["dtype"], record["ndim"] = DTYPES.index(dtype), len(shape)
    record["shape"][: len(shape)] = shape
    return record


def member_array(buffer: memoryview | mmap.mmap, record: np.void) -> np.ndarray:
    """The array of a member as a read-only view into the mapped tar; nothing is copied."""
    shape = tuple(int(axis) for axis in record["shape"][: record["ndim"]])
    start = int(record["offset"]) + int(record["header"])
    count = int(np.prod(shape, dtype=np.int64))
    array = np.frombuffer(buffer, dtype=DTYPES[record["dtype"]], count=count, offset=start).reshape(shape)
    array.flags.writeable = False
    return array


def write_index(path: Path, index: ShardIndex) -> None:
    """Write by a temporary name, then rename."""
    body = b"".join(
        [
            _MAGIC,
            len(index.members).to_bytes(8, "little"),
            index.tar_bytes.to_bytes(8, "little"),
            index.tar_sha256,
            index.members.tobytes(),
        ]
    )
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(body + xxhash.xxh3_64_intdigest(body).to_bytes(8, "little"))
    os.replace(temporary, path)


def read_index(path: Path) -> ShardIndex:
    """Read an index and check it against itself; no offset leaves the tar it speaks of.

    Raises:
        CorruptShardError: If its bytes are not an index, or point outside the tar.
        OSError: If there is no such file.
    """
    data = path.read_bytes()
    body, digest = data[:-8], data[-8:]
    count = int.from_bytes(body[8:16], "little")
    whole = body[:8] == _MAGIC and len(body) == _PREFIX + count * MEMBER.itemsize
    if not whole or xxhash.xxh3_64_intdigest(body).to_bytes(8, "little") != digest:
        raise CorruptShardError("A shard index is damaged", where=path.name, fix="delete it; it is made again")
    members = np.frombuffer(body, dtype=MEMBER, offset=_PREFIX)
    index = ShardIndex(int.from_bytes(body[16:24], "little"), body[24:56], members)
    _check_places(index, where=path.name)
    return index


def _check_places(index: ShardIndex, *, where: str) -> None:
    """Bounds in Python integers: a hostile index may hold numbers that overflow 64 bits when multiplied."""
    for record in index.members:
        axes = [int(axis) for axis in record["shape"][: record["ndim"]]]
        known = record["dtype"] < len(DTYPES) and 1 <= record["ndim"] <= 3
        size = DTYPES[record["dtype"]].itemsize if known else 0
        for axis in axes:
            size *= axis
        end = int(record["offset"]) + int(record["length"])
        if not known or end > index.tar_bytes or size + int(record["header"]) != int(record["length"]):
            raise CorruptShardError(
                "A shard index points outside its shard", where=where, fix="delete it; it is made again"
            )


def walk_tar(path: Path, *, sha256: bytes | None = None) -> ShardIndex:
    """Make the index from the tar alone: header walk, strict names, plain arrays, no links, no extensions.

    Args:
        sha256: Digest of the tar if the caller has it already; computed otherwise.

    Raises:
        ShardError: If the tar holds anything that a shard may not hold.
        CorruptShardError: If it ends too early or a header's own checksum is wrong.
    """
    size = path.stat().st_size
    if size < 3 * TAR_BLOCK:
        raise CorruptShardError("A shard ends too early", where=path.name, got=f"{size} bytes")
    records: list[np.ndarray] = []
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as tar:
        name, length = _tar_header(tar, 0, where=path.name)
        read_header(tar, where=path.name)
        place = TAR_BLOCK + _padded(length)
        seen: set[str] = set()
        while tar[place : place + TAR_BLOCK].strip(b"\0"):
            name, length = _tar_header(tar, place, where=path.name)
            if name in seen:
                raise ShardError("A shard holds a member twice", where=f"{path.name}: {name}")
            seen.add(name)
            records.append(_record(tar, place + TAR_BLOCK, length, name, where=path.name))
            place += TAR_BLOCK + _padded(length)
        if len(tar[place : place + 2 * TAR_BLOCK]) < 2 * TAR_BLOCK or tar[place:].strip(b"\0"):
            raise CorruptShardError("A shard has no proper end", where=path.name, fix="copy it from its maker again")
        digest = sha256 or hashlib.sha256(tar).digest()
    members = np.array(records, dtype=MEMBER) if records else np.empty(0, dtype=MEMBER)
    if np.any(np.diff(members["block"].astype(np.int64)) < 0):
        raise ShardError("Blocks of a shard are out of order", where=path.name)
    return ShardIndex(size, digest, members)


def read_header(tar: mmap.mmap, *, where: str) -> ShardHeader:
    """The first member of a mapped tar.

    Raises:
        ShardError: If the first member is not a header of a version that we read.
    """
    name, length = _tar_header(tar, 0, where=where)
    if name != HEADER_MEMBER or length > MAX_HEADER_JSON:
        raise ShardError("A tar is not a shard of hdt_fm", where=where, expected=f"{HEADER_MEMBER} as its first member")
    try:
        return ShardHeader.model_validate_json(tar[TAR_BLOCK : TAR_BLOCK + length])
    except ValueError as error:
        raise ShardError(
            "The header of a shard cannot be read", where=f"{where}: {HEADER_MEMBER}", got=type(error).__name__
        ) from None


def _padded(length: int) -> int:
    return -(-length // TAR_BLOCK) * TAR_BLOCK


def _tar_header(tar: mmap.mmap, place: int, *, where: str) -> tuple[str, int]:
    """Name and size of the member whose tar header starts at `place`."""
    head = tar[place : place + TAR_BLOCK]
    stated, filled = head[148:156].strip(b"\0 "), head[:148] + b" " * 8 + head[156:]
    if len(head) < TAR_BLOCK or not re.fullmatch(rb"[0-7]{1,6}", stated) or int(stated, 8) != sum(filled):
        raise CorruptShardError(
            "A tar header is damaged or cut off",
            where=f"{where}: byte {place}",
            fix="copy the shard from its maker again, or build the folder again with `hdt-fm shard`",
        )
    if head[257:263] != b"ustar\0" or head[156:157] != b"0" or head[345:500].strip(b"\0"):
        raise ShardError(
            "A shard may hold plain USTAR files only", where=f"{where}: byte {place}", got="a link or extension"
        )
    name, size = head[:100].rstrip(b"\0").decode("ascii", "replace"), head[124:136]
    if name != HEADER_MEMBER and not MEMBER_PATTERN.fullmatch(name):
        # The name is foreign text: it stays out of the message.
        raise ShardError(
            "A shard holds a member with a forbidden name",
            where=f"{where}: byte {place}",
            expected="bNNNNNN.<lower case letters, digits, _>.npy",
        )
    if not _OCTAL.fullmatch(size) or place + TAR_BLOCK + int(size[:11], 8) > len(tar):
        raise CorruptShardError(
            "A member is larger than its shard", where=f"{where}: {name}", fix="copy the shard from its maker again"
        )
    return name, int(size[:11], 8)


def _record(tar: mmap.mmap, start: int, length: int, name: str, *, where: str) -> np.ndarray:
    match = MEMBER_PATTERN.fullmatch(name)
    if match is None:
        raise ShardError("A shard holds its header twice", where=where)
    place = f"{where}: {name}"
    dtype, shape, header = parse_npy_header(tar[start : start + min(length, MAX_HEADER)], length, where=place)
    record = member_record(int(match["block"]), match["member"], dtype, shape, header)
    record["offset"], record["length"] = start, length
    with memoryview(tar) as view, view[start : start + length] as payload:
        record["xxh3"] = xxhash.xxh3_64_intdigest(payload)
    return record
