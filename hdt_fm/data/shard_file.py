"""One tar of a shard folder: its arrays, each compared with its checksum when it is first touched."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import xxhash

from hdt_fm.data.held import HeldArrays
from hdt_fm.data.local_tar import REPAIR, LocalTar
from hdt_fm.data.remote import RemoteFolder
from hdt_fm.data.remote_tar import RemoteTar
from hdt_fm.schema.age import Identity
from hdt_fm.schema.errors import CorruptShardError, ShardError
from hdt_fm.schema.shard import ShardEntry, ShardHeader
from hdt_fm.schema.shard_blocks import FACTS
from hdt_fm.schema.shard_blocks import blocks_of as promised_blocks
from hdt_fm.schema.shard_index import name_of, unpack_into, unpacked
from hdt_fm.schema.shard_seal import Sealed

__all__ = ["FACTS", "ShardFile", "Verify", "blocks_of"]
Verify = Literal["touch", "full", "off"]


class ShardFile:
    """One tar and its index. Plain members of a local one are views into its map; others are kept within a bound.

    Args:
        folder: A path, or a folder on a server.
        entry: As the manifest has it.
        held: Where opened, unpacked and fetched arrays are kept; shared by the shards of a folder.
        sealed: What it takes to read a sealed folder.

    Raises:
        ShardError: If the tar is not of this folder, or holds what a shard may not hold.
        CorruptShardError: If it is missing, cut off or changed.
    """

    def __init__(
        self,
        folder: Path | RemoteFolder,
        entry: ShardEntry,
        header: ShardHeader,
        verify: Verify,
        held: HeldArrays | None = None,
        sealed: Sealed | None = None,
    ) -> None:
        self.entry, self.verify, self.sealed = entry if sealed is None else sealed.stored(entry), verify, sealed
        self.tar: LocalTar | RemoteTar = (
            LocalTar(folder / entry.path, self.entry, sealed)
            if isinstance(folder, Path)
            else RemoteTar(folder, self.entry, sealed)
        )
        if verify == "full":
            self.tar.check_sha256()
        self.members = self.tar.index()
        self.touched = np.full(len(self.members), verify == "off")
        self._views: dict[int, np.ndarray] = {}
        self._held = HeldArrays() if held is None else held
        if self.tar.header() != header and self.tar.header(again=True) != header:
            raise ShardError(
                "A shard does not belong to its folder", where=entry.path, expected="the header that the manifest gives"
            )

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_views": {}}

    def array(self, member: int) -> np.ndarray:
        """A member as a read-only array; compared with its checksum on first touch.

        Raises:
            CorruptShardError: If its bytes are not what was written.
        """
        view = self._views.get(member)
        if view is None:
            view = self._held.get((self.entry.sha256, member))
        return self._read(member) if view is None else view

    def read_into(self, member: int, out: np.ndarray) -> None:
        """The whole member into the caller's array of its dtype and shape; packed ones are unpacked right there."""
        view = self._views.get(member)
        if view is None:
            view = self._held.get((self.entry.sha256, member))
        if view is not None:
            np.copyto(out, view)
            return
        buffer, start = self._checked(member)
        unpack_into(buffer, self.members[member], out, where=self.entry.path, start=start, identity=self._identity)

    def _read(self, member: int) -> np.ndarray:
        record = self.members[member]
        buffer, start = self._checked(member)
        array = unpacked(buffer, record, where=self.entry.path, start=start, identity=self._identity)
        if self.tar.lasting and not record["codec"]:
            self._views[member] = array
        else:
            self._held.put((self.entry.sha256, member), array)
        return array

    @property
    def held_limit(self) -> int:
        """Bytes of arrays that are kept of the whole folder."""
        return self._held.limit_bytes

    @property
    def _identity(self) -> Identity | None:
        return None if self.sealed is None else self.sealed.identity

    def _checked(self, member: int) -> tuple[Any, int]:
        """The member's bytes as stored: a buffer, and where in it they begin."""
        record = self.members[member]
        buffer, start = self.tar.bytes_of(member)
        if not self.touched[member]:
            if not _as_written(buffer, start, record):
                # What lies in the local cache of a remote shard may be damaged: it is fetched once more.
                again = self.tar.bytes_again(member)
                if again is None or not _as_written(*again, record):
                    raise CorruptShardError(
                        "Bytes of a shard differ from what was written",
                        where=f"{self.entry.path}: {name_of(record)}",
                        fix=REPAIR,
                    )
                buffer, start = again
            self.touched[member] = True
        return buffer, start


def _as_written(buffer: Any, start: int, record: np.void) -> bool:
    with memoryview(buffer) as view, view[start : start + int(record["length"])] as stored:
        return xxhash.xxh3_64_intdigest(stored) == int(record["xxh3"])


def blocks_of(shard: ShardFile, header: ShardHeader) -> list[dict[str, int]]:
    """Members of each block by name, after a check that they are what the header promises."""
    return promised_blocks(shard.members, header, shard.entry, sealed=shard.sealed is not None)
