"""A shard folder written again for other eyes: plain -> sealed, sealed -> for new recipients, sealed -> plain."""

import mmap
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from data_pipelines.finished import REPAIR, Finished, OpenTar, changing, finished, put_file, put_seals, tar_of
from data_pipelines.pack import Member, TarWriter, write_members
from hdt_fm.schema.age import SUFFIX, Identity, recipients
from hdt_fm.schema.errors import ConfigError, CorruptShardError, ShardError
from hdt_fm.schema.shard import HEADER_MEMBER, MANIFEST_NAME, ShardHeader
from hdt_fm.schema.shard_index import MEMBER, SEALED, content_of
from hdt_fm.schema.shard_manifest import entries_of, local_manifest
from hdt_fm.schema.shard_seal import told_name
from hdt_fm.schema.shard_walk import header_bytes

QUARANTINE_NAME, NOTE_NAME = "quarantine.json", "compact.json"
Way = Literal["seal", "unseal"]
Report = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Rewritten:
    """What was done.

    Attributes:
        recipients: How many may open it; 0 where it lies plain.
        digest: Of the folder, which sealing does not change.
    """

    shards: int
    windows: int
    bytes: int
    recipients: int
    digest: str

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


def rewrite(
    source: Path,
    target: Path,
    *,
    way: Way = "seal",
    report: Report = lambda done, total, what: None,
) -> Rewritten:
    """Write a finished folder to a new place; the one that is there stays as it is.

    Args:
        way: `seal` for those in HDT_FM_RECIPIENTS, whether it lies plain or sealed for others; `unseal` to lie plain.

    Raises:
        ConfigError: If the target is there, or no recipients or no key are set.
        ShardError: If the source is not a finished folder, or a `compact` of it was interrupted.
        CorruptShardError: If a shard is damaged. Nothing is left behind then.
    """
    to = recipients(needed=True) if way == "seal" else ()
    if target.exists():
        raise ConfigError("There is something at the new place already", where=target.name, fix="name a new folder")
    fresh = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    with changing(source):
        whole = finished(source)
        if way == "unseal" and whole.sealed is None:
            raise ShardError("The folder lies plain already", where=source.name, expected="a sealed one")
        if (source / NOTE_NAME).exists():
            raise ShardError(
                "A `compact` of this folder was interrupted", where=source.name, fix="run `hdt-fm shard compact` again"
            )
        try:
            fresh.mkdir(parents=True)
            done = _write(whole, fresh, to, report)
            os.replace(fresh, target)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    return done


def _write(whole: Finished, fresh: Path, to: Sequence[str], report: Report) -> Rewritten:
    entries, seals, size = entries_of(whole.manifest), {}, 0
    for number, entry in enumerate(entries):
        tar, path = tar_of(whole, entry), fresh / entry.path
        path.parent.mkdir(exist_ok=True)
        head = header_bytes(tar.map, where=entry.path, identity=whole.identity)
        packed = write_members(path, head, whole.manifest.header, _members(tar, whole.manifest.header), to=to)
        if (packed.bytes, packed.sha256) != (entry.bytes, entry.sha256):
            raise CorruptShardError("Bytes of a shard differ from what was written", where=entry.path, fix=REPAIR)
        if packed.seal is not None:
            seals[entry.path] = packed.seal
        size += path.stat().st_size
        report(number + 1, len(entries), "shards")
    lost = _quarantine(whole)
    if lost is not None:
        put_file(fresh, QUARANTINE_NAME, lost, to=to)
    if to:
        put_seals(fresh, seals, to=to)
    put_file(fresh, MANIFEST_NAME, local_manifest(whole.folder)[0], to=to)
    return Rewritten(len(entries), whole.manifest.windows, size, len(to), whole.digest)


def _quarantine(whole: Finished) -> bytes | None:
    file = whole.folder / (QUARANTINE_NAME if whole.identity is None else QUARANTINE_NAME + SUFFIX)
    if not file.is_file():
        return None
    data = file.read_bytes()
    return data if whole.identity is None else whole.identity.open(data, most=len(data), where=file.name)


def _members(tar: OpenTar, header: ShardHeader) -> Iterator[Member]:
    for place in range(len(tar.members)):
        yield Member(_plain_record(tar.members[place], header), (tar.content(place).data,))


def _plain_record(record: np.void, header: ShardHeader) -> np.ndarray:
    """What a record is where nothing is sealed."""
    plain = np.zeros((), MEMBER)
    plain[()] = record
    if record["codec"] & SEALED:
        plain["codec"] &= SEALED - 1
        plain["name"] = told_name(record["name"].decode(), header).encode()
    return plain


def plain_digest(tar: mmap.mmap, members: np.ndarray, header: ShardHeader, identity: Identity, *, where: str) -> str:
    """SHA-256 of the plain tar that a sealed one makes, which is written nowhere."""
    writer = TarWriter(None)
    writer.add(HEADER_MEMBER, header_bytes(tar, where=where, identity=identity))
    for record in members:
        content = content_of(tar, record, where=where, identity=identity)
        writer.add_member(_plain_record(record, header), (content.data,))
    return writer.finish().hex()
