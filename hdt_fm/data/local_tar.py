"""A shard's tar on this machine: its map, and its index, which is made again where it is missing."""

import hashlib
import logging
import mmap
from pathlib import Path

import numpy as np

from hdt_fm.schema.errors import CorruptShardError
from hdt_fm.schema.shard import ShardEntry, ShardHeader
from hdt_fm.schema.shard_index import read_index, write_index
from hdt_fm.schema.shard_seal import Sealed
from hdt_fm.schema.shard_walk import read_header, walk_tar

REPAIR = "copy the shard from its maker again, or build the folder again with `hdt-fm shard`"
_log = logging.getLogger(__name__)


class LocalTar:
    """A tar by memory map, which is opened when first needed (also in another process).

    Args:
        entry: With size and digest of the tar as it lies.
        sealed: What it takes to read a sealed one.

    Raises:
        CorruptShardError: If there is none, or it has another size than the manifest says.
    """

    # Views into the map cost nothing to keep.
    lasting = True

    def __init__(self, path: Path, entry: ShardEntry, sealed: Sealed | None = None) -> None:
        self.path, self.entry, self.sealed = path, entry, sealed
        self._map: mmap.mmap | None = None
        self._members: np.ndarray | None = None
        try:
            size = path.stat().st_size
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

    @property
    def map(self) -> mmap.mmap:
        # Two threads may both open it here; the loser's map lives as long as what hangs on it.
        if self._map is None:
            with self.path.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return self._map

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | {"_map": None}

    def header(self, *, again: bool = False) -> ShardHeader:
        """The shard's own header; there is nowhere else to take it from `again`."""
        return read_header(self.map, where=self.entry.path, identity=self.sealed.identity if self.sealed else None)

    def bytes_of(self, member: int) -> tuple[mmap.mmap, int]:
        """Where a member is stored: the map, and its place."""
        return self.map, int(self.index()[member]["offset"])

    def bytes_again(self, member: int) -> None:
        """Nowhere else to take it from."""
        return

    def check_sha256(self) -> None:
        """Compare the whole tar with the manifest.

        Raises:
            CorruptShardError: If it differs.
        """
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

    def index(self) -> np.ndarray:
        """Members by the index file, or by a walk of a tar that the manifest vouches for."""
        if self._members is None:
            self._members = self._index()
        return self._members

    def _index(self) -> np.ndarray:
        path = self.path.with_suffix(".idx")
        try:
            index = read_index(path, sha256=self.sealed.index_sha256(self.entry) if self.sealed else None)
            if (index.tar_bytes, index.tar_sha256.hex()) == (self.entry.bytes, self.entry.sha256):
                return index.members
            state = "belongs to another shard"
        except FileNotFoundError:
            state = "is missing"
        except CorruptShardError:
            state = "is damaged or of another version"
        _log.warning("The index of %s %s; it is made again from the shard.", self.entry.path, state)
        # A walk would bless whatever bytes are there, so the whole tar is compared with the manifest first.
        self.check_sha256()
        identity = self.sealed.identity if self.sealed else None
        index = walk_tar(self.path, sha256=bytes.fromhex(self.entry.sha256), identity=identity)
        try:
            write_index(path, index)
        except OSError:
            _log.warning("The folder cannot be written; the index of %s is kept in memory only.", self.entry.path)
        return index.members
