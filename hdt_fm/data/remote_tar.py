"""A tar on a server: ranged reads, kept in a cache on disk, each member compared with the index's checksum."""

import hashlib
import logging
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from hdt_fm.data.local_tar import LocalTar
from hdt_fm.data.ranged_get import CONNECTIONS
from hdt_fm.data.remote import RemoteFolder
from hdt_fm.schema.age import Identity
from hdt_fm.schema.errors import CorruptShardError, ShardError
from hdt_fm.schema.shard import ShardEntry, ShardHeader
from hdt_fm.schema.shard_index import name_of, read_index
from hdt_fm.schema.shard_seal import Sealed
from hdt_fm.schema.shard_walk import TAR_BLOCK, read_header

# Members up to this size are fetched with their neighbours of the same block: all facts of a block at once.
SMALL_BYTES = 64 << 10
_log = logging.getLogger(__name__)
Wrong = Callable[[bytes], str | None]


@dataclass(frozen=True)
class Piece:
    """A part of a tar that is fetched at once.

    Attributes:
        start, stop: Where it lies in the tar.
        wrong: Says what in the bytes of it is not as written; None if all is.
    """

    word: str
    start: int
    stop: int
    wrong: Wrong


class RemoteTar:
    """A tar on a server. Its index and the parts that are read come here; the rest stays there."""

    # What is read is a copy in memory, so it is kept within a bound.
    lasting = False

    def __init__(self, folder: RemoteFolder, entry: ShardEntry, sealed: Sealed | None = None) -> None:
        self.folder, self.entry, self.sealed = folder, entry, sealed
        self._members: np.ndarray | None = None
        self._pieces: np.ndarray | None = None
        self._whole = False

    def index(self) -> np.ndarray:
        """Members by the index beside the tar; without one that fits, the whole tar is fetched and walked."""
        if self._members is None:
            self._members = self._index()
        return self._members

    def header(self, *, again: bool = False) -> ShardHeader:
        """The shard's own header: what lies before the first member.

        Args:
            again: Fetch it anew: no checksum tells whether what lies here is damaged.
        """
        members = self.index()
        stop = int(members["offset"].min()) - TAR_BLOCK if len(members) else self.entry.bytes
        head = Piece("head", 0, stop, self._wrong_header)
        if again:
            self._drop(head)
        try:
            return read_header(self._read(head, 0, stop), where=self._shown, identity=self._identity)
        except ShardError:
            if again:
                raise
            return self.header(again=True)

    def bytes_of(self, member: int) -> tuple[bytes, int]:
        """A member as stored, and where in these bytes it begins."""
        record = self.index()[member]
        start = int(record["offset"])
        return self._read(self.piece(member), start, start + int(record["length"])), 0

    def bytes_again(self, member: int) -> tuple[bytes, int]:
        """The member fetched anew, where what lay here was damaged."""
        self._drop(self.piece(member))
        return self.bytes_of(member)

    def check_sha256(self) -> None:
        """Fetch the whole tar, which is compared with the manifest on its way."""
        self._whole = True
        self._bring_whole()

    def piece(self, member: int) -> Piece:
        """What a member is fetched with. It follows from the index alone."""
        members = self.index()
        if self._pieces is None:
            small = members["length"] <= SMALL_BYTES
            joins = small[1:] & small[:-1] & (members["block"][1:] == members["block"][:-1])
            self._pieces = np.flatnonzero(np.concatenate([[True], ~joins, [True]]))
        number = int(np.searchsorted(self._pieces, member, side="right")) - 1
        inside = members[self._pieces[number] : self._pieces[number + 1]]
        start, stop = int(inside["offset"][0]), int(inside["offset"][-1] + inside["length"][-1])
        return Piece(f"p{number:07d}", start, stop, lambda data: _wrong_member(data, start, inside))

    def has(self, piece: Piece) -> bool:
        """Whether a piece need not be fetched."""
        if self._whole or not self.folder.gives_ranges:
            return self.folder.cache.find(self._name("tar")) is not None
        return self.folder.cache.find(self._name(piece.word)) is not None

    def bring(self, piece: Piece) -> tuple[Path, int]:
        """The file that holds a piece, and the place in the tar at which it begins; fetched if it is not here."""
        if not self._whole and self.folder.gives_ranges:
            name = self._name(piece.word)
            path = self.folder.fetched(name, lambda: self._fetch(name, piece))
            if path is not None:
                return path, piece.start
            if self.folder.gives_ranges:
                self.folder.gives_ranges = False
                _log.warning(
                    "%s: the server gives whole files only; each shard is fetched whole.", self.folder.server.address
                )
        return self._bring_whole(), 0

    @property
    def _identity(self) -> Identity | None:
        return self.sealed.identity if self.sealed else None

    @property
    def _vouched(self) -> str | None:
        return self.sealed.index_sha256(self.entry) if self.sealed else None

    @property
    def _shown(self) -> str:
        return self.folder.server.shown(self.entry.path)

    def _drop(self, piece: Piece) -> None:
        for word in (piece.word, "tar"):
            self.folder.cache.drop(self._name(word))

    def _name(self, word: str) -> str:
        return f"{self.entry.sha256}.{word}"

    def _read(self, piece: Piece, start: int, stop: int) -> bytes:
        """Bytes of the tar that a piece holds."""
        for _ in range(3):
            path, begin = self.bring(piece)
            try:
                with path.open("rb") as file:
                    file.seek(start - begin)
                    data = file.read(stop - start)
            except FileNotFoundError:
                continue  # another process needed the room
            if len(data) == stop - start:
                return data
            self.folder.cache.drop(path.name)
        raise CorruptShardError(
            "The cache of remote shards changes while it is read",
            where=str(self.folder.cache.folder),
            fix="make it larger, or give this run one of its own",
        )

    def _fetch(self, name: str, piece: Piece) -> bool:
        """Into the cache, if it is what the index says: at the second try if need be."""
        for turn in (1, 2):
            data = self.folder.server.get_range(self.entry.path, piece.start, piece.stop, size=self.entry.bytes)
            if data is None:
                return False
            wrong = piece.wrong(data)
            if wrong is None:
                self.folder.cache.put(name, data)
                return True
            if turn == 1:
                _log.warning("%s: %s came damaged and is fetched again.", self._shown, wrong)
        raise _twice(f"{self._shown}: {wrong}")

    def _bring_whole(self) -> Path:
        name = self._name("tar")
        path = self.folder.fetched(name, lambda: self._fetch_whole(name))
        assert path is not None
        return path

    def _fetch_whole(self, name: str) -> bool:
        server, entry = self.folder.server, self.entry

        def once() -> bool:
            digest = hashlib.sha256()
            with self.folder.cache.new(name, entry.bytes) as path:
                with path.open("wb") as file:
                    for part in server.get_pieces(entry.path, size=entry.bytes):
                        digest.update(part)
                        file.write(part)
                if digest.hexdigest() != entry.sha256:
                    raise _twice(self._shown)
            return True

        try:
            return server.patiently(entry.path, once)
        except _DamagedError:
            _log.warning("%s came damaged and is fetched again.", self._shown)
            return server.patiently(entry.path, once)

    def _index(self) -> np.ndarray:
        name = self._name("idx")
        for _ in range(2):
            path = self.folder.fetched(name, lambda: self._fetch_index(name))
            if path is None:
                break
            try:
                return read_index(path, sha256=self._vouched).members
            except (CorruptShardError, FileNotFoundError):
                self.folder.cache.drop(name)
        _log.warning("%s has no index that fits, so the whole shard is fetched.", self._shown)
        self._whole = True
        return LocalTar(self._bring_whole(), self.entry, self.sealed).index()

    def _fetch_index(self, name: str) -> bool:
        for _ in range(2):
            # A member takes two blocks of a tar and an eighth of that in the index.
            limit = self.entry.bytes // 4 + (4 << 10)
            data = self.folder.server.get(self.entry.path.removesuffix("tar") + "idx", limit=limit)
            if data is None:
                return False
            try:
                with self.folder.cache.new(name, len(data)) as path:
                    path.write_bytes(data)
                    index = read_index(path, sha256=self._vouched)
                    if (index.tar_bytes, index.tar_sha256.hex()) != (self.entry.bytes, self.entry.sha256):
                        raise CorruptShardError("The index belongs to another shard", where=self._shown)
                return True
            except CorruptShardError:
                continue
        return False

    def _wrong_header(self, data: bytes) -> str | None:
        try:
            read_header(data, where=self._shown, identity=self._identity)
        except ShardError:
            return "its header"
        return None


class _DamagedError(CorruptShardError):
    """What came over the network is not what was written."""


def _twice(where: str) -> _DamagedError:
    return _DamagedError(
        "Bytes of a shard differ from what was written",
        where=where,
        got="the same from the server twice",
        fix="ask whoever runs the server to put the folder there again",
    )


def _wrong_member(data: bytes, start: int, members: np.ndarray) -> str | None:
    for record in members:
        place = int(record["offset"]) - start
        with memoryview(data) as view, view[place : place + int(record["length"])] as stored:
            if xxhash.xxh3_64_intdigest(stored) != int(record["xxh3"]):
                return name_of(record)
    return None


def prepare(folder: RemoteFolder, entries: Iterable[ShardEntry], sealed: Sealed | None = None) -> None:
    """Fetch index and header of all these shards, several at a time."""
    stored = [entry if sealed is None else sealed.stored(entry) for entry in entries]
    at_once([RemoteTar(folder, entry, sealed).header for entry in stored])


def fetch_ahead(wanted: Iterable[tuple[RemoteTar | LocalTar, int]]) -> None:
    """Fetch what is not here yet of these members, several at a time; of local tars there is nothing to fetch."""
    remote = ((tar, tar.piece(member)) for tar, member in wanted if isinstance(tar, RemoteTar))
    pieces = {(tar, piece.word): piece for tar, piece in remote}
    at_once([partial(tar.bring, piece) for (tar, _), piece in pieces.items() if not tar.has(piece)])


def at_once(calls: Iterable[Callable[[], Any]]) -> None:
    """Run all of them on a few threads; the first error is raised."""
    calls = list(calls)
    if calls:
        with ThreadPoolExecutor(min(CONNECTIONS, len(calls))) as threads:
            try:
                for done in [threads.submit(call) for call in calls]:
                    done.result()
            except BaseException:
                threads.shutdown(wait=False, cancel_futures=True)
                raise
