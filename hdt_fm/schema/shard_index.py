"""The offset index of one shard: where each member lies, and the checksum of its bytes as stored.

An index is a cache: everything in it comes from the tar, and `shard_walk.walk_tar` makes it again. Of a sealed tar it
tells places, sizes and shapes, which its age files show as well, and checksums of them as they lie. It names the sha256
of its tar, so an index of another tar is seen at once. Layout: magic, member count, tar bytes, sha256 of the
tar, the members (`MEMBER`), xxh3-64 of all before. All numbers little-endian.
"""

import hashlib
import math
import mmap
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xxhash
from numpy.typing import NDArray

from hdt_fm.schema.age import LEAST_ADDED, MOST_ADDED, Identity
from hdt_fm.schema.codec import CODECS, MAX_DECODED_BYTES, Codec, decode_into
from hdt_fm.schema.errors import CorruptShardError
from hdt_fm.schema.npy import DTYPES
from hdt_fm.schema.shard import member_name

Buffer = bytes | memoryview | mmap.mmap
MEMBER = np.dtype(
    [
        ("block", "<u4"),
        ("codec", "u1"),
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
# A shard has some tens of members a block and some thousand blocks; a header by itself is cheap to make.
MAX_MEMBERS = 1 << 18
# Above the number of the codec. An hdt_fm that knows of no sealed members refuses the whole as an unknown codec.
SEALED = 0x80
_MAGIC = b"hdtidx02"
_PREFIX = len(_MAGIC) + 8 + 8 + 32


@dataclass(frozen=True)
class ShardIndex:
    """Members of one tar, in file order.

    Attributes:
        members: Records of `MEMBER`; `offset` and `length` span the member as stored, `header` its .npy header; `dtype`
            and `shape` are of the array, also where it is packed.
    """

    tar_bytes: int
    tar_sha256: bytes
    members: np.ndarray


def member_record(
    block: int,
    name: str,
    dtype: np.dtype,
    shape: tuple[int, ...],
    header: int,
    codec: Codec = "none",
    *,
    sealed: bool = False,
) -> np.ndarray:
    """One record without its place and checksum."""
    record = np.zeros((), dtype=MEMBER)
    record["block"], record["name"], record["header"] = block, name.encode(), header
    record["codec"] = CODECS.index(codec) | (SEALED if sealed else 0)
    record["dtype"], record["ndim"] = DTYPES.index(dtype), len(shape)
    record["shape"][: len(shape)] = shape
    return record


def codec_of(record: np.void) -> Codec:
    """What a member is packed by."""
    return CODECS[record["codec"] & (SEALED - 1)]


def is_sealed(record: np.void) -> bool:
    """Whether a member lies as an age file."""
    return bool(record["codec"] & SEALED)


def shape_of(record: np.void) -> tuple[int, ...]:
    """Of the array that a member holds."""
    return tuple(int(axis) for axis in record["shape"][: record["ndim"]])


def name_of(record: np.void) -> str:
    """Of a member in its tar."""
    return member_name(int(record["block"]), record["name"].decode(), codec_of(record), sealed=is_sealed(record))


def member_array(buffer: Buffer, record: np.void, *, start: int | None = None) -> np.ndarray:
    """The array of a plain member as a read-only view into the mapped tar; nothing is copied.

    Args:
        start: Where the member begins in `buffer`, if that is not the tar.
    """
    shape, start = shape_of(record), int(record["offset"]) if start is None else start
    place, count = start + int(record["header"]), int(np.prod(shape, dtype=np.int64))
    array = np.frombuffer(buffer, dtype=DTYPES[record["dtype"]], count=count, offset=place).reshape(shape)
    array.flags.writeable = False
    return array


def content_of(
    buffer: Buffer, record: np.void, *, where: str, start: int | None = None, identity: Identity | None = None
) -> NDArray[np.uint8]:
    """The .npy header and what follows it, as in a plain tar: a view where it lies so, else opened into new memory.

    Raises:
        CorruptShardError: If a sealed member was changed, or is not of the size that its array needs.
        ShardError: If it is for other people.
        ConfigError: If no key is set.
    """
    begin = int(record["offset"]) if start is None else start
    stored = np.frombuffer(buffer, np.uint8, count=int(record["length"]), offset=begin)
    if not is_sealed(record):
        return stored
    identity, named, data = identity or Identity(), f"{where}: {name_of(record)}", stored.data
    size, full = identity.size(data, where=named), _full_size(record)
    # A packed member is never larger than the array: what one would become is known before it is opened.
    if size != full if codec_of(record) == "none" else not int(record["header"]) < size <= full:
        raise CorruptShardError(
            "A sealed member does not hold the array that its index tells of",
            where=named,
            expected=f"{full} bytes" + ("" if codec_of(record) == "none" else " at most"),
            got=str(size),
            fix="delete the index; it is made again",
        )
    return identity.open_array(data, where=named)


def unpack_into(
    buffer: Buffer,
    record: np.void,
    out: np.ndarray,
    *,
    where: str,
    start: int | None = None,
    identity: Identity | None = None,
) -> None:
    """The array of a member, packed, sealed or plain, into the caller's array of its dtype and shape.

    Raises:
        CorruptShardError: If packed bytes do not become that array, or sealed ones were changed.
        ConfigError: If the codec's library is not installed, or no key is set.
    """
    content = content_of(buffer, record, where=where, start=start, identity=identity)
    if codec_of(record) == "none":
        np.copyto(out, member_array(content.data, record, start=0))
    else:
        payload = content[int(record["header"]) :].data
        decode_into(payload, codec_of(record), out, where=f"{where}: {name_of(record)}")


def unpacked(
    buffer: Buffer, record: np.void, *, where: str, start: int | None = None, identity: Identity | None = None
) -> np.ndarray:
    """The array of a member: a view of a plain one, a new array of a packed or sealed one; read-only."""
    if not record["codec"]:
        return member_array(buffer, record, start=start)
    if codec_of(record) == "none":
        content = content_of(buffer, record, where=where, start=start, identity=identity)
        return member_array(content.data, record, start=0)
    out = np.empty(shape_of(record), DTYPES[record["dtype"]])
    unpack_into(buffer, record, out, where=where, start=start, identity=identity)
    out.flags.writeable = False
    return out


def _full_size(record: np.void) -> int:
    """Of a member that is neither packed nor sealed."""
    return int(record["header"]) + math.prod((DTYPES[record["dtype"]].itemsize, *shape_of(record)))


def index_bytes(index: ShardIndex) -> bytes:
    """What an index file holds."""
    body = b"".join(
        [
            _MAGIC,
            len(index.members).to_bytes(8, "little"),
            index.tar_bytes.to_bytes(8, "little"),
            index.tar_sha256,
            index.members.tobytes(),
        ]
    )
    return body + xxhash.xxh3_64_intdigest(body).to_bytes(8, "little")


def write_index(path: Path, index: ShardIndex) -> None:
    """Write by a temporary name, then rename."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(index_bytes(index))
    os.replace(temporary, path)


def read_index(path: Path, *, sha256: str | None = None) -> ShardIndex:
    """Read an index and check it against itself; no offset leaves the tar it speaks of.

    Args:
        sha256: Its own, where somebody vouches for it.

    Raises:
        CorruptShardError: If its bytes are not an index, not those vouched for, or point outside the tar.
        OSError: If there is no such file.
    """
    if path.stat().st_size > _PREFIX + MAX_MEMBERS * MEMBER.itemsize + 8:
        raise CorruptShardError("A shard index is too large to be one", where=path.name, fix="delete it")
    data = path.read_bytes()
    body, digest = data[:-8], data[-8:]
    count = int.from_bytes(body[8:16], "little")
    whole = body[:8] == _MAGIC and len(body) == _PREFIX + count * MEMBER.itemsize
    whole = whole and sha256 in (None, hashlib.sha256(data).hexdigest())
    if not whole or xxhash.xxh3_64_intdigest(body).to_bytes(8, "little") != digest:
        raise CorruptShardError("A shard index is damaged", where=path.name, fix="delete it; it is made again")
    members = np.frombuffer(body, dtype=MEMBER, offset=_PREFIX)
    index = ShardIndex(int.from_bytes(body[16:24], "little"), body[24:56], members)
    _check_places(index, where=path.name)
    return index


def _check_places(index: ShardIndex, *, where: str) -> None:
    """Bounds in Python integers: a hostile index may hold numbers that overflow 64 bits when multiplied."""
    for record in index.members:
        codec = record["codec"] & (SEALED - 1)
        known = record["dtype"] < len(DTYPES) and codec < len(CODECS) and 1 <= record["ndim"] <= 3
        size = math.prod((DTYPES[record["dtype"]].itemsize, *shape_of(record))) if known else 0
        stored = int(record["length"]) - int(record["header"])
        fits = stored > 0 and size <= MAX_DECODED_BYTES if record["codec"] else stored == size
        if known and is_sealed(record):
            # Another 16 bytes for each 64 KiB.
            fits = fits and LEAST_ADDED <= stored <= size + MOST_ADDED + (size >> 11)
        if not known or not fits or int(record["offset"]) + int(record["length"]) > index.tar_bytes:
            raise CorruptShardError(
                "A shard index points outside its shard", where=where, fix="delete it; it is made again"
            )
