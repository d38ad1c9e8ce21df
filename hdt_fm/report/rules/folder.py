"""A published folder as the rules see it: its files, their texts, and the facts that it was made from."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from hdt_fm.report.facts import PROVENANCE_VERSION, Facts, read_facts
from hdt_fm.schema.errors import PublishError

SIGNATURE_NAME = "model.sig"
TENSORS = ".safetensors"
_MOST_HEADER_BYTES = 2**26


@dataclass(frozen=True)
class Folder:
    """One folder and what the caller lends.

    Attributes:
        forbidden: Words that must not stand in any text, such as the raw ids of a cohort.
        withdrawn: Gives reasons, with counts and no name, why people who left are still in this model's lineage; None
            where nobody can say.
    """

    path: Path
    forbidden: tuple[str, ...] = ()
    withdrawn: Callable[[], Sequence[str]] | None = None

    @cached_property
    def files(self) -> tuple[Path, ...]:
        """Every file, by name."""
        return tuple(sorted(path for path in self.path.rglob("*") if path.is_file()))

    def name_of(self, path: Path) -> str:
        """A file's name inside the folder."""
        return path.relative_to(self.path).as_posix()

    @cached_property
    def read(self) -> Facts | str:
        """The facts, or in words why there are none."""
        try:
            return read_facts(self.path)
        except PublishError as error:
            return error.problem

    @property
    def facts(self) -> Facts | None:
        """The facts; None where they cannot be read, which a rule of its own says."""
        return None if isinstance(self.read, str) else self.read

    @property
    def of_today(self) -> bool:
        """Whether the folder was made by these documents and not by earlier ones."""
        return self.facts is not None and self.facts.version == PROVENANCE_VERSION

    def texts(self) -> Iterator[tuple[str, str]]:
        """Words and content of all that can be read as text: whole files, and the headers of tensors."""
        for path in self.files:
            name = self.name_of(path)
            if path.suffix == TENSORS:
                header = header_of(path)
                if header is not None:
                    yield f"the header of {name}", header
            else:
                yield name, path.read_text(encoding="utf-8", errors="replace")


def header_of(path: Path) -> str | None:
    """Header of a safetensors file; None where it is none."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if not 2 <= size <= min(_MOST_HEADER_BYTES, path.stat().st_size - 8):
            return None
        header = file.read(size).decode("utf-8", errors="replace")
    try:
        return header if isinstance(json.loads(header), dict) else None
    except ValueError:
        return None
