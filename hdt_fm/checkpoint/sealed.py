"""Files of a version encrypted by age, where recipients are set: one `NAME.age` for each `NAME`.

HDT_FM_RECIPIENTS (public keys, apart by spaces, commas or lines) says who can open what is written from then on;
HDT_FM_IDENTITY (a secret key) opens it. Either may be a file's: HDT_FM_RECIPIENTS_FILE, HDT_FM_IDENTITY_FILE, as
`age-keygen` writes them. Names, sizes and the ledger are not hidden. While they are used, plain files lie in memory
where the system has a folder for that (/dev/shm), else in its folder for temporary ones, and go afterwards; those of a
killed process go when the next one looks.
"""

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hdt_fm.checkpoint.keys import told_by
from hdt_fm.checkpoint.version_files import files_of
from hdt_fm.schema.errors import CheckpointError, ConfigError

RECIPIENTS = "HDT_FM_RECIPIENTS"
IDENTITY = "HDT_FM_IDENTITY"
SUFFIX = ".age"
_EMPTY, _PLACE = "hdt_fm_empty_", "hdt_fm_open_"
_MEMORY = Path("/dev/shm")


def recipients(*, needed: bool) -> list[Any]:
    """Who is to open what is written; empty where files are not to be sealed.

    Args:
        needed: Whether files were sealed so far.

    Raises:
        ConfigError: If they are needed and none is set, one is no public key, or pyrage is missing.
    """
    told = _words(told_by(RECIPIENTS))
    if needed and not told:
        raise ConfigError(
            "The files were sealed so far, and would lie plain from now on",
            where=f"environment variable {RECIPIENTS}",
            expected="public keys of those who are to open them",
            fix=f"set {RECIPIENTS}; for plain files make a new folder",
        )
    if not told:
        return []
    pyrage = _age()
    try:
        return [pyrage.x25519.Recipient.from_str(word) for word in told]
    except pyrage.RecipientError:
        raise ConfigError(
            "A recipient is no public key of age",
            where=f"environment variable {RECIPIENTS}",
            expected="age1..., as `age-keygen` prints it",
            fix="set the public key (never the secret one) of each who is to open the files",
        ) from None


def seal(source: Path, target: Path, keys: Sequence[Any]) -> None:
    """Write each file of one folder into another one, encrypted.

    Raises:
        OSError: If there is no room.
    """
    pyrage = _age()
    for name, path in files_of(source).items():
        place = target / f"{name}{SUFFIX}"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(pyrage.encrypt(path.read_bytes(), list(keys)))


def unseal(source: Path, target: Path) -> None:
    """Write each file of a sealed folder into another one, as it was.

    Raises:
        ConfigError: If no secret key is set, it is none, or pyrage is missing.
        CheckpointError: If it does not open the files.
    """
    identity = _identity()
    pyrage = _age()
    for name, path in files_of(source).items():
        place = target / name.removesuffix(SUFFIX)
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            place.write_bytes(pyrage.decrypt(path.read_bytes(), identity))
        except pyrage.DecryptError:
            raise CheckpointError(
                "Sealed files cannot be opened",
                where=source.name,
                expected=f"the secret key of one of those that they were sealed for, in {IDENTITY}",
                got="another key",
                fix=f"set {IDENTITY} or {IDENTITY}_FILE to the right one",
            ) from None


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


def _identity() -> list[Any]:
    told = _words(told_by(IDENTITY))
    if not told:
        raise ConfigError(
            "The files are sealed, and no key is set to open them",
            where=f"environment variable {IDENTITY}",
            expected="the secret key of one of those that they were sealed for",
            fix=f"set {IDENTITY}_FILE to the file that `age-keygen` wrote",
        )
    pyrage = _age()
    try:
        return [pyrage.x25519.Identity.from_str(word) for word in told]
    except pyrage.IdentityError:
        raise ConfigError(
            "What should open sealed files is no secret key of age",
            where=f"environment variable {IDENTITY}",
            expected="AGE-SECRET-KEY-1..., as `age-keygen` writes it",
            fix=f"set {IDENTITY}_FILE to the file that `age-keygen` wrote",
        ) from None


def _words(told: str | None) -> list[str]:
    lines = (told or "").splitlines()
    return [word for line in lines if not line.startswith("#") for word in re.split(r"[\s,]+", line) if word]


def _age() -> Any:
    try:
        import pyrage
    except ImportError:
        raise ConfigError(
            "Files are to be sealed or opened, and pyrage is not installed",
            expected="pyrage, which encrypts as age does",
            fix=f"pip install pyrage, or unset {RECIPIENTS} to write files as they are",
        ) from None
    return pyrage
