"""A walk through the headers of a tar: the index from the tar alone, and nothing that a shard may not hold."""

import hashlib
import mmap
import re
from pathlib import Path
from typing import cast

import numpy as np
import xxhash

from hdt_fm.schema.age import SUFFIX, Identity
from hdt_fm.schema.codec import Codec
from hdt_fm.schema.errors import CorruptShardError, ShardError
from hdt_fm.schema.npy import MAX_HEADER, parse_npy_header
from hdt_fm.schema.shard import HEADER_MEMBER, MEMBER_PATTERN, ShardHeader
from hdt_fm.schema.shard_index import MAX_MEMBERS, MEMBER, ShardIndex, member_record

TAR_BLOCK = 512
MAX_HEADER_JSON = 1 << 20
_OCTAL = re.compile(rb"[0-7]{11}[\0 ]")


def walk_tar(path: Path, *, sha256: bytes | None = None, identity: Identity | None = None) -> ShardIndex:
    """Make the index from the tar alone: header walk, strict names, plain arrays, no links, no extensions.

    Args:
        sha256: Digest of the tar if the caller has it already; computed otherwise.
        identity: Opens the members of a sealed tar, which all of them must be then; None takes a plain one alone.

    Raises:
        ShardError: If the tar holds anything that a shard may not hold.
        CorruptShardError: If it ends too early or a header's own checksum is wrong.
    """
    size = path.stat().st_size
    if size < 3 * TAR_BLOCK:
        raise CorruptShardError("A shard ends too early", where=path.name, got=f"{size} bytes")
    records: list[np.ndarray] = []
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as tar:
        name, length = tar_header(tar, 0, where=path.name)
        read_header(tar, where=path.name, identity=identity)
        place = TAR_BLOCK + _padded(length)
        seen: set[str] = set()
        while tar[place : place + TAR_BLOCK].strip(b"\0"):
            name, length = tar_header(tar, place, where=path.name)
            # By whatever codec: a member has one array.
            plain = name.partition(".npy")[0]
            if plain in seen:
                raise ShardError("A shard holds a member twice", where=f"{path.name}: {name}")
            seen.add(plain)
            if len(records) == MAX_MEMBERS:
                raise ShardError(
                    "A shard holds more members than any", where=path.name, expected=f"at most {MAX_MEMBERS}"
                )
            records.append(_record(tar, place + TAR_BLOCK, length, name, where=path.name, identity=identity))
            place += TAR_BLOCK + _padded(length)
        if len(tar[place : place + 2 * TAR_BLOCK]) < 2 * TAR_BLOCK or tar[place:].strip(b"\0"):
            raise CorruptShardError("A shard has no proper end", where=path.name, fix="copy it from its maker again")
        digest = sha256 or hashlib.sha256(tar).digest()
    members = np.array(records, dtype=MEMBER) if records else np.empty(0, dtype=MEMBER)
    if np.any(np.diff(members["block"].astype(np.int64)) < 0):
        raise ShardError("Blocks of a shard are out of order", where=path.name)
    return ShardIndex(size, digest, members)


def read_header(tar: bytes | mmap.mmap, *, where: str, identity: Identity | None = None) -> ShardHeader:
    """The first member of a mapped tar; of a sealed one with the `identity` that opens it.

    Raises:
        ShardError: If the first member is not a header of a version that we read.
    """
    data = header_bytes(tar, where=where, identity=identity)
    try:
        return ShardHeader.model_validate_json(data)
    except ValueError as error:
        raise ShardError(
            "The header of a shard cannot be read", where=f"{where}: {HEADER_MEMBER}", got=type(error).__name__
        ) from None


def header_bytes(tar: bytes | mmap.mmap, *, where: str, identity: Identity | None = None) -> bytes:
    """As `read_header`, as it was written."""
    name, length = tar_header(tar, 0, where=where)
    expected = HEADER_MEMBER if identity is None else HEADER_MEMBER + SUFFIX
    if name != expected or length > MAX_HEADER_JSON:
        raise ShardError(
            "A tar is not a shard of hdt_fm"
            if name not in (HEADER_MEMBER, HEADER_MEMBER + SUFFIX)
            else "A shard is not sealed"
            if identity is not None
            else "A shard is sealed, and its folder is not",
            where=where,
            expected=f"{expected} as its first member",
            fix="do not trust this folder; get it from its maker again",
        )
    data = bytes(tar[TAR_BLOCK : TAR_BLOCK + length])
    return data if identity is None else identity.open(data, most=MAX_HEADER_JSON, where=f"{where}: {name}")


def _padded(length: int) -> int:
    return -(-length // TAR_BLOCK) * TAR_BLOCK


def tar_header(tar: bytes | mmap.mmap, place: int, *, where: str) -> tuple[str, int]:
    """Name and size of the member whose tar header starts at `place`.

    Raises:
        CorruptShardError: If its checksum is wrong, or the member would end outside the tar.
        ShardError: If it is anything but a plain file with a name that a shard may hold.
    """
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
    if name not in (HEADER_MEMBER, HEADER_MEMBER + SUFFIX) and not MEMBER_PATTERN.fullmatch(name):
        # The name is foreign text: it stays out of the message.
        raise ShardError(
            "A shard holds a member with a forbidden name",
            where=f"{where}: byte {place}",
            expected="bNNNNNN.<lower case letters, digits, _>.npy, .b2 or .pco where packed, .age where sealed",
        )
    if not _OCTAL.fullmatch(size) or place + TAR_BLOCK + int(size[:11], 8) > len(tar):
        raise CorruptShardError(
            "A member is larger than its shard", where=f"{where}: {name}", fix="copy the shard from its maker again"
        )
    return name, int(size[:11], 8)


def _record(tar: mmap.mmap, start: int, length: int, name: str, *, where: str, identity: Identity | None) -> np.ndarray:
    match = MEMBER_PATTERN.fullmatch(name)
    if match is None:
        raise ShardError("A shard holds its header twice", where=where)
    place = f"{where}: {name}"
    if bool(match["sealed"]) != (identity is not None):
        raise ShardError(
            "A member of a shard lies " + ("sealed in a plain shard" if match["sealed"] else "plain in a sealed shard"),
            where=place,
            fix="do not trust this shard; get it from its maker again",
        )
    codec = cast(Codec, match["codec"] or "none")
    with memoryview(tar) as view, view[start : start + length] as stored:
        first, holds = bytes(stored[:MAX_HEADER]), length
        if identity is not None:
            holds = identity.size(stored, where=place)
            first = identity.first_bytes(stored, MAX_HEADER, where=place)
        dtype, shape, header = parse_npy_header(first, holds, packed=codec != "none", where=place)
        record = member_record(
            int(match["block"]), match["member"], dtype, shape, header, codec, sealed=identity is not None
        )
        record["offset"], record["length"] = start, length
        record["xxh3"] = xxhash.xxh3_64_intdigest(stored)
    return record
