"""A text table as it lies: heads, cells, whose row it is, days and times by the person's own clock."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from data_pipelines.exposures.tables.heads import DATES, PEOPLE, Column, plain
from data_pipelines.readers._files import read_bytes
from data_pipelines.readers._rows import Rows, read_rows
from hdt_fm.schema.errors import ReaderError, UnitError
from hdt_fm.schema.exposure import exposure_kind

# Longer than anybody lives, and 1900-01-01 counted from 1970: a date beyond is a slip.
MOST_DAYS, EARLIEST = 40_000, -25_567
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?")


@dataclass(frozen=True)
class TextTable:
    """Cells as text.

    Attributes:
        heads: As they stand in the first line.
    """

    rows: Rows
    heads: tuple[str, ...]

    def __len__(self) -> int:
        return self.rows.table.num_rows

    def head(self, *names: str) -> str | None:
        """The first column of one of these names, whatever its letters."""
        return next((head for head in self.heads if plain(head) in names), None)

    def texts(self, head: str) -> list[str]:
        """An empty cell is an empty text."""
        return [(text or "").strip() for text in self.rows.texts(head).to_pylist()]

    def numbers(self, head: str) -> NDArray[np.float64]:
        """NaN where a cell is empty.

        Raises:
            ReaderError: If a cell is no number.
        """
        return self.rows.numbers(head)

    def only(self, mask: NDArray[np.bool_]) -> "TextTable":
        """Rows where the mask is True."""
        return TextTable(self.rows.only(pa.chunked_array([pa.array(mask)])), self.heads)

    def people(self) -> NDArray[np.int64]:
        """Number of each row's person, in the order of ids; 0 for all where no column says."""
        told = [self.texts(head) for head in self.heads if plain(head) in PEOPLE]
        if not told:
            return np.zeros(len(self), dtype=np.int64)
        whose = list(zip(*told, strict=True))
        numbers = {one: number for number, one in enumerate(sorted(set(whose)))}
        return np.array([numbers[one] for one in whose], dtype=np.int64)


def read_table(path: Path) -> TextTable:
    """CSV, TSV or parted by semicolons, in UTF-8; may be gzipped.

    Raises:
        ReaderError: If it is no such table, two columns have one name, or it has no rows.
    """
    rows = read_rows(read_bytes(path), re.compile(rb"\S"), where="the table")
    heads = tuple(rows.table.column_names)
    # The second column of a name is read as `name (place)`.
    names = [plain(head.removesuffix(f" ({place})")) for place, head in enumerate(heads)]
    if len(set(names)) < len(names):
        raise ReaderError("Two columns have one name", where="first line", fix="rename or remove one of them")
    if not rows.table.num_rows:
        raise ReaderError(
            "The table has no rows", expected="a line of heads, and rows below it", got="none", fix="export it again"
        )
    return TextTable(rows, heads)


def of_one(table: TextTable, person: int | None) -> TextTable:
    """The rows of one person; messages say how many there are, never who.

    Raises:
        ReaderError: If there are several and none is named, or there is no such person.
    """
    people = table.people()
    count = int(people.max()) + 1
    if count == 1 and person in (None, 0):
        return table
    if person is None or not 0 <= person < count:
        raise ReaderError(
            "The table holds several people" if person is None else "There is no such person in the table",
            where="person",
            expected="one person's rows" if person is None else f"0 to {count - 1}",
            got=f"{count} people",
            fix=f"person=N takes one of them, N from 0 to {count - 1} in the order of ids",
        )
    return table.only(people == person)


def days_of(table: TextTable) -> NDArray[np.int64]:
    """Number of each row's day since 1970.

    Raises:
        ReaderError: If there is no column of dates, or one cannot be read.
    """
    head = table.head(*DATES)
    if head is None:
        raise ReaderError(
            "The table has no column date",
            where="first line",
            expected="a column date (YYYY-MM-DD), a row a day",
            fix="name the column of dates `date`",
        )
    return _within_a_life(_read(table.texts(head), _DATE, "D", "YYYY-MM-DD, such as 2026-03-05"))


def times_of(table: TextTable, head: str) -> NDArray[np.float64]:
    """Seconds on the person's own calendar.

    Raises:
        ReaderError: If a time cannot be read.
    """
    seconds = _read(table.texts(head), _TIME, "ms", "local time, such as 2026-03-05 14:30, without an offset") / 1e3
    _within_a_life((seconds // 86_400).astype(np.int64))
    return seconds


def in_unit(table: TextTable, column: Column) -> tuple[NDArray[np.float64], int]:
    """Values in the canonical unit, NaN where none is known, and how many numbers the kind cannot have.

    Raises:
        ReaderError: If a cell is no number.
        UnitError: If most numbers cannot be in the unit.
    """
    values = table.numbers(column.head) * column.scale + column.offset
    kind = exposure_kind(column.kind)
    low, high = (-np.inf, np.inf) if column.rate else kind.plausible
    known = ~np.isnan(values)
    cannot = known & ((values < low) | (values > high))
    if 2 * int(cannot.sum()) > int(known.sum()):
        raise UnitError(
            f"Most numbers of {kind.name} cannot be in its unit",
            where=f"a column of {kind.name}",
            expected=f"{low:g} to {high:g} {kind.unit}",
            fix=f"say the unit in the head, such as {kind.name} [{next(iter(kind.units), kind.unit)}], or as units=",
        )
    return np.where(cannot, np.nan, values), int(cannot.sum())


def notes_of(table: TextTable, used: Sequence[str], implausible: Mapping[str, int]) -> tuple[str, ...]:
    """What a person should know of the reading; columns are counted, since their names may tell of a person."""
    left = sum(head not in used for head in table.heads if plain(head) not in PEOPLE)
    notes = [f"{left} column(s) of the table were not used"] if left else []
    found = ", ".join(f"{count} of {kind}" for kind, count in implausible.items() if count)
    return (*notes, *([f"taken as not known, since it cannot be: {found}"] if found else []))


def _read(texts: Sequence[str], pattern: re.Pattern[str], unit: str, expected: str) -> NDArray[np.int64]:
    wrong = [line for line, text in enumerate(texts) if not pattern.fullmatch(text)]
    try:
        if not wrong:
            return np.array(texts, dtype=f"datetime64[{unit}]").astype(np.int64)
    except ValueError:
        pass
    raise ReaderError(
        "A date or time cannot be read",
        where=f"row {wrong[0] + 1} below the heads" if wrong else "a day or an hour that no calendar has",
        expected=expected,
        fix="write all of them so",
    )


def _within_a_life(days: NDArray[np.int64]) -> NDArray[np.int64]:
    if int(days.max() - days.min()) > MOST_DAYS:
        raise ReaderError(
            "Dates lie further apart than a life is long",
            expected=f"at most {MOST_DAYS} days from the first to the last",
            got=f"{int(days.max() - days.min())} days",
            fix="look for a slip in a year",
        )
    if int(days.min()) < EARLIEST:
        raise ReaderError(
            "A date lies before anybody alive was born",
            expected=f"dates from {np.datetime64(EARLIEST, 'D')} on",
            got=f"{int((days < EARLIEST).sum())} before it",
            fix="look for a slip in a year",
        )
    return days
