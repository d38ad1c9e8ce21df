"""A finished shard folder, for those who change or check it: its manifest, its lock, its small members."""

import mmap
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xxhash

from data_pipelines.work import file_digest, write_durably
from hdt_fm.schema.errors import CorruptShardError, ShardError
from hdt_fm.schema.shard import MANIFEST_NAME, ShardEntry, ShardManifest
from hdt_fm.schema.shard_blocks import blocks_of
from hdt_fm.schema.shard_index import ShardIndex, name_of, read_index, unpacked, write_index
from hdt_fm.schema.shard_manifest import entries_of, no_manifest, parse_manifest
from hdt_fm.schema.shard_walk import walk_tar

REPAIR = "copy the shard from its maker again, or build the folder again with `hdt-fm shard`"


def manifest_of(folder: Path) -> ShardManifest:
    """The manifest of a folder, with paths that may be opened.

    Raises:
        ShardError: If there is none, or it cannot be read or trusted.
    """
    file = folder / MANIFEST_NAME
    if not file.is_file():
        raise no_manifest(folder.name)
    manifest = parse_manifest(file.read_bytes(), where=folder.name)
    entries_of(manifest)
    return manifest


def write_manifest(folder: Path, manifest: ShardManifest) -> None:
    """Put another manifest in the place of the one there, at one stroke."""
    text = manifest.model_dump_json(indent=1) + "\n"
    # One name, since one process at a time is `changing` a folder: an interrupted one's is written over.
    write_durably(folder / MANIFEST_NAME, text.encode(), temporary=folder / f"{MANIFEST_NAME}.tmp")


@contextmanager
def changing(folder: Path) -> Iterator[None]:
    """Hold a folder against others who would change it; reading goes on. The lock goes with the process.

    Raises:
        ShardError: If somebody else holds it.
    """
    try:
        import fcntl
    except ImportError:  # not on Windows: there two must not change a folder at a time
        yield
        return
    if not folder.is_dir():
        raise no_manifest(folder.name)
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise ShardError(
            "Another process is changing this shard folder", where=folder.name, fix="run it again when that is done"
        ) from None
    finally:
        os.close(handle)


@dataclass(frozen=True)
class OpenTar:
    """A mapped tar whose bytes are compared as they are read."""

    entry: ShardEntry
    map: mmap.mmap
    members: np.ndarray
    blocks: list[dict[str, int]]

    def array(self, block: dict[str, int], name: str) -> np.ndarray:
        """A member of a block.

        Raises:
            CorruptShardError: If its bytes differ from what was written.
        """
        record = self.members[block[name]]
        start = int(record["offset"])
        with memoryview(self.map) as view, view[start : start + int(record["length"])] as stored:
            if xxhash.xxh3_64_intdigest(stored) != int(record["xxh3"]):
                raise CorruptShardError(
                    "Bytes of a shard differ from what was written",
                    where=f"{self.entry.path}: {name_of(record)}",
                    fix=REPAIR,
                )
        return unpacked(self.map, record, where=self.entry.path)


def open_tar(folder: Path, manifest: ShardManifest, entry: ShardEntry) -> OpenTar:
    """A shard with its blocks.

    Raises:
        CorruptShardError: If it is missing, cut off or changed.
        ShardError: If it holds what a shard may not hold.
    """
    path = folder / entry.path
    if not path.is_file() or path.stat().st_size != entry.bytes:
        raise CorruptShardError(
            "A shard is missing, cut off or changed", where=entry.path, expected=f"{entry.bytes} bytes", fix=REPAIR
        )
    with path.open("rb") as file:
        view = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    members = index_of(path, entry).members
    return OpenTar(entry, view, members, blocks_of(members, manifest.header, entry))


def index_of(path: Path, entry: ShardEntry) -> ShardIndex:
    """The index beside a tar if it is that tar's, else one made from it; the tar must be what the manifest says."""
    try:
        index = read_index(path.with_suffix(".idx"))
        if (index.tar_bytes, index.tar_sha256.hex()) == (entry.bytes, entry.sha256):
            return index
    except (OSError, CorruptShardError):
        pass
    index = walk_tar(path)
    if index.tar_sha256.hex() != entry.sha256:
        raise CorruptShardError("Bytes of a shard differ from what was written", where=entry.path, fix=REPAIR)
    return index


def make_indexes(folder: Path, *, report: Callable[[int, int, str], None] = lambda done, total, what: None) -> int:
    """Make the index of every shard again, from tars that are what the manifest says; returns how many there are.

    Raises:
        CorruptShardError: If a tar is missing or differs; the indexes of those before it are made.
        ShardError: If the folder is not a finished one.
    """
    with changing(folder):
        entries = entries_of(manifest_of(folder))
        for number, entry in enumerate(entries):
            path = folder / entry.path
            if not path.is_file():
                raise CorruptShardError("A shard is missing", where=entry.path, fix=REPAIR)
            if file_digest(path) != entry.sha256:
                raise CorruptShardError("Bytes of a shard differ from what was written", where=entry.path, fix=REPAIR)
            write_index(path.with_suffix(".idx"), walk_tar(path, sha256=bytes.fromhex(entry.sha256)))
            report(number + 1, len(entries), "shards")
    return len(entries)
