"""One person's data at a path -> `Nights`: a table of nights, an export, a folder, or one of a cohort."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hdt_fm.schema import registry
from hdt_fm.schema.errors import ConfigError, ReaderError, unknown_name
from hdt_fm.schema.recording import Visit
from hdt_fm.twin.from_visits import NightHours, nights_of
from hdt_fm.twin.night import Nights
from hdt_fm.twin.night_table import WHAT, is_night_table, read_night_table
from hdt_fm.twin.told import counted

USAGE = """\
  PATH is one person's data: a table with a row a night, an export that a reader knows, a folder of recordings, or with
  cohort=NAME the folder of a public cohort.

  A table (CSV, TSV; text in UTF-8) has a column date (YYYY-MM-DD, the local date on which the night ends), one or more
  of the columns below, and if wanted device (what was worn; another one has the usual learned anew). An empty cell is a
  night on which it was not measured.
{columns}

  reader=NAME          of an export (auto); `hdt-fm inspect PATH` names those that recognise it
  cohort=NAME          such as lifesnaps_daily or welltory_covid19
  person=N             where there are several people, counted from 0 in the order of ids; of a folder also `all`
  indicators=A,B       these only; a column of a table that is not named above counts whichever way it goes
  night_hours=0-6      local hours that are the night, of exports that record finer than by the day
  utc_offset_s=3600    how far the local clock is ahead of the export's, where the export does not say"""
SETTINGS = ("reader", "cohort", "person", "indicators", "night_hours", "utc_offset_s")
# Readers whose times are local though they cannot say how far that is from UTC.
_LOCAL_READERS = frozenset({"fitabase"})
TABLE = "nights"
ALL = "all"


@dataclass(frozen=True)
class Given:
    """What was read.

    Attributes:
        source: Format or cohort.
        notes: What a person should know of the reading, a line each.
    """

    nights: Nights
    source: str
    notes: tuple[str, ...] = ()


def read_nights(path: Path, settings: Mapping[str, str]) -> Given:
    """Read one person's nights.

    Args:
        settings: Of `SETTINGS`, as typed.

    Raises:
        ConfigError: If a setting cannot be read or does not go with the input.
        ReaderError, RecordingError: If the input cannot be read, or is of several people.
    """
    if not path.exists():
        raise ReaderError("There is nothing at this path", expected=f"{WHAT}; an export; or a folder of recordings")
    table = _table_of(path, settings)
    if table is not None:
        _refuse(settings, ("cohort", "night_hours", "utc_offset_s"), "a table of nights")
        found = read_night_table(table, indicators=_names(settings), person=_person(settings))
        return Given(found.nights, "a table of nights", tuple(_notes(found.unused, found.implausible)))
    visits, source = visits_of_one(path, settings)
    offset = whole_number(settings, "utc_offset_s") if "utc_offset_s" in settings else None
    if offset is None and {visit.source for visit in visits} <= _LOCAL_READERS:
        offset = 0
    return Given(_only(nights_of(visits, hours=_hours(settings), utc_offset_s=offset), _names(settings)), source)


def _table_of(path: Path, settings: Mapping[str, str]) -> Path | None:
    """The table, if that is what the path is or the folder holds."""
    if "cohort" in settings or settings.get("reader", TABLE) not in (TABLE, "auto"):
        return None
    if path.is_file():
        named = settings.get("reader") == TABLE
        # A mapping beside a table says that its rows are samples.
        mapped = path.with_suffix(".yaml").is_file()
        return path if named or (is_night_table(path) and not mapped) else None
    tables = [child for child in sorted(path.iterdir()) if is_night_table(child)] if path.is_dir() else []
    if tables and settings.get("reader") != TABLE and _is_an_export(path):
        return None
    if len(tables) > 1:
        raise ReaderError(
            "The folder holds several tables of nights", expected="one person's", got=f"{len(tables)} tables"
        )
    return tables[0] if tables else None


def _is_an_export(path: Path) -> bool:
    """Exports may hold small tables with a date and some steps beside what was recorded."""
    from data_pipelines.readers import detect

    return detect(path) is not None


def visits_of_one(path: Path, settings: Mapping[str, str]) -> tuple[Sequence[Visit], str]:
    """Every visit of the one person, and what they were read as."""
    from data_pipelines.cohorts.export import Export
    from data_pipelines.cohorts.folder import Folder
    from data_pipelines.readers import detect

    reader = settings.get("reader", "auto")
    if "cohort" in settings:
        _refuse(settings, ("reader",), "a cohort")
        name = settings["cohort"]
        cohort = registry.build("cohorts", name, {"path": str(path), "subject_key": "public"})
        return _of_one(cohort, settings), name
    if reader != "auto" or path.is_file() or detect(path) is not None:
        if reader == "auto" and detect(path) is None:
            raise ReaderError(
                "No reader recognises this file",
                expected=f"{WHAT}; or an export in one of the formats {', '.join(registry.names('readers'))}",
                fix="name the columns as above, or say reader=NAME",
            )
        visits = _of_one(Export(path=str(path), reader=reader, subject_key="public"), settings)
    else:
        visits = _of_one(Folder(path=str(path), subject_key="public"), settings, folder=True)
    return visits, " and ".join(sorted({visit.source for visit in visits}))


def _of_one(cohort: Any, settings: Mapping[str, str], *, folder: bool = False) -> list[Visit]:
    """Only their files are opened, where the cohort knows beforehand whose they are."""
    visits = cohort.visits()
    parts = list(getattr(visits, "parts", ()))
    if not parts or not all(part.subject for part in parts):
        parts = list(visits)
    people = list(dict.fromkeys(part.subject for part in parts))
    if folder and settings.get("person") == ALL:
        return _as_one(parts)
    person = _person(settings)
    if person is None and len(people) > 1:
        alike = f"; person={ALL} if they are all of one person" if folder else ""
        raise ReaderError(
            "There are several people here",
            expected="one person's data",
            got=f"{len(people)} people",
            fix=f"person=N takes one of them, N from 0 to {len(people) - 1} in the order of ids{alike}",
        )
    if person is not None and not 0 <= person < len(people):
        raise ReaderError("There is no such person here", where="person", expected=f"0 to {len(people) - 1}")
    return [part if isinstance(part, Visit) else part() for part in parts if part.subject == people[person or 0]]


def _as_one(parts: list[Any]) -> list[Visit]:
    """Visits of files that are told apart by their names alone, as the one person's that somebody says they are."""
    from dataclasses import replace

    visits = [part if isinstance(part, Visit) else part() for part in parts]
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


def _only(nights: Nights, names: Sequence[str]) -> Nights:
    """The indicators that are asked for; all of them where none is."""
    if not names:
        return nights
    for name in names:
        if name not in nights.names:
            raise unknown_name("indicator", name, nights.names, where="indicators")
    columns = [nights.names.index(name) for name in names]
    return Nights(nights.dates, nights.values[:, columns], tuple(names), nights.devices)


def _names(settings: Mapping[str, str]) -> list[str]:
    return [word.strip() for word in settings.get("indicators", "").split(",") if word.strip()]


def _hours(settings: Mapping[str, str]) -> NightHours:
    words = settings.get("night_hours", "0-6").split("-")
    if len(words) != 2 or not all(word.isdigit() for word in words):
        raise ConfigError("night_hours cannot be read", where="night_hours", expected="two hours, such as 0-6 or 22-6")
    return NightHours(int(words[0]), int(words[1]))


def _person(settings: Mapping[str, str]) -> int | None:
    return whole_number(settings, "person") if "person" in settings else None


def whole_number(settings: Mapping[str, str], name: str) -> int:
    try:
        return int(settings[name])
    except ValueError:
        raise ConfigError(f"{name} is no whole number", where=name, expected="a whole number, such as 3") from None


def _refuse(settings: Mapping[str, str], names: Sequence[str], what: str) -> None:
    for name in names:
        if name in settings:
            raise ConfigError(f"{name} does not go with {what}", where=name, fix="leave it out")


def _notes(unused: Sequence[str], implausible: int) -> list[str]:
    notes = [f"columns that were not used: {', '.join(unused)}"] if unused else []
    if implausible:
        notes.append(f"taken as not measured, since no body has them: {counted(implausible, 'number')}")
    return notes
