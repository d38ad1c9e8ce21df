"""One person's table of what they were exposed to -> `Exposure`s; what its columns are says what it is.

    date, exposures                        a value a day
    start, end, exposures                  a value a span of any length
    time, exposures that are levels        readings; each stands for the time since the one before it
    time, text; or carbs_g, protein_g, ..  a diary of meals, by the sub-model `diet`
    start (or time), end, contact, who     calls, messages, visits and stays, by `contact`
    start, end, place                      stays at places of a category, one after another, by `place`

Times are local. What sub-models are told of was watched from the first day that is written of to the last: they answer
for whole days, and the last of them may have been cut short by the export.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_pipelines.exposures._told import DAY_S, Days, Event, OfEvents, Whose
from data_pipelines.exposures.tables.heads import DATES, RATES, SPAN, TIME, Column, exposure_columns, plain
from data_pipelines.exposures.tables.people import laid, rate_by_day, refuse_twice
from data_pipelines.exposures.tables.rows import TextTable, days_of, in_unit, notes_of, of_one, read_table, times_of
from hdt_fm.schema import registry
from hdt_fm.schema.errors import ReaderError
from hdt_fm.schema.exposure import Exposure, exposure_kind

TEXT, CONTACT, PLACE, WHO = "text", "contact", "place", "who"
MACROS = ("carbs_g", "protein_g", "fat_g")
ALCOHOL = "alcohol_g"
READING_S = 3_600.0
_OURS = Whose(0, 0)


@dataclass(frozen=True)
class OneTable:
    """What was read.

    Attributes:
        read_as: What the table was taken for.
        notes: What a person should know of the reading, a line each.
    """

    exposures: tuple[Exposure, ...]
    read_as: str
    notes: tuple[str, ...] = ()


def read_one(
    path: Path, *, person: int | None = None, units: Mapping[str, str] | None = None, reading_s: float = READING_S
) -> OneTable:
    """Read one person's; rows may be in any order.

    Format: See the top; text in UTF-8.
    Units: Those of `EXPOSURES`; numbers that a kind cannot have become unknown.
    Lossy: Other columns are left; sub-models say what they drop.

    Args:
        person: Whose rows, counted from 0 in the order of ids; needed where there are several.
        units: Kind -> the unit of its column, where the head does not say.
        reading_s: How long a reading of `time` stands for at most.

    Raises:
        ReaderError: If it is no such table, of several people, or a time comes twice or cannot be read.
        UnitError: If a unit is none of the kind's, or most numbers cannot be in it.
        RecordingError: If spans overlap.
        UnknownNameError: If a head is nearly called as an exposure.
    """
    table = of_one(read_table(path), person)
    names = {plain(head) for head in table.heads}
    if TIME in names and (TEXT in names or set(MACROS) <= names):
        return _of_events(table, "diet", "a diary of meals", _meals(table))
    if CONTACT in names:
        return _of_events(table, "contact", "a log of contact", _stays(table, CONTACT))
    if PLACE in names:
        return _of_events(table, "place", "stays at places", _stays(table, PLACE))
    columns = exposure_columns(table.heads, units=units)
    if names & set(DATES):
        return _daily(table, columns)
    if set(SPAN) <= names:
        start, end = (times_of(table, table.head(one) or one) for one in SPAN)
        return _spans(table, columns, start, end - start, "a table of spans")
    if TIME in names:
        return _readings(table, columns, reading_s)
    raise ReaderError(
        "The table does not say when",
        where="first line",
        expected="a column date; or start and end; or time",
        got="none of these",
        fix="name the column of days `date` (YYYY-MM-DD)",
    )


def of_days(kind: str, first_day: int, values: NDArray[np.float64]) -> Exposure:
    """A value a day, one day after the other."""
    return Days(first_day * DAY_S, len(values)).exposure(kind, values, _OURS)


def _daily(table: TextTable, columns: Mapping[str, Column]) -> OneTable:
    days = days_of(table)
    refuse_twice(days)
    found, implausible = [], {}
    for kind, column in columns.items():
        values, implausible[kind] = in_unit(table, column)
        rate = next((head for head, of in RATES.items() if of == kind), "")
        told = rate_by_day(rate, days, values) if column.rate else laid(days, values)
        found.append(of_days(kind, int(days.min()), told))
    return OneTable(tuple(found), "a daily table", _notes(table, columns, implausible, *DATES))


def _spans(
    table: TextTable, columns: Mapping[str, Column], start: NDArray[np.float64], length: NDArray[np.float64], what: str
) -> OneTable:
    order = np.argsort(start, kind="stable")
    found, implausible = [], {}
    for kind, column in columns.items():
        if column.rate:
            raise _needs_days(column.head)
        values, implausible[kind] = in_unit(table, column)
        found.append(Exposure(kind, start[order], length[order], values[order], _OURS.subject, _OURS.group))
    return OneTable(tuple(found), what, _notes(table, columns, implausible, *SPAN))


def _readings(table: TextTable, columns: Mapping[str, Column], reading_s: float) -> OneTable:
    """A reading stands for the time since the one before it, so that what comes later changes nothing."""
    times = times_of(table, table.head(TIME) or TIME)
    if len(np.unique(times)) < len(times):
        raise ReaderError(
            "A time comes twice",
            where="column time",
            expected="a row a time, of one person",
            fix="keep one of them; where clocks went back an hour, leave the second one of that hour out",
        )
    order, found, implausible = np.argsort(times), [], {}
    for kind, column in columns.items():
        if column.rate or exposure_kind(kind).amount:
            raise _needs_days(column.head)
        values, implausible[kind] = in_unit(table, column)
        rows = order[~np.isnan(values[order])]
        length = np.minimum(np.diff(times[rows], prepend=-np.inf), reading_s)
        found.append(Exposure(kind, times[rows] - length, length, values[rows], _OURS.subject, _OURS.group))
    return OneTable(tuple(found), "a table of readings", _notes(table, columns, implausible, TIME))


def _needs_days(head: str) -> ReaderError:
    return ReaderError(
        f"The column {plain(head)} is an amount, and a time alone does not say of how long",
        where="first line",
        expected="a column date; or start and end",
        fix="sum it up by day, or say when each span begins and ends",
    )


WHOLE_DAYS = "a day is what the file says of it that told of it last: its first and last day must be whole in an export"
WATCHED = "days between the first and the last that are written of were watched: silence there is none, not unknown"


def _of_events(table: TextTable, model: str, what: str, events: list[Event]) -> OneTable:
    sub_model = registry.build("exposures", model, {})
    assert isinstance(sub_model, OfEvents)
    first = min(one.start_s for one in events) // DAY_S * DAY_S
    last = max(one.start_s for one in events) // DAY_S * DAY_S + DAY_S
    notes = (WATCHED, WHOLE_DAYS) if model == "contact" else (WHOLE_DAYS,)
    return OneTable(sub_model(events, [(first, last)], _OURS), what, notes)


def _meals(table: TextTable) -> list[Event]:
    times = times_of(table, table.head(TIME) or TIME)
    text, macros = table.head(TEXT), [table.head(name) for name in MACROS]
    if all(macros):
        told = {name: table.numbers(head) for name, head in zip(MACROS, macros, strict=True) if head}
        if drunk := table.head(ALCOHOL):
            told[ALCOHOL] = np.nan_to_num(table.numbers(drunk))
        return [
            Event("meal", float(at), amounts={name: float(values[row]) for name, values in told.items()})
            for row, at in enumerate(times)
        ]
    return [Event("meal", float(at), text=one) for at, one in zip(times, table.texts(text or TEXT), strict=True)]


def _stays(table: TextTable, what: str) -> list[Event]:
    """Events of a kind; without an end they are moments."""
    begins = table.head(SPAN[0], TIME)
    if begins is None:
        raise ReaderError(
            "The table does not say when", where="first line", expected="columns start and end", fix="name them so"
        )
    start, ends, who = times_of(table, begins), table.head(SPAN[1]), table.head(WHO)
    end = start if ends is None else times_of(table, ends)
    if (end < start).any():
        raise ReaderError(
            "Something ends before it begins", where="column end", got=f"{int((end < start).sum())} row(s)", fix="swap"
        )
    others = [""] * len(start) if who is None else table.texts(who)
    kinds = [plain(text) for text in table.texts(table.head(what) or what)]
    return [
        Event(kind, float(one), float(two - one), who=other)
        for kind, one, two, other in zip(kinds, start, end, others, strict=True)
    ]


def _notes(
    table: TextTable, columns: Mapping[str, Column], implausible: Mapping[str, int], *times: str
) -> tuple[str, ...]:
    used = [column.head for column in columns.values()] + [head for head in table.heads if plain(head) in times]
    return notes_of(table, used, implausible)
