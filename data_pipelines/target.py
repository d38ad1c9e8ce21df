"""The folder that a build fills: taken over, published by rename, or left as it was."""

import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from data_pipelines.work import write_durably
from hdt_fm.schema.errors import ShardError
from hdt_fm.schema.shard import MANIFEST_NAME, ShardManifest

WORK = ".work"
OWNER = "owner"
QUARANTINE_NAME = "quarantine.json"


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
    foreign = set() if new else {child.name for child in folder.iterdir()} - {WORK, *before, QUARANTINE_NAME}
    if foreign or (not ours and work.exists() and any(work.iterdir())):
        raise ShardError(
            "The folder is not empty and not from an interrupted build",
            where=folder.name,
            fix="choose a new or empty folder; nothing in this one was touched",
        )
    work.mkdir(parents=True, exist_ok=True)
    _clear(folder, before)
    write_durably(work / OWNER, "\n".join(splits).encode())
    return new or ours


def release(folder: Path, splits: Iterable[str], *, made: bool) -> None:
    """Leave nothing behind after an error that a second run would meet again."""
    _clear(folder, splits)
    shutil.rmtree(folder / WORK)
    if made and not any(folder.iterdir()):
        folder.rmdir()


def _clear(folder: Path, splits: Iterable[str]) -> None:
    """Take back what an interrupted `publish` had moved into place; it is cheap to pack again."""
    for split in splits:
        shutil.rmtree(folder / split, ignore_errors=True)
    (folder / QUARANTINE_NAME).unlink(missing_ok=True)


def publish(folder: Path, out: Path, manifest: ShardManifest, lost: list[dict[str, str]]) -> None:
    """Move the shards into place, the manifest last; then the work folder goes."""
    for split in manifest.splits:
        os.replace(out / split, folder / split)
    temporary = folder / WORK / MANIFEST_NAME
    if lost:
        write_durably(folder / QUARANTINE_NAME, json.dumps(lost, indent=1).encode(), temporary=temporary)
    text = manifest.model_dump_json(indent=1) + "\n"
    write_durably(folder / MANIFEST_NAME, text.encode(), temporary=temporary)
    shutil.rmtree(folder / WORK)
