"""A finished shard folder, plain or sealed, for those who change or check it: its manifest, its lock, its members."""

import hashlib
import mmap
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xxhash

from data_pipelines.durably import write_durably
from data_pipelines.work import file_digest
from hdt_fm.schema.age import SUFFIX, Identity, recipients, seal
from hdt_fm.schema.errors import CorruptShardError, ShardError
from hdt_fm.schema.shard import MANIFEST_NAME, ShardEntry, ShardManifest
from hdt_fm.schema.shard_blocks import blocks_of
from hdt_fm.schema.shard_index import ShardIndex, content_of, name_of, read_index, unpacked, write_index
from hdt_fm.schema.shard_manifest import entries_of, local_manifest, no_manifest, parse_manifest
from hdt_fm.schema.shard_seal import SEALS_NAME, Seal, Sealed, Seals
from hdt_fm.schema.shard_walk import walk_tar

REPAIR = "copy the shard from its maker again, or build the folder again with `hdt-fm shard`"


@dataclass(frozen=True)
class Finished:
    """A finished folder.

    Attributes:
        digest: SHA-256 of the manifest as it lies plain; what a reader of the folder calls it.
        sealed: What it takes to read it; None of a plain one.
    """

    folder: Path
    manifest: ShardManifest
    digest: str
    sealed: Sealed | None = None

    def stored(self, entry: ShardEntry) -> ShardEntry:
        """The entry with size and digest of the tar as it lies."""
        return entry if self.sealed is None else self.sealed.stored(entry)

    @property
    def identity(self) -> Identity | None:
        """What opens members; None of a plain folder."""
        return None if self.sealed is None else self.sealed.identity


def finished(folder: Path) -> Finished:
    """A folder with its manifest, whose paths may be opened.

    Raises:
        ShardError: If there is none, or it cannot be read, opened or trusted.
    """
    data, sealed = local_manifest(folder)
    manifest = parse_manifest(data, where=folder.name)
    entries_of(manifest)
    return Finished(folder, manifest, hashlib.sha256(data).hexdigest(), sealed)


def manifest_of(folder: Path) -> ShardManifest:
    """The manifest alone. See `finished`."""
    return finished(folder).manifest


def recipients_for(found: Finished) -> tuple[str, ...]:
    """Who is to open what is written into a folder: nobody of a plain one.

    Raises:
        ConfigError: If it is sealed and no recipients are set.
    """
    return () if found.sealed is None else recipients(needed=True)


def manifest_text(manifest: ShardManifest) -> bytes:
    """A manifest as it is written."""
    return (manifest.model_dump_json(indent=1) + "\n").encode()


def write_manifest(folder: Path, manifest: ShardManifest, *, to: Sequence[str] = ()) -> None:
    """Put another manifest in the place of the one there, at one stroke.

    Args:
        to: Public keys of those who may open a sealed one.
    """
    put_file(folder, MANIFEST_NAME, manifest_text(manifest), to=to)


def put_file(folder: Path, name: str, data: bytes, *, to: Sequence[str] = (), temporary: Path | None = None) -> None:
    """Write a file of a folder, sealed where there is somebody `to` open it."""
    if to:
        name, data = name + SUFFIX, seal(data, to)
    # One name, since one process at a time is `changing` a folder: an interrupted one's is written over.
    write_durably(folder / name, data, temporary=temporary or folder / f"{name}.tmp")


def put_seals(folder: Path, seals: Mapping[str, Seal], *, to: Sequence[str], temporary: Path | None = None) -> None:
    """Write what vouches for the tars of a sealed folder, in the order of their paths."""
    found = Seals(shards={path: seals[path] for path in sorted(seals)})
    put_file(folder, SEALS_NAME, found.model_dump_json(indent=1).encode() + b"\n", to=to, temporary=temporary)


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
    identity: Identity | None = None

    def array(self, block: dict[str, int], name: str) -> np.ndarray:
        """A member of a block.

        Raises:
            CorruptShardError: If its bytes differ from what was written.
        """
        record = self._compared(block[name])
        return unpacked(self.map, record, where=self.entry.path, identity=self.identity)

    def content(self, member: int) -> np.ndarray:
        """The bytes of a member as they lie in a plain tar. See `array`."""
        record = self._compared(member)
        return content_of(self.map, record, where=self.entry.path, identity=self.identity)

    def _compared(self, member: int) -> np.void:
        record = self.members[member]
        start = int(record["offset"])
        with memoryview(self.map) as view, view[start : start + int(record["length"])] as stored:
            if xxhash.xxh3_64_intdigest(stored) != int(record["xxh3"]):
                raise CorruptShardError(
                    "Bytes of a shard differ from what was written",
                    where=f"{self.entry.path}: {name_of(record)}",
                    fix=REPAIR,
                )
        return record


def open_tar(folder: Path, manifest: ShardManifest, entry: ShardEntry) -> OpenTar:
    """As `tar_of`, for those who have the manifest alone: seals are read again for each shard of a sealed folder."""
    _, sealed = local_manifest(folder)
    return tar_of(Finished(folder, manifest, "", sealed), entry)


def tar_of(found: Finished, entry: ShardEntry) -> OpenTar:
    """A shard with its blocks.

    Args:
        entry: As the manifest has it.

    Raises:
        CorruptShardError: If it is missing, cut off or changed.
        ShardError: If it holds what a shard may not hold.
    """
    path, entry = found.folder / entry.path, found.stored(entry)
    if not path.is_file() or path.stat().st_size != entry.bytes:
        raise CorruptShardError(
            "A shard is missing, cut off or changed", where=entry.path, expected=f"{entry.bytes} bytes", fix=REPAIR
        )
    with path.open("rb") as file:
        view = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    members = index_of(path, entry, found.sealed).members
    blocks = blocks_of(members, found.manifest.header, entry, sealed=found.sealed is not None)
    return OpenTar(entry, view, members, blocks, found.identity)


def index_of(path: Path, entry: ShardEntry, sealed: Sealed | None = None) -> ShardIndex:
    """The index beside a tar if it is that tar's, else one made from it; the tar must be what `entry` says."""
    try:
        index = read_index(path.with_suffix(".idx"), sha256=sealed.index_sha256(entry) if sealed else None)
        if (index.tar_bytes, index.tar_sha256.hex()) == (entry.bytes, entry.sha256):
            return index
    except (OSError, CorruptShardError):
        pass
    index = walk_tar(path, identity=sealed.identity if sealed else None)
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
        found = finished(folder)
        entries = [found.stored(entry) for entry in entries_of(found.manifest)]
        for number, entry in enumerate(entries):
            path = folder / entry.path
            if not path.is_file():
                raise CorruptShardError("A shard is missing", where=entry.path, fix=REPAIR)
            if file_digest(path) != entry.sha256:
                raise CorruptShardError("Bytes of a shard differ from what was written", where=entry.path, fix=REPAIR)
            index = walk_tar(path, sha256=bytes.fromhex(entry.sha256), identity=found.identity)
            write_index(path.with_suffix(".idx"), index)
            report(number + 1, len(entries), "shards")
    return len(entries)
