"""One export that holds several people: each is a visit."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from data_pipelines.cohorts._visits import OneVisit, Visits
from data_pipelines.readers import choose
from data_pipelines.readers._persons import HoldsPeople
from hdt_fm.schema import registry
from hdt_fm.schema.recording import Visit
from hdt_fm.schema.subject import SubjectKey


class Export:
    """A file or folder in one format, of several people or one: a visit a person.

    Raw ids are those that the export writes, the path's own name where it writes none; they become pseudonyms here and
    go no further. Recordings of one person in several exports need a folder (`cohort=folder`).

    Args:
        path: The export.
        reader: A reader's name; `auto` lets the format be recognised.
        subject_key: See `SubjectKey.find`.
        study: Part of the pseudonyms; the path's name by default.
        licence: Under which the recordings may be used.
        source: Where they come from.
    """

    def __init__(
        self,
        *,
        path: str,
        reader: str = "auto",
        subject_key: str = "auto",
        study: str | None = None,
        licence: str = "not stated",
        source: str = "local export",
    ) -> None:
        self._path, self._reader, self._key = Path(path), reader, subject_key
        self.name = study or self._path.resolve().name.split(".")[0]
        self.licence, self.source = licence, source

    def inputs(self) -> list[Path]:
        """Every file of the export."""
        return sorted(p for p in self._path.rglob("*") if p.is_file()) if self._path.is_dir() else [self._path]

    def visits(self) -> Iterator[Visit]:
        """Each person in order of id; see `Visits` for what happens after an error.

        Raises:
            ReaderError: If there is nothing at the path, or no reader recognises it.
        """
        name, reader = choose(self._path, self._reader)
        people = sorted(set(reader.people(self._path))) if isinstance(reader, HoldsPeople) else []
        key = SubjectKey.find(self._key)
        parts = []
        each: list[str | None] = [*people] or [None]
        for person in each:
            subject = key.pseudonym(self.name, person if person is not None else self.name)
            parts.append(OneVisit(partial(_read, self._path, name, person, subject), subject, (self._path,)))
        return Visits(parts)


def _read(path: Path, name: str, person: str | None, subject: str) -> Visit:
    reader = registry.build("readers", name, {} if person is None else {"person": person})
    return replace(reader.read(path, subject=subject), source=name)
