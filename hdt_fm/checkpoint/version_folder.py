"""Where the versions of a folder lie, and how one comes and goes: by one rename, so never in part."""

import contextlib
import os
import shutil
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from hdt_fm.checkpoint import sealed
from hdt_fm.checkpoint.version_files import put_sums, sync
from hdt_fm.schema import one_writer
from hdt_fm.schema.errors import CheckpointError
from hdt_fm.schema.ledger import LEDGER_NAME

VERSIONS = "versions"
_NEW, _GONE = ".new", ".gone-"
Write = Callable[[Path], None]


def place_of(folder: Path, number: int) -> Path:
    """Where the files of a version lie."""
    return folder / VERSIONS / f"{number:06d}"


def numbers(folder: Path) -> list[int]:
    """Of versions whose files lie there, rising, in the ledger or not."""
    names = (path.name for path in (folder / VERSIONS).iterdir())
    return sorted(int(name) for name in names if name.isascii() and name.isdecimal())


def put(folder: Path, number: int, write: Write, *, sealed_before: bool = False) -> tuple[str, bool]:
    """Make a version's files and put them in their place.

    Args:
        sealed_before: Whether those of the version before lie sealed; then these must not lie plain.

    Returns:
        SHA-256 over names and bytes of the files as they lie; whether they lie sealed.

    Raises:
        CheckpointError: If no file was written, or one that is no plain file.
        ConfigError: If files were sealed so far and no recipient is set.
        OSError: If they cannot be written.
    """
    keys = sealed.recipients(needed=sealed_before)
    fresh = folder / VERSIONS / _NEW
    os.mkdir(fresh)
    if keys:
        with sealed.plain_place() as plain:
            write(plain)
            sealed.seal(plain, fresh, keys)
    else:
        write(fresh)
    content = put_sums(fresh)
    os.rename(fresh, place_of(folder, number))
    sync(folder / VERSIONS)
    return content, bool(keys)


def remove(folder: Path, number: int) -> None:
    """Take a version's files away; under their own name they lie whole or not at all."""
    gone = folder / VERSIONS / f"{_GONE}{number:06d}"
    with contextlib.suppress(OSError):
        os.rename(place_of(folder, number), gone)
    shutil.rmtree(gone, ignore_errors=True)


def sweep(folder: Path, made: Collection[int], *, first: int) -> None:
    """Remove what a killed writer left beside the versions that were `made`, numbered from 1, and those before `first`.

    Raises:
        CheckpointError: If there is more than one could leave: then it is the ledger that lacks lines.
        OSError: If something cannot be removed.
    """
    later = [number for number in numbers(folder) if number > len(made) + 1]
    if later:
        raise CheckpointError(
            "There are files of versions that the ledger does not know",
            where=f"{VERSIONS}/{place_of(folder, later[0]).name}",
            expected=f"{len(made)} versions, as the ledger has lines of them",
            fix="copy the ledger again: an older one lies here",
        )
    for path in (folder / VERSIONS).iterdir():
        if path.name.isdecimal() and int(path.name) in made and int(path.name) >= first:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


@contextlib.contextmanager
def fresh_home(folder: Path) -> Iterator[Path]:
    """A folder beside the one to be made, for this process alone; what a killed process left of it goes first.

    Raises:
        CheckpointError: If there is something in `folder` already, or another process is making it.
    """
    _check_free(folder)
    whole = folder.resolve()
    home = whole.with_name(f".{whole.name}.new")
    home.mkdir(parents=True, exist_ok=True)
    handle = os.open(home, os.O_RDONLY)
    try:
        hold(handle, folder)
        if not home.is_dir() or home.stat().st_ino != os.fstat(handle).st_ino:
            raise one_writer.busy(folder, CheckpointError)
        for path in home.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        os.mkdir(home / VERSIONS)
        try:
            yield home
        except BaseException:
            shutil.rmtree(home, ignore_errors=True)
            raise
    finally:
        os.close(handle)


def hold(handle: int, folder: Path) -> None:
    """Lock an open file or folder against other writers; see `one_writer.hold`.

    Raises:
        CheckpointError: If somebody else holds it.
    """
    one_writer.hold(handle, folder, CheckpointError)


def check_kind(folder: Path) -> None:
    """Refuse what is no folder of versions.

    Raises:
        CheckpointError: If it is missing, empty or something else.
    """
    if (folder / LEDGER_NAME).is_file() and (folder / VERSIONS).is_dir():
        return
    got = "nothing"
    if folder.exists():
        got = "a file" if not folder.is_dir() else "something else" if any(folder.iterdir()) else "an empty folder"
    raise CheckpointError(
        "There is no folder of versions here",
        where=str(folder),
        expected=f"{LEDGER_NAME} and {VERSIONS}",
        got=got,
        fix="name the folder that `hdt-fm twin create` or `hdt-fm update` made, or make one",
    )


@contextlib.contextmanager
def disk_named(folder: Path) -> Iterator[None]:
    """An error of the disk while a folder is changed, as one that says what to do.

    Raises:
        CheckpointError: For every OSError within.
    """
    try:
        yield
    except OSError as error:
        raise CheckpointError(
            "The change cannot be written, so nothing was changed",
            where=str(folder),
            got=error.strerror or str(error),
            fix="make room, or make the folder writable, and do it again",
        ) from error


def _check_free(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        return
    if folder.exists() or folder.is_symlink():
        raise CheckpointError(
            "There is something here already",
            where=str(folder),
            expected="a new path or an empty folder",
            fix="choose another folder; nothing in this one was touched",
        )
