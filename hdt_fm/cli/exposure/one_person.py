"""One person's exposures at a path: a table, a recording of light, or one of a public set."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from hdt_fm.cli.exposure.sets import people_of
from hdt_fm.cli.exposure.words import kinds_told, units_of
from hdt_fm.cli.twin.arguments import refuse, whole_number
from hdt_fm.cli.twin.person import person_of
from hdt_fm.cli.twin.window import Whose
from hdt_fm.schema.errors import ConfigError, ReaderError
from hdt_fm.schema.exposure import EXPOSURES, Exposure
from hdt_fm.schema.subject import SubjectKey

USAGE = """\
  PATH is one person's table (CSV, TSV; text in UTF-8; local dates and times), of these shapes:
    date (YYYY-MM-DD) and exposures          a value a day; also the daily weather (rain_mm_per_hour is a day's rate)
    start, end and exposures                 a value a span of any length
    time and exposures that are levels       readings; each stands for the time since the one before it
    time and text (or carbs_g, protein_g, fat_g)   a diary of meals with grams: `rice 90 g`
    start (or time), end, contact, who       calls, messages, visits; contact is call, message, visit, work, ...
    start, end, place                        stays, one after another; place is home, work, park, ...
  or a recording of light (an Actiwatch export), or with cohort=welltory_covid19 the folder of that public set.
  An empty cell is not known. Exposures, with their unit; another one stands in the head, as in `ozone [ppb]`:
{kinds}

  law=FOLDER               what `hdt-fm exposure learn` made: the twin keeps it, and says its doses and effect
                           (PATH may be left out); a law that comes later begins with the last year of days
  units=ozone:ppb,...      units that heads do not say
  reading_min=60           how long a reading of `time` stands for at most
  person=N                 where there are several people, counted from 0 in the order of ids
  reader=NAME              of a recording of light; utc_offset_s=3600, where it does not say its local time"""
SETTINGS = ("law", "units", "reading_min", "person", "reader", "cohort", "utc_offset_s")
READ_AS = "exposures"


@dataclass(frozen=True)
class Given:
    """What was read.

    Attributes:
        source: What it was read as.
        whose: Of whom it is, as far as it says.
        notes: What a person should know of the reading, a line each.
    """

    exposures: tuple[Exposure, ...]
    source: str
    whose: Whose
    notes: tuple[str, ...] = ()


def usage() -> str:
    """The lines of help."""
    return USAGE.format(kinds=kinds_told())


def read_exposures(path: Path, settings: Mapping[str, str]) -> Given:
    """One person's exposures at a path.

    Args:
        settings: Of `SETTINGS`, as typed.

    Raises:
        ReaderError, RecordingError: If the input cannot be read, or is of several people.
        ConfigError: If a setting cannot be read, or does not go with the input.
    """
    from data_pipelines.exposures.tables.one import READING_S, read_one
    from data_pipelines.readers import detect

    if not path.exists():
        raise ReaderError(
            "There is nothing at this path",
            expected="a table of exposures, or a recording of light",
            fix="look for a slip in the path, or give it from where you are",
        )
    if "cohort" in settings:
        refuse(settings, ("reader", "units", "reading_min", "utc_offset_s"), "a cohort")
        return _of_cohort(path, settings)
    whose = Whose(READ_AS, SubjectKey.public().pseudonym(READ_AS, path.resolve().name), False)
    if path.is_dir() or settings.get("reader", "table") != "table" or ("reader" not in settings and detect(path)):
        refuse(settings, ("units", "reading_min"), "a recording")
        return Given(*_of_light(path, settings), whose)
    refuse(settings, ("utc_offset_s",), "a table, whose times are local")
    reading_s = 60.0 * whole_number(settings, "reading_min") if "reading_min" in settings else READING_S
    if not reading_s > 0:
        raise ConfigError(
            "A reading stands for no time", where="reading_min", expected="1 or more minutes", fix="say reading_min=60"
        )
    found = read_one(path, person=person_of(settings), units=units_of(settings), reading_s=reading_s)
    return Given(found.exposures, found.read_as, whose, found.notes)


def _of_cohort(path: Path, settings: Mapping[str, str]) -> Given:
    from data_pipelines.exposures.tables.one import of_days

    name = settings["cohort"]
    people = sorted(people_of(path, name), key=lambda one: one.group)
    number = person_of(settings)
    if number is None or not 0 <= number < len(people):
        raise ReaderError(
            "There are several people here" if number is None else "There is no such person here",
            where="person",
            expected=f"0 to {len(people) - 1}",
            got=f"{len(people)} people",
            fix="person=N takes one of them; people are counted from 0 in the order of ids",
        )
    one = people[number]
    kinds = {kind: values for kind, values in one.exposures.items() if kind in EXPOSURES}
    if not kinds:
        raise ReaderError(
            "This set has no exposure that a twin can be told of",
            where="cohort",
            expected=f"one or more of {', '.join(EXPOSURES)}",
            got=f"{len(one.exposures)} other(s)",
            fix="give a table of exposures",
        )
    exposures = tuple(of_days(kind, one.first_day, values) for kind, values in kinds.items())
    return Given(exposures, name, Whose(name, one.group, True))


def _of_light(path: Path, settings: Mapping[str, str]) -> tuple[tuple[Exposure, ...], str]:
    """By the sub-model `light`, days by the recording's local clock."""
    from data_pipelines.exposures._told import Whose as Ours
    from hdt_fm.cli.twin.person import visits_of_one
    from hdt_fm.schema import registry
    from hdt_fm.signal.exposures import joined

    visits, source = visits_of_one(path, settings, expected="a recording of light, or a table of exposures")
    recorded = [visit.recordings["light"] for visit in visits if "light" in visit.recordings]
    if not recorded:
        raise ReaderError(
            "There is no light in what was read", expected="an export with a column of lux", fix="export it with light"
        )
    offset = whole_number(settings, "utc_offset_s") if "utc_offset_s" in settings else None
    model = registry.build("exposures", "light", {})
    told = [
        model(one if one.utc_offset_s is not None or offset is None else replace(one, utc_offset_s=offset), Ours(0, 0))
        for one in sorted(recorded, key=lambda one: one.start_ns)
    ]
    return tuple(joined(parts) for parts in zip(*told, strict=True)), source
