"""export.xml of Apple Health as a stream: repaired on the way, in blocks, with nothing kept but what is asked for."""

import gzip
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast
from xml.parsers import expat

from data_pipelines.readers._exports import BOM, own_files
from data_pipelines.readers._exports import head as head_of
from data_pipelines.readers._files import BROKEN_ZIP
from hdt_fm.schema.errors import ReaderError

BLOCK = 1 << 20
ROOT = b"<HealthData"
# The document type that stands before the root is some 10 KB.
_ROOT_WITHIN = 1 << 20
# One element (a tag with its attributes) is below 10 KB; expat would keep any number of bytes of one that never ends.
_MAX_ELEMENT = 1 << 24
_MAX_BYTES = 1 << 36
# XML packs 20 to 40 times; far above is made to fill a disk.
_MAX_RATIO = 400
_SMALL = 1 << 26
# Characters that XML forbids and exports of iOS 16 hold.
_FORBIDDEN = bytes(set(range(32)) - {9, 10, 13})
Start = Callable[[str, dict[str, str]], Any]


def exports(path: Path) -> list[Path | tuple[Path, str]]:
    """Each export.xml of the path: a file, or a zip with the member's name. Never an error."""
    try:
        if path.suffix.lower() == ".zip" and path.is_file():
            with zipfile.ZipFile(path) as archive:
                return [(path, entry.filename) for entry in archive.infolist() if _is_export(archive, entry)]
        found = own_files(path, (".xml", ".xml.gz"), lambda file: _has_root(head_of(file)))
        return [*found, *own_files(path / "apple_health_export", (".xml",), lambda file: _has_root(head_of(file)))]
    except BROKEN_ZIP:
        return []


def _is_export(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bool:
    place = PurePosixPath(entry.filename.replace("\\", "/"))
    # Beside it stands export_cda.xml, a clinical document; the folder and file are named in the phone's language.
    if place.suffix.lower() != ".xml" or len(place.parts) > 2 or place.name.startswith("."):
        return False
    with archive.open(entry) as handle:
        return _has_root(handle.read(1 << 16))


def _has_root(data: bytes) -> bool:
    place = data.find(ROOT)
    return place >= 0 and data[place + len(ROOT) : place + len(ROOT) + 1] in (b" ", b">", b"\n", b"\r", b"\t")


@contextmanager
def opened(source: Path | tuple[Path, str]) -> Iterator[IO[bytes]]:
    """The bytes of an export, unpacked as they are read.

    Raises:
        ReaderError: If the zip is damaged or unpacks to too much.
    """
    with ExitStack() as stack:
        try:
            handle = stack.enter_context(_handle(source, stack))
        except BROKEN_ZIP as error:
            raise _truncated() from error
        yield handle


def _handle(source: Path | tuple[Path, str], stack: ExitStack) -> IO[bytes]:
    if isinstance(source, tuple):
        archive = stack.enter_context(zipfile.ZipFile(source[0]))
        entry = archive.getinfo(source[1])
        if entry.file_size > max(_MAX_RATIO * entry.compress_size, _SMALL):
            raise ReaderError("The zip unpacks to more than such an export does", fix="do not trust this file")
        return archive.open(entry)
    return cast(IO[bytes], gzip.open(source, "rb")) if source.suffix == ".gz" else source.open("rb")


def parse(handle: IO[bytes], start: Start, after_block: Callable[[], None]) -> None:
    """Call `start` with every element's name and attributes, and `after_block` now and then, to empty what was kept.

    What stands before the root is dropped: the document type there is broken in exports of iOS 16, and without it
    there is no entity to expand and nothing to load. Characters that XML forbids are dropped too.

    Raises:
        ReaderError: If it is no such export, or is cut off or damaged.
    """
    parser = expat.ParserCreate("utf-8")
    parser.buffer_text = False
    parser.StartElementHandler = start
    fed = 0
    try:
        for block in _blocks(handle):
            parser.Parse(block, False)
            fed += len(block)
            if fed - parser.CurrentByteIndex > _MAX_ELEMENT or fed > _MAX_BYTES:
                raise _damaged("an element that does not end" if fed <= _MAX_BYTES else "too much of it")
            after_block()
        parser.Parse(b"", True)
        after_block()
    except expat.ExpatError as error:
        raise _damaged(f"{expat.errors.messages.get(error.code, 'a fault')} in line {error.lineno}") from None
    finally:
        parser.StartElementHandler = None


def _blocks(handle: IO[bytes]) -> Iterator[bytes]:
    begin = _read(handle).removeprefix(BOM)
    while not _has_root(begin) and len(begin) < _ROOT_WITHIN and (more := _read(handle)):
        begin += more
    if not _has_root(begin):
        raise ReaderError(
            "This is no export of Apple Health", expected="the element HealthData", fix="name another reader"
        )
    yield begin[begin.find(ROOT) :].translate(None, _FORBIDDEN)
    while block := _read(handle):
        yield block.translate(None, _FORBIDDEN)


def _read(handle: IO[bytes]) -> bytes:
    try:
        return handle.read(BLOCK)
    except BROKEN_ZIP as error:
        raise _truncated() from error


def _truncated() -> ReaderError:
    return ReaderError("The export is truncated or damaged", expected="a whole file", fix="export or copy it again")


def _damaged(got: str) -> ReaderError:
    # The parser's own words (no element found, undefined entity, ...) name no content.
    return ReaderError(
        "The export is cut off or damaged",
        where="export.xml",
        expected="XML up to the end of HealthData, without entities of its own",
        got=got,
        fix="export it again; a file that was edited or only partly copied looks so",
    )
