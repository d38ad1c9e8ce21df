"""Files of a version encrypted by age, where recipients are set: one `NAME.age` for each `NAME`.

Who opens them is told by the keys of `hdt_fm/schema/age.py`. Names, sizes and the ledger are not hidden. While they
are used, plain files lie in memory where the system has a folder for that (/dev/shm), else in its folder for temporary
ones, and go afterwards; those of a killed process go when the next one looks.
"""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from hdt_fm.checkpoint.keys import told_by
from hdt_fm.checkpoint.version_files import files_of
from hdt_fm.schema import age
from hdt_fm.schema.age import RECIPIENTS, SUFFIX, Identity
from hdt_fm.schema.errors import CheckpointError, ConfigError

_EMPTY, _PLACE = "hdt_fm_empty_", "hdt_fm_open_"
_MEMORY = Path("/dev/shm")


def recipients(*, needed: bool) -> tuple[str, ...]:
    """Who is to open what is written; empty where files are not to be sealed.

    Args:
        needed: Whether files were sealed so far.

    Raises:
        ConfigError: If they are needed and none is set, one is no public key, or pyrage is missing.
    """
    if needed and told_by(RECIPIENTS) is None:
        raise ConfigError(
            "The files were sealed so far, and would lie plain from now on",
            where=f"environment variable {RECIPIENTS}",
            expected="public keys of those who are to open them",
            fix=f"set {RECIPIENTS}; for plain files make a new folder",
        )
    return age.recipients(needed=needed)


def seal(source: Path, target: Path, keys: Sequence[str]) -> None:
    """Write each file of one folder into another one, encrypted.

    Raises:
        OSError: If there is no room.
    """
    for name, path in files_of(source).items():
        place = target / f"{name}{SUFFIX}"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(age.seal(path.read_bytes(), keys))


def unseal(source: Path, target: Path) -> None:
    """Write each file of a sealed folder into another one, as it was.

    Raises:
        ConfigError: If no secret key is set, it is none, or pyrage is missing.
        CheckpointError: If it does not open the files, or one of them was changed.
    """
    identity = Identity(wrong=CheckpointError, damaged=CheckpointError)
    identity.require()
    for name, path in files_of(source).items():
        place = target / name.removesuffix(SUFFIX)
        place.parent.mkdir(parents=True, exist_ok=True)
        data = path.read_bytes()
        place.write_bytes(identity.open(data, most=len(data), where=source.name))


@contextlib.contextmanager
def plain_place() -> Iterator[Path]:
    """An empty folder of this process alone, in memory where there is one; it goes with all in it."""
    above = _MEMORY if os.access(_MEMORY, os.W_OK) else Path(tempfile.gettempdir())
    _sweep(above)
    empty = Path(tempfile.mkdtemp(prefix=_EMPTY, dir=above))
    place = empty.with_name(empty.name.replace(_EMPTY, _PLACE, 1))
    handle = os.open(empty, os.O_RDONLY)
    try:
        # By its own name only once it is held, or somebody who sweeps could take it for one that was left.
        _hold(handle)
        os.rename(empty, place)
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)
        os.close(handle)


def _sweep(above: Path) -> None:
    """Remove what killed processes of this user left: nobody holds it any more."""
    for place in above.glob(f"{_PLACE}*"):
        with contextlib.suppress(OSError):
            if place.is_symlink() or place.stat().st_uid != os.getuid():
                continue
            handle = os.open(place, os.O_RDONLY)
            try:
                _hold(handle)
                shutil.rmtree(place, ignore_errors=True)
            finally:
                os.close(handle)


def _hold(handle: int) -> None:
    import fcntl

    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
