"""Exports that hold several people: whom to read.

A reader of such a format has, beside `detect` and `read`:

- `people(path) -> tuple[str, ...]`, static: raw ids of everyone in the export, in order; one or none when the format
  says nothing of people;
- the constructor's argument `person`: the raw id to read; without it `read` refuses a path with several people.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol, runtime_checkable

from hdt_fm.schema.errors import ReaderError


@runtime_checkable
class HoldsPeople(Protocol):
    """A reader whose exports may be of several people."""

    @staticmethod
    def people(path: Path) -> tuple[str, ...]:
        """Raw ids of the people in the export, in order."""
        ...


def choose_person(found: Iterable[str], person: str | None, *, where: str) -> str | None:
    """The one person of an export, or the one asked for. Messages say how many there are, never who.

    Raises:
        ReaderError: If there are several and none was asked for, or the one asked for is not there.
    """
    ids = sorted(set(found))
    if person is not None:
        if person not in ids:
            raise ReaderError(
                "The person is not in the export",
                where=where,
                expected="an id as the export writes it",
                got=f"{len(ids)} other(s)",
            )
        return person
    if len(ids) > 1:
        raise ReaderError(
            "The export holds several people",
            where=where,
            expected="one person a visit",
            got=f"{len(ids)} people",
            fix="read it as a cohort, or give the reader person=...; its people(path) lists the ids",
        )
    return ids[0] if ids else None
