"""The files of one version: digests over names and bytes, seen to the disk, compared again later."""

import hashlib
import os
from pathlib import Path

from hdt_fm.checkpoint.folder import sha256
from hdt_fm.schema.errors import CheckpointError
from hdt_fm.schema.manifest import SUMS_NAME

REPAIR = "copy the whole folder again, or go back to a version that is whole: hdt-fm twin rollback FOLDER to=N"


def files_of(folder: Path) -> dict[str, Path]:
    """Name inside the folder, with / between, -> file; sorted, without SHA256SUMS.

    Raises:
        CheckpointError: If something is neither a plain file nor a folder, or a name would not fit into SHA256SUMS.
    """
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if not _is_folder(path)}
    for name, path in found.items():
        if path.is_symlink() or not path.is_file() or not name.isprintable() or "\\" in name:
            raise CheckpointError(
                "A version holds what is no plain file",
                where=folder.name,
                expected="files and folders with printable names, and no links",
                fix="write the content of what a link points to: the folder must open on any machine",
            )
    return {name: found[name] for name in sorted(found) if name != SUMS_NAME}


def put_sums(folder: Path) -> str:
    """Write SHA256SUMS over all files (one that was there is replaced), see all of it to the disk.

    Returns:
        SHA-256 over names and bytes of the files: that of SHA256SUMS.

    Raises:
        CheckpointError: As `files_of`; or if there is no file.
        OSError: If it cannot be written.
    """
    files = files_of(folder)
    if not files:
        raise CheckpointError("A version was given no file", where=folder.name, fix="write at least one file into it")
    text = _sums(files)
    (folder / SUMS_NAME).write_bytes(text)
    for path in [*files.values(), folder / SUMS_NAME]:
        sync(path)
    for place in [folder, *(path for path in folder.rglob("*") if _is_folder(path))]:
        sync(place)
    return hashlib.sha256(text).hexdigest()


def check(folder: Path, content: str) -> None:
    """Refuse files other than those that `content` was made over, and name them.

    Raises:
        CheckpointError: If the folder is missing, or a file is changed, missing, new or cannot be read.
    """
    if not folder.is_dir():
        raise CheckpointError("The files of a version are missing", where=_where(folder), fix=REPAIR)
    try:
        now = _sums(files_of(folder))
    except OSError as error:
        raise CheckpointError(
            "A file of a version cannot be read", where=_where(folder), got=error.strerror, fix=REPAIR
        ) from error
    if hashlib.sha256(now).hexdigest() == content:
        return
    then = (folder / SUMS_NAME).read_bytes() if (folder / SUMS_NAME).is_file() else b""
    # Only a list that is as it was written can tell which file is not.
    listed = hashlib.sha256(then).hexdigest() == content
    raise CheckpointError(
        "Files of a version are not those that were written",
        where=_where(folder),
        expected="every file as the ledger has it",
        got=_told(_by_name(then), _by_name(now)) if listed else f"others, and a {SUMS_NAME} that was changed too",
        fix=REPAIR,
    )


def sync(path: Path) -> None:
    """See a file, or the names in a folder, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sums(files: dict[str, Path]) -> bytes:
    return "".join(f"{sha256(path)}  {name}\n" for name, path in files.items()).encode()


def _by_name(sums: bytes) -> dict[str, str]:
    return {line[66:]: line[:64] for line in sums.decode().splitlines()}


def _told(then: dict[str, str], now: dict[str, str]) -> str:
    changed = [name for name in then if name in now and now[name] != then[name]]
    groups = (("changed", changed), ("missing", sorted(then.keys() - now)), ("new", sorted(now.keys() - then)))
    return "; ".join(f"{what}: {', '.join(names[:5])}" for what, names in groups if names)


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _where(folder: Path) -> str:
    return f"{folder.parent.name}/{folder.name}"
