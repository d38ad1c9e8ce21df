"""One person's data at a path -> `Nights`: a table of nights, an export, a folder, or one of a cohort."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hdt_fm.cli.twin.arguments import refuse, whole_number
from hdt_fm.cli.twin.person import person_of, visits_of_one
from hdt_fm.schema.errors import ConfigError, ReaderError, unknown_name
from hdt_fm.twin.alert.told import counted
from hdt_fm.twin.nights.from_visits import nights_of
from hdt_fm.twin.nights.night import Nights
from hdt_fm.twin.nights.slots import NightHours
from hdt_fm.twin.nights.table import WHAT, is_night_table, read_night_table

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
        raise ReaderError(
            "There is nothing at this path",
            expected=f"{WHAT}; an export; or a folder of recordings",
            fix="look for a slip in the path, or give it from where you are",
        )
    table = _table_of(path, settings)
    if table is not None:
        refuse(settings, ("cohort", "night_hours", "utc_offset_s"), "a table of nights")
        found = read_night_table(table, indicators=_names(settings), person=person_of(settings))
        return Given(found.nights, "a table of nights", tuple(_notes(found.unused, found.implausible)))
    visits, source = visits_of_one(path, settings, expected=f"{WHAT}; or an export")
    offset = whole_number(settings, "utc_offset_s") if "utc_offset_s" in settings else None
    if offset is None and {visit.source for visit in visits} <= _LOCAL_READERS:
        offset = 0
    return Given(chosen(nights_of(visits, hours=_hours(settings), utc_offset_s=offset), settings), source)


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
            "The folder holds several tables of nights",
            expected="one person's",
            got=f"{len(tables)} tables",
            fix="give the path of one of them",
        )
    return tables[0] if tables else None


def _is_an_export(path: Path) -> bool:
    """Exports may hold small tables with a date and some steps beside what was recorded."""
    from data_pipelines.readers import detect

    return detect(path) is not None


def chosen(nights: Nights, settings: Mapping[str, str]) -> Nights:
    """The indicators that are asked for; all of them where none is.

    Raises:
        UnknownNameError: If one of them is not there.
    """
    names = _names(settings)
    for name in names:
        if name not in nights.names:
            raise unknown_name("indicator", name, nights.names, where="indicators")
    return nights.only(*names) if names else nights


def _names(settings: Mapping[str, str]) -> list[str]:
    return [word.strip() for word in settings.get("indicators", "").split(",") if word.strip()]


def _hours(settings: Mapping[str, str]) -> NightHours:
    words = settings.get("night_hours", "0-6").split("-")
    if len(words) != 2 or not all(word.isdigit() for word in words):
        raise ConfigError(
            "night_hours cannot be read",
            where="night_hours",
            expected="two hours, such as 0-6 or 22-6",
            fix="write whole hours of the local clock with a dash between them",
        )
    return NightHours(int(words[0]), int(words[1]))


def _notes(unused: Sequence[str], implausible: int) -> list[str]:
    notes = [f"columns that were not used: {', '.join(unused)}"] if unused else []
    if implausible:
        notes.append(f"taken as not measured, since no body has them: {counted(implausible, 'number')}")
    return notes
