"""Zip and tar files to a folder, with nothing outside of it, no links, and bounds on what comes out."""

import gzip
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Protocol, cast

from data_pipelines.fetch.checks import check_room
from hdt_fm.schema.errors import FetchError

BLOCK = 1 << 20
_BROKEN = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    gzip.BadGzipFile,
)


class BrokenArchiveError(FetchError):
    """It did not come whole; another download may help."""


@dataclass(frozen=True)
class Limits:
    """What an honest archive stays below. Recordings as text shrink to a tenth; `ratio` is far from that.

    Args:
        members: Files and folders.
        total: Bytes that come out.
        ratio: Bytes that come out for each that is in the archive, once more than `free` come out.
        free: Bytes below which `ratio` does not count.
    """

    members: int = 100_000
    total: int = 64 << 30
    ratio: int = 200
    free: int = 16 << 20


class Readable(Protocol):
    """What bytes are read from."""

    def read(self, count: int, /) -> bytes:
        """At most so many bytes, none at the end."""
        ...


def unpack(archive: Path, folder: Path, *, limits: Limits | None = None) -> None:
    """Unpack into an empty or new folder.

    Raises:
        FetchError: If the archive is broken, unsafe or too large. What was unpacked by then stays in the folder,
            which is the caller's to remove.
    """
    limits = limits or Limits()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        if zipfile.is_zipfile(archive):
            _unpack_zip(archive, folder, limits)
        elif archive.name.endswith((".tar", ".tar.gz", ".tgz")):
            _unpack_tar(archive, folder, limits)
        else:
            raise _broken(archive)
    except _BROKEN as error:
        raise _broken(archive) from error


def unpack_nested(folder: Path, names: Iterable[str], *, limits: Limits | None = None) -> None:
    """Unpack the archives of these names, each where it stands, and remove them."""
    for name in names:
        for path in sorted(folder.rglob(name)):
            if path.is_file() and not path.is_symlink():
                unpack(path, path.parent, limits=limits)
                path.unlink()


def lift_one_folder(folder: Path) -> Path:
    """The only folder in it, if all of it lies in one."""
    children = list(folder.iterdir())
    return children[0] if len(children) == 1 and children[0].is_dir() else folder


def _unpack_zip(archive: Path, folder: Path, limits: Limits) -> None:
    with zipfile.ZipFile(archive) as opened:
        entries, seen = opened.infolist(), set()
        _bound(archive, limits, len(entries), sum(entry.file_size for entry in entries))
        for entry in entries:
            kind = stat.S_IFMT(entry.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _unsafe(archive, "a link or a device")
            if entry.flag_bits & 1:
                raise _unsafe(archive, "an encrypted file")
            place = safe_place(entry.filename, archive)
            if place in seen:
                raise _unsafe(archive, "two files of one name")
            seen.add(place)
        check_room(folder, sum(entry.file_size for entry in entries))
        for entry in entries:
            path = folder / safe_place(entry.filename, archive)
            if entry.is_dir():
                path.mkdir(parents=True, exist_ok=True)
                continue
            with opened.open(entry) as handle:
                _write(handle, path, entry.file_size, archive)


def _unpack_tar(archive: Path, folder: Path, limits: Limits) -> None:
    count = total = 0
    opener = gzip.open if archive.name.endswith("gz") else open
    with opener(archive, "rb") as raw:
        bounded = _Bounded(cast(IO[bytes], raw), _most(archive, limits), archive)
        with tarfile.open(fileobj=bounded, mode="r|") as opened:  # type: ignore[call-overload]
            for member in opened:
                count, total = count + 1, total + member.size
                _bound(archive, limits, count, total)
                if not member.isfile() and not member.isdir():
                    raise _unsafe(archive, "a link or a device")
                path = folder / safe_place(member.name, archive)
                if member.isdir():
                    path.mkdir(parents=True, exist_ok=True)
                    continue
                if path.exists():
                    raise _unsafe(archive, "two files of one name")
                check_room(folder, member.size)
                handle = opened.extractfile(member)
                assert handle is not None
                _write(handle, path, member.size, archive)


class _Bounded:
    """A stream that ends in an error when more comes out of it than an honest one would give."""

    def __init__(self, handle: IO[bytes], most: int, archive: Path) -> None:
        self._handle, self._left, self._archive = handle, most + (1 << 20), archive

    def read(self, count: int) -> bytes:
        data = self._handle.read(count)
        self._left -= len(data)
        if self._left < 0:
            raise _bomb(self._archive)
        return data


def safe_place(name: str, archive: Path) -> PurePosixPath:
    """A path inside the folder.

    Raises:
        FetchError: If it is absolute, climbs out, or could mean another place on some system.
    """
    place = PurePosixPath(name.replace("\\", "/"))
    odd = not place.parts or place.is_absolute() or ".." in place.parts or ":" in name or not name.isprintable()
    if odd:
        raise _unsafe(archive, "a file that points outside of it")
    return place


def _write(handle: Readable, path: Path, size: int, archive: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    left = size
    with path.open("xb") as out:
        while block := handle.read(BLOCK):
            left -= len(block)
            if left < 0:
                raise _bomb(archive)
            out.write(block)
    if left:
        raise _broken(archive)


def _most(archive: Path, limits: Limits) -> int:
    return min(limits.total, max(limits.free, limits.ratio * archive.stat().st_size))


def _bound(archive: Path, limits: Limits, members: int, total: int) -> None:
    if members > limits.members:
        raise FetchError(
            "The archive holds too many files",
            where=archive.name,
            expected=f"at most {limits.members}",
            got=str(members),
            fix="do not trust it",
        )
    if total > _most(archive, limits):
        raise _bomb(archive)


def _bomb(archive: Path) -> FetchError:
    return FetchError(
        "The archive unpacks to far more than it is",
        where=archive.name,
        expected=f"at most {Limits.ratio} times its size",
        fix="do not trust it; look at the publisher's page",
    )


def _unsafe(archive: Path, what: str) -> FetchError:
    return FetchError(
        "The archive is not safe to unpack; nothing of it was used",
        where=archive.name,
        expected="plain files and folders with relative names",
        got=what,
        fix="do not trust it; look at the publisher's page",
    )


def _broken(archive: Path) -> FetchError:
    return BrokenArchiveError(
        "The archive is truncated or damaged, or is none",
        where=archive.name,
        expected="a whole, unencrypted zip or tar file",
        fix="fetch it again; if it stays so, look at the publisher's page",
    )
