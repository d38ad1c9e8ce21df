"""Device files -> Visit. One format a file; to add one, add a file: its name is the format's name."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Protocol, cast

from hdt_fm.schema import registry
from hdt_fm.schema.errors import ReaderError
from hdt_fm.schema.recording import Visit


class Reader(Protocol):
    """What each file of this room holds."""

    @staticmethod
    def detect(path: Path) -> bool:
        """Whether `path` looks like this format; cheap, and never an error."""
        ...

    def read(self, path: Path, *, subject: str) -> Visit:
        """Read one visit of the subject (a pseudonym)."""
        ...


@cache
def _readers() -> Mapping[str, type[Reader]]:
    # Looking a name up asks every installed package for plug-ins, which is too slow to do for each file.
    return {name: cast(type[Reader], registry.find("readers", name)) for name in registry.names("readers")}


def detect(path: Path) -> str | None:
    """Name of the first format that recognises the path, or None."""
    return next((name for name, reader in _readers().items() if reader.detect(path)), None)


def choose(path: Path, reader: str = "auto") -> tuple[str, Reader]:
    """The named reader, or with `auto` the one that recognises the path.

    Errors do not repeat the path: within a cohort its last part is often a person's id.

    Raises:
        ReaderError: If there is nothing at the path, or no reader recognises it.
        UnknownNameError: If the named reader is not in the table.
    """
    if not path.exists():
        raise ReaderError("There is nothing at this path", fix="check the path")
    if path.is_dir() and not any(path.iterdir()):
        raise ReaderError("The folder is empty", expected="recordings", fix="check the path, or unpack the export")
    name = detect(path) if reader == "auto" else reader
    if name is None:
        raise ReaderError(
            "No reader recognises this file or folder",
            expected=f"one of the formats {', '.join(registry.names('readers'))}",
            got=f"a {'folder' if path.is_dir() else path.suffix or 'file without suffix'}",
            fix="name the reader, or put a mapping beside a table (data_pipelines/readers/README.md)",
        )
    return name, _readers()[name]() if name in _readers() else registry.build("readers", name, {})
