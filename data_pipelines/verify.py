"""Everything that can be checked of a finished shard folder, with each fault named by shard, block and member."""

import hashlib
import mmap
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from data_pipelines.compact import NOTE_NAME
from data_pipelines.finished import Finished, finished
from data_pipelines.sealing import plain_digest
from hdt_fm.schema.errors import ConfigError, CorruptShardError, HdtError
from hdt_fm.schema.npy import MAX_HEADER, parse_npy_header
from hdt_fm.schema.shard import SHARD_PATTERN, ShardEntry, ShardManifest
from hdt_fm.schema.shard_blocks import FACTS, blocks_of
from hdt_fm.schema.shard_index import codec_of, content_of, member_record, name_of, read_index, shape_of, unpacked
from hdt_fm.schema.shard_people import strangers
from hdt_fm.schema.shard_walk import TAR_BLOCK, read_header, tar_header, walk_tar

Report = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Fault:
    """One thing that is not as it should be. `block` and `member` are empty where it is of the whole shard."""

    shard: str
    problem: str
    block: int | None = None
    member: str = ""


@dataclass
class Verified:
    """What was looked at, and what was found."""

    shards: int = 0
    members: int = 0
    windows: int = 0
    bytes: int = 0
    revoked_windows: int = 0
    faults: list[Fault] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        return not self.faults

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {"sound": self.sound} | asdict(self)


def verify_folder(folder: Path, *, report: Report = lambda done, total, what: None) -> Verified:
    """Check a folder: sizes, sha256, headers, a walk through each tar against its index, each member's checksum and
    whether packed ones unpack, what blocks promise, people and windows, files that nobody names.

    Raises:
        ShardError: If there is no manifest that can be read; all else is a fault in the result.
    """
    whole, found = finished(folder), Verified()
    manifest = whole.manifest
    if whole.identity is not None:
        # Without the key nothing can be said of the folder, which is no fault of it.
        whole.identity.require()
    homes: dict[str, list[dict[str, np.ndarray]]] = {}
    entries = [(split, entry) for split, part in manifest.splits.items() for entry in part]
    for number, (split, entry) in enumerate(entries):
        facts = _Shard(whole, entry, found).check()
        homes.setdefault(split, []).extend(facts)
        found.shards, found.bytes = found.shards + 1, found.bytes + whole.stored(entry).bytes
        report(number + 1, len(entries), "shards")
    _check_people(manifest, homes, found)
    named = {entry.path for _, entry in entries}
    for path in sorted(folder.glob("*/*.tar*")):
        place = path.relative_to(folder).as_posix()
        if SHARD_PATTERN.fullmatch(place.removesuffix(".tmp")) and place not in named:
            found.faults.append(Fault(place, "lies in the folder, but the manifest does not name it"))
    if (folder / NOTE_NAME).exists():
        found.faults.append(Fault(NOTE_NAME, "`hdt-fm shard compact` was interrupted: run it again"))
    return found


class _Shard:
    """The checks of one tar."""

    def __init__(self, whole: Finished, entry: ShardEntry, found: Verified) -> None:
        self.path, self.manifest, self.found = whole.folder / entry.path, whole.manifest, found
        self.plain, self.entry = entry, whole.stored(entry)
        self.sealed, self.identity = whole.sealed, whole.identity

    def check(self) -> list[dict[str, np.ndarray]]:
        """Facts of each block whose facts can be read."""
        if not self.path.is_file():
            self._fault("is missing")
            return []
        size = self.path.stat().st_size
        if size != self.entry.bytes:
            self._fault(f"has {size} bytes, not the {self.entry.bytes} that the manifest says: cut off or changed")
        if not size:
            return []
        with self.path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as tar:
            return self._read(tar)

    def _read(self, tar: mmap.mmap) -> list[dict[str, np.ndarray]]:
        same = hashlib.sha256(tar).hexdigest() == self.entry.sha256
        if not same:
            self._fault("sha256 differs from the manifest's")
        self._tried(lambda: self._check_header(tar))
        members = self._members(same)
        if members is None:
            return []
        good = np.array([self._check_member(tar, record) for record in members], dtype=np.bool_)
        self.found.members += len(members)
        blocks: list[dict[str, int]] = []
        sealed = self.sealed is not None
        self._tried(lambda: blocks.extend(blocks_of(members, self.manifest.header, self.entry, sealed=sealed)))
        if sealed and same and good.all():
            self._tried(lambda: self._check_plain(tar, members))
        return [
            {name: self._array(tar, members[names[name]]).copy() for name in FACTS}
            for names in blocks
            if all(good[names[name]] for name in FACTS)
        ]

    def _array(self, tar: mmap.mmap, record: np.void) -> np.ndarray:
        return unpacked(tar, record, where=self.entry.path, identity=self.identity)

    def _check_plain(self, tar: mmap.mmap, members: np.ndarray) -> None:
        """What the members make where they are opened is the tar that the manifest speaks of."""
        assert self.identity is not None
        digest = plain_digest(tar, members, self.manifest.header, self.identity, where=self.entry.path)
        if digest != self.plain.sha256:
            self._fault("what is sealed in it is not what the manifest says")

    def _members(self, same: bool) -> np.ndarray | None:
        """Members by the index, which a walk through the tar must give as well."""
        index = walked = None
        try:
            vouched = self.sealed.index_sha256(self.plain) if self.sealed else None
            index = read_index(self.path.with_suffix(".idx"), sha256=vouched)
            if index.tar_sha256.hex() != self.entry.sha256:
                self._fault("its index is of another shard (`hdt-fm shard index` makes it again)")
                index = None
        except FileNotFoundError:
            self._fault("has no index (`hdt-fm shard index` makes one)")
        except CorruptShardError:
            self._fault("its index is damaged (`hdt-fm shard index` makes it again)")
        try:
            walked = walk_tar(self.path, identity=self.identity)
        except HdtError as error:
            self._fault(f"cannot be walked through: {error.problem} ({error.where})")
        if walked is not None and index is not None and same and walked.members.tobytes() != index.members.tobytes():
            self._fault("its index does not fit its tar (`hdt-fm shard index` makes it again)")
        best = index if index is not None and not (same and walked is not None) else walked
        return None if best is None else best.members

    def _check_header(self, tar: mmap.mmap) -> None:
        if read_header(tar, where=self.entry.path, identity=self.identity) != self.manifest.header:
            self._fault("its header is not the one in the manifest")

    def _check_member(self, tar: mmap.mmap, record: np.void) -> bool:
        """Tar header, checksum, .npy header, and unpacking where it is packed."""
        before, start, name = len(self.found.faults), int(record["offset"]), name_of(record)
        stop = start + int(record["length"])
        if stop > len(tar):
            self._fault("is cut off", record)
            return False
        try:
            if tar_header(tar, start - TAR_BLOCK, where=self.entry.path) != (name, stop - start):
                self._fault("its tar header names another member", record)
        except HdtError as error:
            self._fault(error.problem, record)
        if tar[stop : -(-stop // TAR_BLOCK) * TAR_BLOCK].strip(b"\0"):
            self._fault("the filling behind it is not empty", record)
        with memoryview(tar) as view, view[start:stop] as stored:
            whole = xxhash.xxh3_64_intdigest(stored) == int(record["xxh3"])
        if not whole:
            self._fault("its bytes differ from what was written", record)
            return False
        self._tried(lambda: self._check_array(tar, record), record)
        return len(self.found.faults) == before

    def _check_array(self, tar: mmap.mmap, record: np.void) -> None:
        codec = codec_of(record)
        content = content_of(tar, record, where=self.entry.path, identity=self.identity)
        first, length = content[:MAX_HEADER].tobytes(), len(content)
        dtype, shape, header = parse_npy_header(first, length, packed=codec != "none", where=self.entry.path)
        made = member_record(int(record["block"]), record["name"].decode(), dtype, shape, header, codec)
        if shape != shape_of(record) or made["dtype"] != record["dtype"] or header != record["header"]:
            self._fault("its index speaks of another array", record)
        elif codec != "none":
            self._array(tar, record)

    def _tried(self, check: Callable[[], None], record: np.void | None = None) -> None:
        try:
            check()
        except ConfigError:
            # A library that is missing says nothing of the folder.
            raise
        except HdtError as error:
            self._fault(error.problem + (f" ({error.where})" if record is None else ""), record)

    def _fault(self, problem: str, record: np.void | None = None) -> None:
        where = {} if record is None else {"block": int(record["block"]), "member": name_of(record)}
        self.found.faults.append(Fault(self.entry.path, problem, **where))  # type: ignore[arg-type]


def _check_people(manifest: ShardManifest, homes: dict[str, list[dict[str, np.ndarray]]], found: Verified) -> None:
    """Nobody and no group in two splits, no window twice, as many windows of each person as the table says."""
    seen: dict[str, str] = {}
    counts = np.zeros(len(manifest.subjects), np.int64)
    ids: list[np.ndarray] = []
    for split, blocks in homes.items():
        rows = np.concatenate([block["subj"] for block in blocks]) if blocks else np.empty(0, np.int32)
        ids += [block["wid"] for block in blocks]
        for row in strangers(manifest, split, rows):
            found.faults.append(Fault(split, f"holds windows of a person (row {row}) who is not of this split"))
        inside = rows[(rows >= 0) & (rows < len(counts))]
        counts += np.bincount(inside, minlength=len(counts))
        for group in {manifest.subjects[int(row)].group for row in np.unique(inside)}:
            if seen.setdefault(group, split) != split:
                found.faults.append(Fault(split, f"shares a group of people with {seen[group]}"))
    windows = np.concatenate(ids) if ids else np.empty(0, np.int64)
    found.windows = len(windows)
    found.revoked_windows = int(np.isin(windows, np.array(manifest.revoked_windows, np.int64)).sum())
    if len(np.unique(windows)) != len(windows):
        found.faults.append(Fault("manifest.json", "windows of different shards have the same id"))
    if not found.faults and counts.tolist() != [row.windows for row in manifest.subjects]:
        found.faults.append(Fault("manifest.json", "its table of people counts other windows than the shards hold"))
