"""The folder that a build fills: taken over, published by rename, or left as it was."""

import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from data_pipelines.durably import write_durably
from data_pipelines.finished import manifest_text, put_file, put_seals
from data_pipelines.quarantine import Lost
from hdt_fm.schema.age import SUFFIX
from hdt_fm.schema.errors import ShardError
from hdt_fm.schema.shard import MANIFEST_NAME, ShardManifest
from hdt_fm.schema.shard_seal import SEALED_SEALS, Seal

WORK = ".work"
OWNER = "owner"
# Not one of a kind: what a kill leaves of it must be known as ours.
OWNER_HALF = "owner.tmp"
QUARANTINE_NAME = "quarantine.json"
# What an interrupted `publish` may have put beside the shards.
BESIDE = (QUARANTINE_NAME, f"{QUARANTINE_NAME}{SUFFIX}", SEALED_SEALS)


def claim(folder: Path, splits: Iterable[str]) -> bool:
    """Make the work folder, or take over the one of an interrupted build.

    Returns:
        Whether the folder itself is of our making.

    Raises:
        ShardError: If there is anything else in the folder; nothing is touched then.
    """
    work, new = folder / WORK, not folder.exists()
    ours = (work / OWNER).exists()
    before = (work / OWNER).read_text().split() if ours else []
    foreign = set() if new else {child.name for child in folder.iterdir()} - {WORK, *before, *BESIDE}
    inside = {child.name for child in work.iterdir()} - {OWNER_HALF} if work.exists() else set()
    if foreign or (inside and not ours):
        raise ShardError(
            "The folder is not empty and not from an interrupted build",
            where=folder.name,
            fix="choose a new or empty folder; nothing in this one was touched",
        )
    work.mkdir(parents=True, exist_ok=True)
    _clear(folder, before)
    write_durably(work / OWNER, "\n".join(splits).encode(), temporary=work / OWNER_HALF)
    return new or ours


def release(folder: Path, splits: Iterable[str], *, made: bool) -> None:
    """Leave nothing behind after an error that a second run would meet again."""
    _clear(folder, splits)
    _remove_work(folder / WORK)
    if made and not any(folder.iterdir()):
        folder.rmdir()


def _remove_work(work: Path) -> None:
    """The owner last: until then a second run knows the rest as ours."""
    for child in list(work.iterdir()):
        if child.is_dir():
            shutil.rmtree(child, ignore_errors=True)
        elif child.name != OWNER:
            child.unlink(missing_ok=True)
    shutil.rmtree(work)


def _clear(folder: Path, splits: Iterable[str]) -> None:
    """Take back what an interrupted `publish` had moved into place; it is cheap to pack again."""
    for split in splits:
        shutil.rmtree(folder / split, ignore_errors=True)
    for name in BESIDE:
        (folder / name).unlink(missing_ok=True)


def publish(
    folder: Path,
    out: Path,
    manifest: ShardManifest,
    lost: Sequence[Lost],
    *,
    seals: Mapping[str, Seal] | None = None,
    to: Sequence[str] = (),
) -> None:
    """Move the shards into place, the manifest last; then the work folder goes.

    Args:
        seals: Of sealed shards, which are for those whose public keys are in `to`.
    """
    for split in manifest.splits:
        _sync(out / split)
        os.replace(out / split, folder / split)
    _sync(folder)
    temporary = folder / WORK / MANIFEST_NAME
    if lost:
        rows = json.dumps([row.model_dump() for row in lost], indent=1).encode()
        put_file(folder, QUARANTINE_NAME, rows, to=to, temporary=temporary)
    if to:
        put_seals(folder, seals or {}, to=to, temporary=temporary)
    put_file(folder, MANIFEST_NAME, manifest_text(manifest), to=to, temporary=temporary)
    _sync(folder)
    # A task that was begun twice may still be at it; what it leaves is removed when the folder is asked for again.
    shutil.rmtree(folder / WORK, ignore_errors=True)


def _sync(folder: Path) -> None:
    """Names too reach the disk in this order: no manifest without its shards after a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
