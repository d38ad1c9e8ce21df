"""A table of one person's nights, a row a night -> `Nights`."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from hdt_fm.schema.errors import ReaderError, UnitError, unknown_name
from hdt_fm.twin.nights.cells import PEOPLE, Cells, heads_of, of_one, read_cells
from hdt_fm.twin.nights.indicators import INDICATORS, WORDS, known_units
from hdt_fm.twin.nights.night import Nights

SUFFIXES = (".csv", ".tsv", ".txt")
DATE, DEVICE = "date", "device"
WHAT = f"a table with a row a night: a column date (YYYY-MM-DD) and one or more of {known_units()}"
_MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "-"})
_ISO_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
# A head this near to a known one is a slip, not another column.
_SLIP = 0.85


@dataclass(frozen=True)
class NightTable:
    """What was read.

    Attributes:
        unused: Heads of columns that were not taken.
        implausible: Numbers outside of what a body has, taken as not measured.
    """

    nights: Nights
    unused: tuple[str, ...]
    implausible: int


def is_night_table(path: Path) -> bool:
    """Whether it is a text table with a date and an indicator; never an error."""
    if path.suffix.lower() not in SUFFIXES or not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            first = file.read(1 << 16).decode("utf-8-sig", errors="replace").splitlines()[:1]
    except OSError:
        return False
    heads = heads_of(first[0]) if first else ()
    return DATE in heads and any(head in WORDS for head in heads)


def read_night_table(path: Path, *, indicators: Sequence[str] = (), person: int | None = None) -> NightTable:
    """Read one person's nights; rows may be in any order.

    Format: Text in UTF-8 with a line of heads, parted by commas, tabs or semicolons (then 61,5 is a number). `date` is
        the local date on which the night ends. An empty cell, NA and NaN are not measured. `device` is what was worn.
        A column such as `id` may say whose row it is.
    Units: Those of `INDICATORS`; a column that only `indicators` names keeps its own.

    Args:
        indicators: Columns to take; none takes every one that is known by name.
        person: Whose rows, counted from 0 in the order of ids; needed where there are several people.

    Raises:
        ReaderError: If the table lacks such columns or rows, holds several people or a date twice, or a cell is
            neither date nor number.
        UnitError: If most numbers of a column cannot be in its unit.
        UnknownNameError: If a column that is asked for is not there, or is nearly called as a known one.
    """
    cells = read_cells(path)
    if DATE not in cells.heads:
        raise ReaderError(
            "The table has no column date", where="first line", expected=WHAT, fix="name the column of dates `date`"
        )
    cells = of_one(cells, person)
    columns = _columns(cells.heads, indicators)
    dates = np.array([_date(text, line) for line, text in cells.column(DATE)], dtype="datetime64[D]")
    order = np.argsort(dates, kind="stable")
    if (np.diff(dates[order]).astype(np.int64) == 0).any():
        raise ReaderError(
            "A date comes twice",
            where="column date",
            expected="one row a night, of one person",
            fix="keep one row of each date; a column id tells people apart",
        )
    values, implausible = np.empty((len(dates), len(columns))), 0
    for place, (name, head) in enumerate(columns.items()):
        values[:, place], lost = _numbers(cells, head, name)
        implausible += lost
    devices = None
    if DEVICE in cells.heads:
        worn = [text for _, text in cells.column(DEVICE)]
        devices = tuple(worn[at] for at in order)
    taken = {DATE, DEVICE, *PEOPLE, *columns.values()}
    unused = tuple(head for head in cells.heads if head and head not in taken)
    return NightTable(Nights(dates[order], values[order], tuple(columns), devices), unused, implausible)


def _columns(heads: tuple[str, ...], asked: Sequence[str]) -> dict[str, str]:
    """Name of an indicator -> head of its column."""
    if asked:
        chosen = {}
        for name in asked:
            head = next((one for one in heads if one == name or WORDS.get(one, "") == WORDS.get(name, name)), None)
            if head is None or head in (DATE, DEVICE) or head in PEOPLE:
                raise unknown_name("column", name, [one for one in heads if one], where="indicators")
            chosen[WORDS.get(head, head)] = head
        return chosen
    for head in heads:
        near = get_close_matches(head, WORDS, n=1, cutoff=_SLIP)
        if near and near[0] != head and head not in PEOPLE and near[0] not in heads:
            raise unknown_name("column", head, WORDS, where="first line")
    chosen = {}
    for head in heads:
        if head in WORDS:
            if WORDS[head] in chosen:
                raise ReaderError(
                    f"Two columns are of {WORDS[head]}",
                    where="first line",
                    expected="one column an indicator",
                    fix="rename one of them, or say indicators=COLUMN,COLUMN",
                )
            chosen[WORDS[head]] = head
    if not chosen:
        raise ReaderError(
            "The table has no column that is known",
            where="first line",
            expected=WHAT,
            got=f"{len(heads)} other columns",
            fix="rename the columns, or say indicators=COLUMN,COLUMN for numbers that are unlike the usual either way",
        )
    return chosen


def _date(text: str, line: int) -> np.datetime64:
    try:
        if _ISO_DATE.fullmatch(text):
            return np.datetime64(text, "D")
    except ValueError:
        pass
    raise ReaderError(
        "A date cannot be read",
        where=f"column date, line {line}",
        expected="YYYY-MM-DD: the local date on which the night ends",
        fix="write all dates so, such as 2026-03-05",
    )


def _numbers(cells: Cells, head: str, name: str) -> tuple[np.ndarray, int]:
    """A column, NaN where nothing was measured, and how many numbers no body has."""
    values = np.array(
        [_number(text, cells.decimal_comma, f"column {head}, line {n}") for n, text in cells.column(head)]
    )
    if name not in INDICATORS:
        return values, 0
    one, known = INDICATORS[name], np.isfinite(values)
    low, high = one.plausible
    cannot = known & ((values < low) | (values > high) | (one.zero_is_none & (values == 0)))
    # A zero is how some devices write that there is none; it says nothing of the unit.
    if (cannot & (values != 0)).sum() * 2 > (known & (values != 0)).sum():
        raise UnitError(
            f"Most numbers of {name} cannot be in {one.unit}",
            where=f"column {head}",
            expected=f"{low:g} to {high:g} {one.unit}",
            fix="bring the column to this unit",
        )
    return np.where(cannot, np.nan, values), int(cannot.sum())


def _number(text: str, decimal_comma: bool, where: str) -> float:
    if text.lower() in _MISSING:
        return float("nan")
    try:
        value = float(text.replace(",", ".") if decimal_comma else text)
    except ValueError:
        value = float("inf")
    if not np.isfinite(value):
        raise ReaderError(
            "A cell is no number",
            where=where,
            expected="a number, or an empty cell where none is known",
            fix="correct or empty the cell; 61,5 is read as a number where semicolons part the cells",
        )
    return value
