"""The checkpoint as a folder of files: whole or not there, unchanged, and nothing in it that runs."""

import hashlib
import json
import os
import re
import shutil
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from hdt_fm.schema.errors import CheckpointError, HdtError
from hdt_fm.schema.manifest import (
    CONFIG_NAME,
    MANIFEST_VERSION,
    PREPROCESS_NAME,
    PROBE_NAME,
    SUMS_NAME,
    WEIGHTS_NAME,
)
from hdt_fm.schema.preparation import Plain

FILES = (WEIGHTS_NAME, CONFIG_NAME, PREPROCESS_NAME, PROBE_NAME)
_PICKLES = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle"})
_MAX_JSON_BYTES = 16 * 2**20
_MAX_SUMS_BYTES = 2**20
# Where the Hub's cache keeps the files that the names in a snapshot are links to: snapshots/REVISION beside blobs.
_HUB_BLOBS, _HUB_SNAPSHOTS = "blobs", "snapshots"
_SUM_LINE = re.compile(r"(?P<digest>[0-9a-f]{64}) [ *](?P<name>[A-Za-z0-9_][A-Za-z0-9_.\-/]*)")
Record = TypeVar("Record", bound=Plain)


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_replaceable(folder: Path) -> None:
    """Refuse to write over a folder that holds something else than a checkpoint."""
    restore_interrupted_swap(folder)
    if folder.exists() and not (folder.is_dir() and ((folder / CONFIG_NAME).is_file() or not any(folder.iterdir()))):
        raise CheckpointError(
            "A checkpoint would replace something that is not one",
            where=str(folder),
            expected="a new path, an empty folder or an earlier checkpoint",
            fix="choose another folder",
        )


def swap(fresh: Path, folder: Path) -> None:
    """Put the finished folder `fresh` in the place of `folder`."""
    for path in fresh.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        os.replace(folder, old)
    os.replace(fresh, folder)
    shutil.rmtree(old, ignore_errors=True)


def restore_interrupted_swap(folder: Path) -> None:
    """Bring back the earlier checkpoint that a kill between the two renames of `swap` left under another name."""
    old = folder.with_name(f".{folder.name}.old")
    if old.is_dir() and not folder.exists():
        os.replace(old, folder)


def check_files(folder: Path) -> None:
    """Refuse a folder without one of its files, or whose files lie elsewhere; a pickle in place of the weights is named
    as such."""
    if not folder.is_dir():
        raise CheckpointError(
            "There is no checkpoint folder here",
            where=str(folder),
            expected=", ".join(FILES),
            fix="run the verb that makes it (`pretrain`; `finetune` for explain), or name another: checkpoint=FOLDER",
        )
    missing = [name for name in FILES if not (folder / name).is_file()]
    if not missing:
        return _check_links(folder)
    pickles = sorted(path.name for path in folder.iterdir() if path.suffix in _PICKLES)
    if WEIGHTS_NAME in missing and pickles:
        raise CheckpointError(
            "The weights are a pickle, which may run code when read, so it is not read",
            where=str(folder),
            expected=WEIGHTS_NAME,
            got=", ".join(pickles[:3]),
            fix="ask its author for safetensors",
        )
    raise CheckpointError(
        f"The checkpoint has no {', '.join(missing)}",
        where=str(folder),
        expected=", ".join(FILES),
        fix="copy the whole folder again, or make it anew with `hdt-fm pretrain`",
    )


def _check_links(folder: Path) -> None:
    """Refuse a name that leads out of the folder: what is read must be what was handed over."""
    home = folder.resolve()
    allowed = [home, home.parent.parent / _HUB_BLOBS] if home.parent.name == _HUB_SNAPSHOTS else [home]
    for name in (*FILES, SUMS_NAME):
        path = folder / name
        if path.is_symlink() and not any(path.resolve().is_relative_to(place) for place in allowed):
            raise CheckpointError(
                "A file of the checkpoint is a link to somewhere else",
                where=str(path),
                expected="files in the folder itself",
                fix="write the content of what it points to into the folder, if you know where that comes from",
            )


def check_sums(folder: Path) -> None:
    """Refuse a folder whose files differ from its SHA256SUMS, if it has one; it must list every file that is read."""
    sums = folder / SUMS_NAME
    if not sums.is_file():
        return
    if sums.stat().st_size > _MAX_SUMS_BYTES:
        raise CheckpointError(f"{SUMS_NAME} is far too large", where=str(folder), expected="at most 1 MiB")
    listed: dict[str, str] = {}
    for line in sums.read_text(errors="replace").splitlines():
        match = _SUM_LINE.fullmatch(line)
        if match is None or ".." in match["name"].split("/"):
            raise CheckpointError(f"{SUMS_NAME} has a line that is not a digest and a plain name", where=str(folder))
        listed[match["name"]] = match["digest"]
    unlisted = [name for name in FILES if name not in listed]
    missing = [name for name in listed if not (folder / name).is_file()]
    changed = [name for name, digest in listed.items() if name not in missing and sha256(folder / name) != digest]
    for problem, names in (("does not list", unlisted), ("lists absent", missing), ("does not match", changed)):
        if names:
            raise CheckpointError(
                f"{SUMS_NAME} {problem} {', '.join(names[:5])}",
                where=str(folder),
                expected="every file as it was written",
                fix="copy the folder again from its source; do not edit a checkpoint by hand",
            )


def read_record(path: Path, kind: type[Record]) -> Record:
    """Read one JSON record, or say which field does not fit or that it is of a later version."""
    if path.stat().st_size > _MAX_JSON_BYTES:
        raise CheckpointError("A settings file is far too large", where=path.name, expected="at most 16 MiB")
    try:
        raw = json.loads(path.read_bytes())
        version = raw.get("version", MANIFEST_VERSION)
    except (ValueError, AttributeError, RecursionError) as error:
        raise CheckpointError("A settings file is not a JSON object", where=path.name) from error
    if isinstance(version, int) and version > MANIFEST_VERSION:
        raise CheckpointError(
            "The checkpoint was written by a later hdt_fm",
            where=path.name,
            expected=f"version {MANIFEST_VERSION} or earlier",
            got=f"version {version}",
            fix="update hdt_fm: pip install -U hdt-fm",
        )
    try:
        return kind.model_validate_json(json.dumps(raw), strict=True)
    except (ValidationError, HdtError) as error:
        raise CheckpointError(
            "A settings file does not fit its contract",
            where=path.name,
            got=short(error),
            fix="do not edit a checkpoint by hand; load it with the hdt_fm that wrote it",
        ) from error


def short(error: Exception) -> str:
    """First line of an error, or the fields that a record got wrong."""
    if isinstance(error, ValidationError):
        found = [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()[:5]]
        return "; ".join(found)
    return f"{type(error).__name__}: {error}".splitlines()[0][:200]
