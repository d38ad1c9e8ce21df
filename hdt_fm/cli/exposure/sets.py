"""Public sets that tell of the days of people, by the name of their cohort."""

from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from hdt_fm.schema.errors import ReaderError, unknown_name

if TYPE_CHECKING:
    from data_pipelines.exposures.sets._person_days import PersonDays

# Cohort -> file of `data_pipelines/exposures/sets` whose `<file>_days` reads it.
SETS = {"welltory_covid19": "welltory", "lifesnaps_daily": "lifesnaps"}


def people_of(path: Path, cohort: str) -> "list[PersonDays]":
    """Everybody of whom the set tells an exposure.

    Raises:
        UnknownNameError: If there is no such set.
        ReaderError: If it cannot be read, or tells of nobody.
    """
    if cohort not in SETS:
        raise unknown_name("cohort", cohort, SETS, where="cohort")
    name = SETS[cohort]
    module = import_module(f"data_pipelines.exposures.sets.{name}")
    read: Callable[[Path], Iterator[PersonDays]] = getattr(module, f"{name}_days")
    people = list(read(path))
    if not people:
        raise ReaderError("The set tells of nobody's exposures", expected="the files as published", fix="fetch it anew")
    return people
