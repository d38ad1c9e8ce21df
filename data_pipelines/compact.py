"""Write the shards of a folder again without revoked windows. Killed anywhere, it leaves a folder that opens and skips.

New shards get new names, so that the old manifest goes on naming whole old ones; then one rename of the manifest puts
the new ones in force, and the old ones are deleted. In a sealed folder the seals name both until then. A note of what
is made and what must go lies in the folder until nothing is left to do, so that another run goes on, or clears away
what an earlier one left.
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data_pipelines.durably import write_durably
from data_pipelines.finished import (
    Finished,
    OpenTar,
    changing,
    finished,
    put_seals,
    recipients_for,
    tar_of,
    write_manifest,
)
from data_pipelines.pack import Block, write_shard
from data_pipelines.work import file_digest
from hdt_fm.schema.errors import ShardError
from hdt_fm.schema.preparation import Plain
from hdt_fm.schema.shard import SHARD_PATTERN, ShardEntry, ShardHeader, ShardManifest, SubjectRow
from hdt_fm.schema.shard_seal import Seal

NOTE_NAME = "compact.json"
Report = Callable[[int, int, str], None]


class Note(Plain):
    """What an interrupted run was about: the manifest it began with, the shards that it makes and that it replaces."""

    manifest: str
    made: tuple[str, ...]
    gone: tuple[str, ...]


@dataclass(frozen=True)
class Compacted:
    """What was done."""

    data_version: int
    windows_erased: int
    people_erased: int
    shards_written: int
    bytes_before: int
    bytes_after: int

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


def compact(folder: Path, *, report: Report = lambda done, total, what: None) -> Compacted:
    """Erase revoked windows, and people of whom nothing is left.

    Blocks get shorter and keep their order; shards without a revoked window stay as they are. The row of a person who
    is gone stays, since the shards name rows, but says nothing any more.

    Raises:
        ShardError: If the folder is not a finished one, is being changed, or holds a shard that is damaged: it stays
            as it is then.
    """
    with changing(folder):
        whole = finished(folder)
        manifest, to = whole.manifest, recipients_for(whole)
        going_on = _clear(folder, manifest, whole.digest)
        revoked = np.array(manifest.revoked_windows, np.int64)
        if not len(revoked):
            return _told(manifest, manifest, 0, 0, 0)
        version, changes = manifest.data_version + 1, {}
        for split, entries in manifest.splits.items():
            for entry in entries:
                tar = tar_of(whole, entry)
                if any(np.isin(tar.array(block, "wid"), revoked).any() for block in tar.blocks):
                    changes[entry.path] = (split, entry, _new_path(entry.path, version, manifest))
        note = Note(manifest=whole.digest, made=tuple(new for _, _, new in changes.values()), gone=tuple(changes))
        temporary = folder / f"{NOTE_NAME}.tmp"
        write_durably(folder / NOTE_NAME, note.model_dump_json().encode(), temporary=temporary)
        made: dict[str, ShardEntry | None] = {}
        seals: dict[str, Seal] = {}
        for number, (_, entry, path) in enumerate(changes.values()):
            made[entry.path], seal = _write(whole, entry, path, revoked, going_on, to)
            seals |= {path: seal} if seal is not None else {}
            report(number + 1, len(changes), "shards")
        new = _without(manifest, made, _left(whole), version)
        if whole.sealed is not None:
            # Old and new ones, whichever manifest is in force; then those alone that are left.
            seals = whole.sealed.seals.shards | seals
            put_seals(folder, seals, to=to)
        write_manifest(folder, new, to=to)
        _clear(folder, new, "")
        if whole.sealed is not None:
            named = {entry.path for part in new.splits.values() for entry in part}
            put_seals(folder, {path: seal for path, seal in seals.items() if path in named}, to=to)
    erased = manifest.windows - new.windows
    people = sum(old.windows > 0 and not row.windows for old, row in zip(manifest.subjects, new.subjects, strict=True))
    return _told(manifest, new, erased, people, sum(one is not None for one in made.values()))


def _told(before: ShardManifest, after: ShardManifest, windows: int, people: int, written: int) -> Compacted:
    sizes = [sum(entry.bytes for part in one.splits.values() for entry in part) for one in (before, after)]
    return Compacted(after.data_version, windows, people, written, *sizes)


def _clear(folder: Path, manifest: ShardManifest, digest: str) -> bool:
    """Delete what a run made or replaced and this manifest does not name; True if that run is to be gone on with."""
    note = folder / NOTE_NAME
    if not note.is_file():
        return False
    try:
        found = Note.model_validate_json(note.read_bytes())
        paths = [*found.made, *found.gone]
        if not all(SHARD_PATTERN.fullmatch(path) for path in paths):
            raise ValueError("a path outside")
    except ValueError:
        raise ShardError(
            "The note of an interrupted `compact` cannot be read",
            where=NOTE_NAME,
            fix="see with `hdt-fm shard verify` which files the manifest does not name, delete them and this note",
        ) from None
    if found.manifest == digest:
        return True
    named = {entry.path for part in manifest.splits.values() for entry in part}
    for path in (folder / one for one in paths if one not in named):
        for file in (path, path.with_suffix(".idx")):
            file.unlink(missing_ok=True)
            file.with_name(file.name + ".tmp").unlink(missing_ok=True)
    note.unlink()
    return False


def _new_path(path: str, version: int, manifest: ShardManifest) -> str:
    """The same shard under a name that no shard of the folder has."""
    named = {entry.path for part in manifest.splits.values() for entry in part}
    split, _, name = path.partition("/")
    stem, number = name.removesuffix(".tar").rsplit("-", 1)
    while True:
        end = f"-d{version}"
        new = f"{split}/{re.sub('-d[0-9]+$', '', stem)[: 64 - len(end)]}{end}-{number}.tar"
        if new not in named:
            return new
        version += 1


def _write(
    whole: Finished, entry: ShardEntry, path: str, revoked: np.ndarray, going_on: bool, to: Sequence[str]
) -> tuple[ShardEntry | None, Seal | None]:
    """The new shard, or None where no window is left; what an earlier run of the same had finished stays, if plain."""
    tar = tar_of(whole, entry)
    kept = [
        np.flatnonzero(~np.isin(tar.array(block, "wid"), revoked)) if block else np.empty(0, np.int64)
        for block in tar.blocks
    ]
    windows, blocks = sum(map(len, kept)), sum(1 for rows in kept if len(rows))
    if not windows:
        return None, None
    new, header, seal = whole.folder / path, whole.manifest.header, None
    if going_on and new.is_file() and not to:
        size, digest = new.stat().st_size, file_digest(new)
    else:
        packed = write_shard(new, header, _blocks(tar, kept, header), to=to)
        size, digest, seal = packed.bytes, packed.sha256, packed.seal
    return ShardEntry(path=path, bytes=size, sha256=digest, windows=windows, blocks=blocks), seal


def _blocks(tar: OpenTar, kept: list[np.ndarray], header: ShardHeader) -> Iterator[Block]:
    for block, rows in zip(tar.blocks, kept, strict=True):
        if not len(rows):
            continue
        mask = tar.array(block, "mask")[rows].astype(np.bool_)
        left_out = set()
        for column, modality in enumerate(header.modalities):
            present = mask[:, column]
            observed = f"{modality.name}_observed"
            if not present.any():
                left_out |= {modality.name, observed}
            elif observed in block:
                bits = tar.array(block, observed)[rows][present]
                if np.unpackbits(bits, axis=1, count=modality.samples).all():
                    left_out.add(observed)
        number = int(tar.members[next(iter(block.values()))]["block"])
        yield number, {name: tar.array(block, name)[rows] for name in block if name not in left_out}


def _left(whole: Finished) -> np.ndarray:
    """Windows of each person that are left."""
    manifest = whole.manifest
    counts = np.zeros(len(manifest.subjects), np.int64)
    revoked = np.array(manifest.revoked_windows, np.int64)
    for part in manifest.splits.values():
        for entry in part:
            tar = tar_of(whole, entry)
            for block in tar.blocks:
                rows = tar.array(block, "subj")[~np.isin(tar.array(block, "wid"), revoked)]
                counts += np.bincount(rows, minlength=len(counts))
    return counts


def _without(
    manifest: ShardManifest, made: dict[str, ShardEntry | None], left: np.ndarray, version: int
) -> ShardManifest:
    splits = {
        split: tuple(new for entry in part if (new := made.get(entry.path, entry)) is not None)
        for split, part in manifest.splits.items()
    }
    kept = sum(entry.windows for part in splits.values() for entry in part)
    counts = manifest.counts
    return manifest.model_copy(
        update={
            "splits": splits,
            "subjects": tuple(_row(row, number, int(left[number])) for number, row in enumerate(manifest.subjects)),
            "revoked_windows": (),
            "data_version": version,
            "counts": counts.model_copy(
                update={
                    "windows_kept": kept,
                    "windows_revoked": counts.windows_revoked + manifest.windows - kept,
                }
            ),
        }
    )


def _row(row: SubjectRow, number: int, windows: int) -> SubjectRow:
    """A person's row; of one who is gone it keeps the place alone, under a name that says nothing."""
    if windows == row.windows:
        return row
    if windows:
        return row.model_copy(update={"windows": windows, "hours": round(row.hours * windows / row.windows, 6)})
    nobody = "s" + hashlib.sha256(f"nobody {number}".encode()).hexdigest()[:32]
    return SubjectRow(subject=nobody, group=nobody, windows=0, hours=0.0, split=row.split)
