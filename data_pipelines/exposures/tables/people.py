"""A table with a row a person and day -> days of people, their exposures and one outcome."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_pipelines.exposures._told import DAY_S, Days, Whose, by_day
from data_pipelines.exposures.sets._person_days import PersonDays
from data_pipelines.exposures.tables.heads import DATES, PEOPLE, RATES, Column, exposure_columns, plain
from data_pipelines.exposures.tables.rows import days_of, in_unit, notes_of, read_table
from hdt_fm.schema import registry
from hdt_fm.schema.errors import ReaderError, unknown_name

# Squares of sums of larger ones would be no numbers.
LARGEST = 1e9


@dataclass(frozen=True)
class PeopleTable:
    """What was read.

    Attributes:
        people: In the order of ids, of whom nothing but a number is kept.
        notes: What a person should know of the reading, a line each.
    """

    people: tuple[PersonDays, ...]
    notes: tuple[str, ...]


def read_people(path: Path, *, outcome: str, units: Mapping[str, str] | None = None) -> PeopleTable:
    """Read them all; rows may be in any order, and days that are missing are not known.

    Format: Text in UTF-8: `person`, `date` (YYYY-MM-DD), columns of exposures (`tables/heads.py`) and of the outcome.
    Units: Of exposures those of `EXPOSURES`; the outcome stays in its own.
    Lossy: Numbers that an exposure cannot have become unknown; other columns are left.

    Raises:
        ReaderError: If a column or all rows are missing, a date comes twice, or a cell cannot be read or is huge.
        UnitError: If a unit is none of the kind's, or most numbers cannot be in it.
        UnknownNameError: If there is no such outcome, or a head is nearly called as an exposure.
    """
    table = read_table(path)
    days = days_of(table)
    whose = table.head(*PEOPLE)
    if whose is None:
        raise ReaderError(
            "The table does not say whose rows they are",
            where="first line",
            expected="a column person",
            fix="name the column of ids `person`",
        )
    head = next((one for one in table.heads if outcome in (one, plain(one))), None)
    if head is None or plain(head) in (*PEOPLE, *DATES):
        raise unknown_name("column", outcome, [one for one in table.heads if plain(one) not in PEOPLE], where="outcome")
    columns = exposure_columns(table.heads, units=units, taken=(head,))
    person, values, implausible = table.people(), {}, {}
    for kind, column in columns.items():
        values[kind], implausible[kind] = in_unit(table, column)
    known = table.numbers(head)
    _refuse_huge(known)
    people = tuple(
        _one(
            number,
            days[person == number],
            columns,
            {k: v[person == number] for k, v in values.items()},
            outcome,
            known[person == number],
        )
        for number in range(int(person.max()) + 1)
    )
    used = [head, *(one.head for one in columns.values()), table.head(*DATES) or ""]
    return PeopleTable(people, notes_of(table, used, implausible))


def laid(days: NDArray[np.int64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """A value a day from the first day to the last; days that are missing are NaN."""
    out = np.full(int(days.max() - days.min()) + 1, np.nan)
    out[days - days.min()] = values
    return out


def refuse_twice(days: NDArray[np.int64]) -> None:
    """A person's day stands in one row.

    Raises:
        ReaderError: If one stands in two.
    """
    if len(np.unique(days)) < len(days):
        raise ReaderError(
            "A date comes twice",
            where="column date",
            expected="a row a person and day",
            got=f"{len(days) - len(np.unique(days))} row(s) too many",
            fix="keep one row of each date; a column person tells people apart",
        )


def rate_by_day(head: str, days: NDArray[np.int64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """A mean rate of the weather as amounts a day, by its sub-model."""
    (found,) = registry.build("exposures", "weather", {})(days, {head: values}, Whose(0, 0))
    first = float(days.min()) * DAY_S
    return by_day(found, Days(first, int(days.max() - days.min()) + 1))


def _refuse_huge(known: NDArray[np.float64]) -> None:
    several = int((np.abs(known) > LARGEST).sum())
    if several:
        raise ReaderError(
            "The outcome has numbers that are too large",
            where="the column of the outcome",
            expected=f"numbers up to {LARGEST:g} either way",
            got=f"{several} that are larger",
            fix="write it in another unit; leave a cell empty where nothing was measured",
        )


def _one(
    number: int,
    days: NDArray[np.int64],
    columns: Mapping[str, Column],
    values: Mapping[str, NDArray[np.float64]],
    outcome: str,
    known: NDArray[np.float64],
) -> PersonDays:
    refuse_twice(days)
    rates = {kind: head for head, kind in RATES.items()}
    exposures = {
        kind: rate_by_day(rates[kind], days, told) if columns[kind].rate else laid(days, told)
        for kind, told in values.items()
    }
    return PersonDays(str(number), int(days.min()), exposures, {outcome: laid(days, known)})
