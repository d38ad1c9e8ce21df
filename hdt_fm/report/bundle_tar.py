"""The tar inside a bundle, both ways, a piece at a time: plain files of plain names in order, and nothing else."""

import os
import re
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from hdt_fm.schema.errors import PublishError

BLOCK, PIECE = tarfile.BLOCKSIZE, 1 << 20
MOST_FILES, MOST_BYTES, MOST_NAME = 1_000, 100 * 10**9, 100
_PART = r"[A-Za-z0-9_][A-Za-z0-9_.+-]*"
_NAME = re.compile(rf"{_PART}(?:/{_PART})*")
_OCTAL, _SUM = re.compile(rb"[0-7]{11}\0"), re.compile(rb"[0-7]{6}\0 ")


def names_of(folder: Path) -> list[str]:
    """Every file of a folder by name, in the order in which they are packed.

    Raises:
        PublishError: If there is a link, what is no file, or a name that not every system could make again.
    """
    paths = [path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()]
    if any(path.is_symlink() or not path.is_file() for path in paths):
        raise PublishError("The folder holds a link, or something else that is no file", where=folder.name)
    names = sorted(path.relative_to(folder).as_posix() for path in paths)
    foreign = [name for name in names if not plain(name)]
    if foreign or len(names) > MOST_FILES:
        raise PublishError(
            "The folder holds more files than a bundle may, or a name that not every system can make",
            where=folder.name,
            expected=f"{MOST_FILES} files, named by letters, digits and _ . + - (no . first), {MOST_NAME} of them",
            got=f"{len(names)} files, {len(foreign)} of other names",
        )
    return names


def plain(name: str) -> bool:
    """Whether a name stays inside of a folder on every system and is none of a hidden file."""
    return len(name) <= MOST_NAME and _NAME.fullmatch(name) is not None


def packed(folder: Path, names: Sequence[str]) -> Iterator[bytes]:
    """The tar of these files: the same bytes wherever and whenever it is made.

    Raises:
        PublishError: If a file changes meanwhile.
    """
    for name in names:
        with (folder / name).open("rb") as file:
            info = tarfile.TarInfo(name)
            info.size = os.fstat(file.fileno()).st_size
            yield info.tobuf(format=tarfile.USTAR_FORMAT)
            yield from _content(file, info.size, where=name)
            yield bytes(-info.size % BLOCK)
    yield bytes(2 * BLOCK)


def _content(file: BinaryIO, size: int, *, where: str) -> Iterator[bytes]:
    left = size
    while left and (piece := file.read(min(PIECE, left))):
        left -= len(piece)
        yield piece
    if left or file.read(1):
        raise PublishError("A file changed while it was sealed", where=where, fix="run it again when nobody writes")


class Unpacking:
    """Takes the bytes of a tar in any pieces, and makes its files below an empty folder.

    Raises:
        PublishError: From `write` and `finish`, if it holds anything that `packed` would not write, too many files, or
            more bytes than `most`. What was made by then is the caller's to remove.
    """

    def __init__(self, folder: Path, *, where: str, most: int = MOST_BYTES) -> None:
        self._folder, self._where, self._most = folder, where, most
        self.names: list[str] = []
        self._known: set[str] = set()
        self._head = b""
        self._file: BinaryIO | None = None
        self._left = self._padding = self._zeros = 0

    def write(self, data: bytes, /) -> int:
        """The next bytes."""
        view = memoryview(data)
        while view:
            view = view[self._take(view) :]
        return len(data)

    def finish(self) -> None:
        """The last byte has come."""
        if self._zeros != 2 or self._head or self._left or self._padding:
            raise self._refused("no proper end")

    def close(self) -> None:
        """Close a file that is still open, however it ended."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _take(self, view: memoryview) -> int:
        if self._left:
            return self._fill(view)
        if self._padding:
            count = min(len(view), self._padding)
            if any(view[:count]):
                raise self._refused("something between two files")
            self._padding -= count
            return count
        count = min(len(view), BLOCK - len(self._head))
        self._head += view[:count]
        if len(self._head) == BLOCK:
            head, self._head = self._head, b""
            self._begin(head)
        return count

    def _fill(self, view: memoryview) -> int:
        count = min(len(view), self._left)
        assert self._file is not None
        self._file.write(view[:count])
        self._left -= count
        if not self._left:
            self.close()
        return count

    def _begin(self, head: bytes) -> None:
        if not any(head) and self._zeros < 2:
            self._zeros += 1
            return
        if self._zeros:
            raise self._refused("something after its end")
        name, size = self._read(head)
        self._most -= size
        if self._most < 0:
            raise self._refused("more bytes than it may")
        if len(self.names) == MOST_FILES:
            raise self._refused(f"more than {MOST_FILES} files")
        self._claim(name)
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file, self._left, self._padding = path.open("xb"), size, -size % BLOCK
        if not size:
            self.close()

    def _read(self, head: bytes) -> tuple[str, int]:
        name, stated, size = head[:100].rstrip(b"\0").decode("ascii", "replace"), head[148:156], head[124:136]
        if not _SUM.fullmatch(stated) or int(stated[:6], 8) != sum(head) - sum(stated) + 8 * ord(" "):
            raise self._refused("a damaged header")
        if head[156:157] != b"0" or head[257:265] != b"ustar\x0000" or any(head[157:257]) or any(head[345:]):
            raise self._refused("a link, or something else that is no plain file")
        if not plain(name):
            raise self._refused("a file of a name that leads elsewhere, or that not every system can make")
        if not _OCTAL.fullmatch(size):
            raise self._refused("a file without a size")
        return name, int(size[:11], 8)

    def _claim(self, name: str) -> None:
        # One place for one file, also where upper and lower case are one; and no file where another needs a folder.
        low = name.casefold()
        above = {low[:at] for at, letter in enumerate(low) if letter == "/"}
        if (
            f"file {low}" in self._known
            or f"folder {low}" in self._known
            or any(f"file {one}" in self._known for one in above)
        ):
            raise self._refused("two files of one name")
        self._known |= {f"file {low}", *(f"folder {one}" for one in above)}
        self.names.append(name)

    def _refused(self, got: str) -> PublishError:
        # Names in it are foreign text and stay out of the message.
        return PublishError(
            "A bundle holds what it may not",
            where=self._where,
            expected="the files of a published folder, as `hdt-fm publish seal` packs them",
            got=got,
            fix="do not use it; ask its maker",
        )
