"""One tar of a shard folder: its map, its index, its checksums, and the check of what its blocks hold."""

import hashlib
import logging
import mmap
from pathlib import Path
from typing import Literal

import numpy as np
import xxhash

from hdt_fm.schema.errors import CorruptShardError, ShardError
from hdt_fm.schema.npy import DTYPES
from hdt_fm.schema.shard import ShardEntry, ShardHeader
from hdt_fm.schema.shard_index import member_array, read_header, read_index, walk_tar, write_index

Verify = Literal["touch", "full", "off"]
REPAIR = "copy the shard from its maker again, or build the folder again with `hdt-fm shard`"
# Members that every block must have; they are read when the folder is opened.
FACTS = ("wid", "subj", "t0", "mask", "sqi")
_log = logging.getLogger(__name__)


class ShardFile:
    """One tar, its index, and its map, which is opened when first needed (also in another process)."""

    def __init__(self, folder: Path, entry: ShardEntry, header: ShardHeader, verify: Verify) -> None:
        self.entry, self.path, self.verify = entry, folder / entry.path, verify
        self._map: mmap.mmap | None = None
        try:
            size = self.path.stat().st_size
        except OSError:
            raise CorruptShardError("A shard is missing", where=entry.path, fix=REPAIR) from None
        if size != entry.bytes:
            raise CorruptShardError(
                "A shard is cut off or changed",
                where=entry.path,
                expected=f"{entry.bytes} bytes",
                got=f"{size} bytes",
                fix=REPAIR,
            )
        if verify == "full":
            self._check_sha256()
        self.members = self._index()
        self.touched = np.full(len(self.members), verify == "off")
        if read_header(self.map, where=entry.path) != header:
            raise ShardError(
                "A shard does not belong to its folder", where=entry.path, expected="the header that the manifest gives"
            )

    @property
    def map(self) -> mmap.mmap:
        if self._map is None:
            with self.path.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return self._map

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | {"_map": None}

    def array(self, member: int) -> np.ndarray:
        """A member as a view into the map; its checksum is compared on first touch."""
        record = self.members[member]
        if not self.touched[member]:
            start, length = int(record["offset"]), int(record["length"])
            with memoryview(self.map) as view, view[start : start + length] as payload:
                if xxhash.xxh3_64_intdigest(payload) != int(record["xxh3"]):
                    name = f"b{record['block']:06d}.{record['name'].decode()}.npy"
                    raise CorruptShardError(
                        "Bytes of a shard differ from what was written",
                        where=f"{self.entry.path}: {name}",
                        fix=REPAIR,
                    )
            self.touched[member] = True
        return member_array(self.map, record)

    def _check_sha256(self) -> None:
        with self.path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != self.entry.sha256:
            raise CorruptShardError(
                "Bytes of a shard differ from what was written",
                where=self.entry.path,
                expected=f"sha256 {self.entry.sha256[:12]}...",
                got=f"{digest[:12]}...",
                fix=REPAIR,
            )

    def _index(self) -> np.ndarray:
        """Members by the index file, or by a walk of a tar that the manifest vouches for."""
        path = self.path.with_suffix(".idx")
        try:
            index = read_index(path)
            if (index.tar_bytes, index.tar_sha256.hex()) == (self.entry.bytes, self.entry.sha256):
                return index.members
            state = "belongs to another shard"
        except FileNotFoundError:
            state = "is missing"
        except CorruptShardError:
            state = "is damaged"
        _log.warning("The index of %s %s; it is made again from the shard.", self.entry.path, state)
        # A walk would bless whatever bytes are there, so the whole tar is compared with the manifest first.
        self._check_sha256()
        index = walk_tar(self.path, sha256=bytes.fromhex(self.entry.sha256))
        try:
            write_index(path, index)
        except OSError:
            _log.warning("The folder cannot be written; the index of %s is kept in memory only.", self.entry.path)
        return index.members


def blocks_of(shard: ShardFile, header: ShardHeader) -> list[dict[str, int]]:
    """Members of each block by name, after a check that they are what the header promises."""
    members, where = shard.members, shard.entry.path
    edges = np.flatnonzero(np.diff(members["block"].astype(np.int64), prepend=-1))
    blocks, windows = [], 0
    for first, last in zip(edges, [*edges[1:], len(members)], strict=True):
        names = {members[place]["name"].decode(): int(place) for place in range(first, last)}
        if "wid" not in names or len(names) != last - first:
            raise ShardError("A block of a shard is not complete", where=where, expected="each member once, and wid")
        size = int(members[names["wid"]]["shape"][0])
        for name, (dtype, shape) in _promised(header, size).items():
            record = members[names[name]] if name in names else None
            if record is None and name in FACTS:
                raise ShardError("A block of a shard is not complete", where=f"{where}: {name}")
            if record is not None and not _fits(record, dtype, shape):
                raise ShardError(
                    "A member of a shard has another form than the header promises",
                    where=f"{where}: b{record['block']:06d}.{name}.npy",
                    expected=f"{dtype} of shape {shape}",
                )
        blocks.append(names)
        windows += size
    if (windows, len(blocks)) != (shard.entry.windows, shard.entry.blocks):
        raise ShardError(
            "A shard does not hold the windows that the manifest promises",
            where=where,
            expected=f"{shard.entry.windows} windows in {shard.entry.blocks} blocks",
            got=f"{windows} in {len(blocks)}",
        )
    return blocks


def _promised(header: ShardHeader, size: int) -> dict[str, tuple[str, tuple[int, ...]]]:
    promised: dict[str, tuple[str, tuple[int, ...]]] = {
        "wid": ("<i8", (size,)),
        "subj": ("<i4", (size,)),
        "t0": ("<i8", (size,)),
        "mask": ("|u1", (size, len(header.modalities))),
        "sqi": ("<f2", (size, len(header.modalities))),
    }
    for column in header.modalities:
        dtype = "<i2" if column.encoding == "i16" else "<f4"
        promised[column.name] = (dtype, (size, column.channels, column.samples))
        promised[f"{column.name}_observed"] = ("|u1", (size, -(-column.samples // 8)))
    return promised | {f"y_{label.name}": ("<f4", (size,)) for label in header.labels}


def _fits(record: np.void, dtype: str, shape: tuple[int, ...]) -> bool:
    axes = tuple(int(axis) for axis in record["shape"][: record["ndim"]])
    return axes == shape and DTYPES[record["dtype"]] == np.dtype(dtype)
