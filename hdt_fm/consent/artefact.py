"""An artefact: something on disk that may have to do with a person."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Kind = Literal[
    "shards",
    "embedding table",
    "encoder",
    "head",
    "update line",
    "evaluation",
    "attribution report",
    "publication",
    "twin",
    "export",
    "file",
    "unreadable",
]
EXPORT_NAME = "export.json"
# Where a build keeps what it has cut until its manifest is written.
WORK = ".work"
PSEUDONYM = re.compile(rb"(?<![0-9a-zA-Z])s[0-9a-f]{32}(?![0-9a-zA-Z])")


@dataclass(frozen=True)
class Artefact:
    """What lies at a place, whom it holds, and by digest what it was made from.

    Attributes:
        place: Its folder, or the file.
        holds: Pseudonyms of those of whom it holds windows, rows or values.
        taught: Of those from whom its weights learned, or by whom they were chosen.
        asked: Of those it was only tested on.
        lists: Of others whom it names.
        shards, models: SHA-256 of what it was made from; 16 letters of one where no more is written down.
        makes: SHA-256 of the model that it is; of a publication of the list of its files.
        again: The command that makes it again, as far as records tell.
        facts: Counts by pseudonym, for words.
        note: Of what cannot be read, or must be known.
    """

    kind: Kind
    place: Path
    holds: frozenset[str] = frozenset()
    taught: frozenset[str] = frozenset()
    asked: frozenset[str] = frozenset()
    lists: frozenset[str] = frozenset()
    shards: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    makes: str = ""
    again: str = ""
    facts: dict[str, int] = field(default_factory=dict)
    note: str = ""


def people_in(path: Path) -> frozenset[str]:
    """Every pseudonym that stands in a file."""
    return frozenset(name.decode() for name in PSEUDONYM.findall(path.read_bytes()))
