"""One person's visits at a path: an export, a folder of recordings, or one of a cohort."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hdt_fm.cli.twin.arguments import refuse, whole_number
from hdt_fm.schema import registry
from hdt_fm.schema.errors import ConfigError, ReaderError
from hdt_fm.schema.recording import Visit

ALL = "all"


def visits_of_one(path: Path, settings: Mapping[str, str], *, expected: str) -> tuple[Sequence[Visit], str]:
    """Every visit of the one person, and what they were read as: a format or cohort.

    Args:
        settings: `reader`, `cohort` and `person`, as typed.
        expected: What the path should hold, in a message.

    Raises:
        ConfigError: If a setting cannot be read or does not go with another.
        ReaderError: If nothing reads the path, or it is of several people.
    """
    from data_pipelines.cohorts.export import Export
    from data_pipelines.cohorts.folder import Folder
    from data_pipelines.readers import detect

    reader = settings.get("reader", "auto")
    if "cohort" in settings:
        refuse(settings, ("reader",), "a cohort")
        name, simulated = settings["cohort"], is_simulated(settings)
        if simulated and str(path) != name:
            raise ConfigError(
                f"The people of {name} are simulated, and nothing is read at a path",
                where="cohort",
                expected="the cohort's name in place of PATH",
                fix=f"{name} cohort={name} person=N",
            )
        place = {} if simulated else {"path": str(path)}
        return _of_one(registry.build("cohorts", name, {**place, "subject_key": "public"}), settings), name
    known = reader != "auto" or detect(path) is not None
    if path.is_file() and not known:
        raise ReaderError(
            "No reader recognises this file",
            expected=f"{expected}; formats are {', '.join(registry.names('readers'))}",
            fix="say reader=NAME, or describe a table's columns in a mapping beside it",
        )
    if known:
        visits = _of_one(Export(path=str(path), reader=reader, subject_key="public"), settings)
    else:
        visits = _of_one(Folder(path=str(path), subject_key="public"), settings, folder=True)
    return visits, " and ".join(sorted({visit.source for visit in visits}))


def is_simulated(settings: Mapping[str, str]) -> bool:
    """Whether the named cohort says that it is simulated: it then has no path to be read at.

    Raises:
        UnknownNameError: If there is no such cohort.
    """
    if "cohort" not in settings:
        return False
    # A cohort that reads any export learns its source when it is built.
    source = getattr(registry.find("cohorts", settings["cohort"]), "source", "")
    return isinstance(source, str) and source.startswith("simulated")


def person_of(settings: Mapping[str, str]) -> int | None:
    """Who is asked for, counted from 0 in the order of ids; None where nobody is named."""
    return whole_number(settings, "person") if "person" in settings else None


def _of_one(cohort: Any, settings: Mapping[str, str], *, folder: bool = False) -> list[Visit]:
    """Only their files are opened, where the cohort knows beforehand whose they are."""
    visits = cohort.visits()
    parts = list(getattr(visits, "parts", ()))
    if not parts or not all(part.subject for part in parts):
        parts = list(visits)
    people = list(dict.fromkeys(part.subject for part in parts))
    if folder and settings.get("person") == ALL:
        return _as_one(parts)
    person = person_of(settings)
    if person is None and len(people) > 1:
        alike = f"; person={ALL} if they are all of one person" if folder else ""
        raise ReaderError(
            "There are several people here",
            expected="one person's data",
            got=f"{len(people)} people",
            fix=f"person=N takes one of them, N from 0 to {len(people) - 1} in the order of ids{alike}",
        )
    if person is not None and not 0 <= person < len(people):
        raise ReaderError(
            "There is no such person here",
            where="person",
            expected=f"0 to {len(people) - 1}",
            got=str(person),
            fix="choose a number in it; people are counted from 0 in the order of ids",
        )
    return list(_opened(part for part in parts if part.subject == people[person or 0]))


def _as_one(parts: Sequence[Any]) -> list[Visit]:
    """Visits of files that are told apart by their names alone, as the one person's that somebody says they are."""
    visits = list(_opened(parts))
    whose = visits[0].subject
    return [
        replace(
            visit,
            subject=whose,
            group=whose,
            recordings={name: replace(one, subject=whose) for name, one in visit.recordings.items()},
        )
        for visit in visits
    ]


def _opened(parts: Any) -> Iterator[Visit]:
    """Some cohorts hold visits, others what makes one when it is called."""
    for part in parts:
        yield part if isinstance(part, Visit) else part()
