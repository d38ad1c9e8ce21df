"""Which files of a path are a vendor's: the path itself, or the children of a folder, told by how they begin."""

from collections.abc import Callable
from pathlib import Path

from data_pipelines.readers._beginning import first_bytes

HEAD = 1 << 16
# To recognise a folder, so many of its files are opened; to read it, all.
LOOK = 200
BOM = b"\xef\xbb\xbf"


def head(path: Path, size: int = HEAD) -> bytes:
    """The first bytes without a byte order mark; nothing when it cannot be read. Never an error."""
    return first_bytes(path, size).removeprefix(BOM)


def own_files(
    path: Path, endings: tuple[str, ...], is_own: Callable[[Path], bool], look: int | None = None
) -> list[Path]:
    """The path, or the files of the folder, that end so and pass the test; in order of name.

    `look` bounds how many files of a folder are opened, for who only wants to know whether there is one.
    """
    try:
        found = sorted(path.iterdir()) if path.is_dir() else [path]
        named = [file for file in found if file.name.lower().endswith(endings) and not file.name.startswith(".")]
        return [file for file in named[:look] if file.is_file() and is_own(file)]
    except OSError:
        return []
