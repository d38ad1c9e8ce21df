"""A published folder as one file for named people: a tar of its files in order of name, sealed by age.

Equal folders give equal tars, and `age -d -i KEY FILE | tar x` opens one where there is no hdt_fm. Nothing of it lies
plain on the way, and no file is held in memory as a whole. Who sealed it is not said: that is what `model.sig` is for.
"""

import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from hdt_fm.report.bundle_tar import MOST_BYTES, Unpacking, names_of, packed
from hdt_fm.schema.age import Identity
from hdt_fm.schema.age_streams import open_stream, seal_stream
from hdt_fm.schema.errors import PublishError


def seal_folder(folder: Path, target: Path, to: Sequence[str]) -> int:
    """Write a folder as one sealed file, whole or not at all.

    Args:
        to: Public keys, of `schema.age.recipients`.

    Returns:
        How many files it holds.

    Raises:
        PublishError: If there is something at the target, it cannot be written, or the folder holds what a bundle may
            not.
    """
    _require_free(target)
    if target.resolve().is_relative_to(folder.resolve()):
        raise PublishError(
            "A folder cannot be sealed into itself", where=target.name, fix="name a place outside of the folder"
        )
    names, fresh = names_of(folder), _beside(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with fresh.open("xb") as file:
            seal_stream(_Pieces(packed(folder, names)), file, to)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, target)
    except OSError as error:
        raise _unwritten(target, error) from error
    finally:
        fresh.unlink(missing_ok=True)
    return len(names)


def open_bundle(sealed: Path, target: Path, identity: Identity, *, most: int = MOST_BYTES) -> int:
    """Make the folder that a sealed file holds, whole or not at all.

    Args:
        most: Bytes that it may hold.

    Returns:
        How many files it held.

    Raises:
        ConfigError: If no key is set, it is none, or pyrage is missing.
        PublishError: If there is something at the target, another key is needed, the file was changed or cut off, or it
            holds what a bundle may not.
    """
    _require_free(target)
    identity.require()
    try:
        source = sealed.open("rb")
    except OSError as error:
        raise PublishError("The sealed file cannot be read", where=sealed.name, got=type(error).__name__) from error
    fresh = _beside(target)
    into = Unpacking(fresh, where=sealed.name, most=most)
    try:
        fresh.mkdir(parents=True)
        open_stream(source, into, identity, where=sealed.name, wrong=PublishError, damaged=PublishError)
        into.finish()
        os.rename(fresh, target)
    except OSError as error:
        raise _unwritten(target, error) from error
    finally:
        into.close()
        source.close()
        shutil.rmtree(fresh, ignore_errors=True)
    return len(into.names)


class _Pieces:
    """Reads from pieces as many bytes as are asked for at once."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._held = pieces, memoryview(b"")

    def read(self, count: int = -1, /) -> bytes:
        """The next bytes; none at the end."""
        while not self._held:
            piece = next(self._pieces, None)
            if piece is None:
                return b""
            self._held = memoryview(piece)
        stop = len(self._held) if count < 0 else count
        given, self._held = self._held[:stop], self._held[stop:]
        return bytes(given)


def _require_free(target: Path) -> None:
    if target.exists() or target.is_symlink():
        raise PublishError(
            "There is something at this place already", where=target.name, fix="choose another name, or remove it"
        )


def _beside(target: Path) -> Path:
    return target.with_name(f".{target.name}.{secrets.token_hex(4)}")


def _unwritten(target: Path, error: OSError) -> PublishError:
    return PublishError(
        "It cannot be read or written",
        where=target.name,
        got=error.strerror or type(error).__name__,
        fix="make room, or choose another place",
    )
