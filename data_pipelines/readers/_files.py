"""Bytes from folders, zips and gzip files, with a bound on their size. Nothing is ever unpacked to disk."""

import gzip
import io
import lzma
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path, PurePosixPath

from hdt_fm.schema.errors import ReaderError

# Two days of a wrist device at 64 Hz are below 100 MB of text; a member far above that is a mistake or an attack.
MAX_BYTES = 1 << 30
MAX_MEMBERS = 10_000
# XML of cells shrinks to a tenth; a workbook of 64 MB holds a million of them.
MAX_SHEET_BYTES = 1 << 28
# Whatever a damaged zip may bring: wrong places in the file, names that are no text, packings that are not known.
BROKEN_ZIP = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    LookupError,
    OSError,
    ValueError,
    OverflowError,
    NotImplementedError,
    RuntimeError,
)
_BROKEN_GZIP = (gzip.BadGzipFile, zlib.error, EOFError, struct.error)


def members(path: Path) -> Mapping[str, Callable[[], bytes]]:
    """File name (without folders) -> function that reads it, for a folder or a zip.

    Raises:
        ReaderError: If the path is empty, not a folder or zip, truncated, or unsafe to open.
    """
    if path.is_dir():
        found = {child.name: partial(read_bytes, child) for child in sorted(path.iterdir()) if child.is_file()}
        if not found:
            raise ReaderError(
                "The folder is empty", expected="the files of one recording", fix="check the path, or unpack the export"
            )
        return found
    try:
        with zipfile.ZipFile(path) as archive:
            return _zip_members(path, archive.infolist())
    except FileNotFoundError as error:
        raise ReaderError("There is no such file or folder", fix="check the path") from error
    except PermissionError as error:
        raise ReaderError("The file may not be opened", fix="give yourself the right to read it") from error
    except BROKEN_ZIP as error:
        raise _broken_zip() from error


def read_bytes(path: Path) -> bytes:
    """The whole file, unpacked when it is gzip, refused when it is larger than `MAX_BYTES`.

    Raises:
        ReaderError: If the file is empty, truncated, or too large.
    """
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as handle:
            data = handle.read(MAX_BYTES + 1)
    except _BROKEN_GZIP as error:
        raise ReaderError(
            "The gzip file is truncated or damaged", expected="a whole .gz file", fix="copy the file again"
        ) from error
    return _bounded(data, path.suffix)


def whole_workbook(data: bytes) -> bytes:
    """The bytes of an .xls or .xlsx file, if what is packed in it is as large as it says and no larger than a workbook.

    Libraries unpack a sheet before anyone can ask how long it is, so it is unpacked here first, and thrown away.

    Raises:
        ReaderError: If it unpacks to too much, or is damaged.
    """
    if not data.startswith(b"PK"):
        return data  # the older form is not packed
    left = MAX_SHEET_BYTES
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if len(archive.infolist()) > MAX_MEMBERS:
                raise ReaderError("The workbook holds too many parts", expected=f"at most {MAX_MEMBERS}")
            for entry in archive.infolist():
                with archive.open(entry) as handle:
                    while block := handle.read(1 << 20):
                        left -= len(block)
                        if left < 0:
                            raise ReaderError(
                                "The workbook unpacks to more than a table holds",
                                expected=f"at most {MAX_SHEET_BYTES >> 20} MB",
                                fix="do not trust this file; save the table as CSV",
                            )
    except BROKEN_ZIP as error:
        raise ReaderError(
            "The workbook cannot be read", got=type(error).__name__, fix="save or download the file again"
        ) from error
    return data


def _zip_members(path: Path, entries: list[zipfile.ZipInfo]) -> dict[str, Callable[[], bytes]]:
    if len(entries) > MAX_MEMBERS:
        raise ReaderError("The zip holds too many files", expected=f"at most {MAX_MEMBERS}", got=str(len(entries)))
    found: dict[str, Callable[[], bytes]] = {}
    for entry in entries:
        place = PurePosixPath(entry.filename.replace("\\", "/"))
        if place.is_absolute() or ".." in place.parts:
            raise ReaderError(
                "The zip holds a file that points outside of it",
                expected="plain relative names",
                fix="do not trust this file; export the recording again",
            )
        if not place.parts:
            raise _broken_zip()
        if entry.is_dir() or place.parts[0] == "__MACOSX" or place.name.startswith("."):
            continue
        if place.name in found:
            raise ReaderError(
                "The zip holds two files of one name, so two recordings",
                where=place.name,
                fix="make one zip per recording",
            )
        found[place.name] = partial(_read_member, path, entry)
    if not found:
        raise ReaderError("The zip is empty", expected="the files of one recording")
    return found


def _read_member(path: Path, entry: zipfile.ZipInfo) -> bytes:
    name = PurePosixPath(entry.filename).name
    if entry.file_size > MAX_BYTES:
        raise _too_large(name, entry.file_size)
    try:
        with zipfile.ZipFile(path) as archive, archive.open(entry) as handle:
            return _bounded(handle.read(MAX_BYTES + 1), name)
    except BROKEN_ZIP as error:
        raise _broken_zip(name) from error


def _bounded(data: bytes, where: str) -> bytes:
    if len(data) > MAX_BYTES:
        raise _too_large(where, len(data))
    return data


def _too_large(where: str, size: int) -> ReaderError:
    return ReaderError(
        "A file is too large to be one recording",
        where=where,
        expected=f"at most {MAX_BYTES} bytes once unpacked",
        got=f"{size} bytes or more",
        fix="split the recording, or do not trust the file",
    )


def _broken_zip(where: str | None = None) -> ReaderError:
    return ReaderError(
        "The zip is truncated or damaged",
        where=where,
        expected="a whole, unencrypted zip file",
        fix="copy or download the file again",
    )
