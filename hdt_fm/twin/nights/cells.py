"""A text table -> its cells, of one person: in whatever way the file parts them, read as text alone."""

import csv
import io
import re
from dataclasses import dataclass, replace
from pathlib import Path

from hdt_fm.schema.errors import ReaderError

# A century of nights is about 4 MB; more is something else.
MAX_BYTES = 64_000_000
# Columns that say whose row it is.
PEOPLE = frozenset(
    f"{word}{ending}"
    for word in ("person", "subject", "participant", "user", "patient")
    for ending in ("", "_id", "_code")
) | {"id"}


@dataclass(frozen=True)
class Cells:
    """What a table says, as text.

    Attributes:
        heads: In small letters with `_` for blanks; "" where there is none.
        rows: Each with the number of its line.
        decimal_comma: Whether 61,5 is a number, since semicolons part the cells.
    """

    heads: tuple[str, ...]
    rows: tuple[tuple[int, tuple[str, ...]], ...]
    decimal_comma: bool

    def column(self, head: str) -> list[tuple[int, str]]:
        """Number of the line, and what its cell says."""
        at = self.heads.index(head)
        return [(line, row[at].strip()) for line, row in self.rows]


def read_cells(path: Path) -> Cells:
    """Every cell of a text table; lines without any are passed over.

    Raises:
        ReaderError: If it is too large, no text in UTF-8 or damaged, has heads that repeat, lines of another length, or
            no line below the heads.
    """
    text = _text_of(path)
    first = next(iter(text.splitlines()), "")
    heads = heads_of(first)
    named = [head for head in heads if head]
    if len(set(named)) < len(named):
        raise ReaderError("Two columns have one name", where="first line", fix="rename or remove one of them")
    rows = _rows_of(text, _parted_by(first))
    for line, cells in rows:
        if len(cells) != len(heads):
            raise ReaderError(
                "A line has the wrong number of cells",
                where=f"line {line}",
                expected=str(len(heads)),
                got=str(len(cells)),
                fix="a comma inside a cell needs quotes around it",
            )
    if len(rows) < 2:
        raise ReaderError(
            "The table has no rows",
            expected="a line of heads, and below it a row a night",
            got="a line of heads" if rows else "nothing",
            fix="export it again",
        )
    return Cells(heads, tuple(rows[1:]), _parted_by(first) == ";")


def heads_of(line: str) -> tuple[str, ...]:
    """Names of columns in a first line, as `Cells` has them."""
    row = next(csv.reader([line], delimiter=_parted_by(line)), [])
    return tuple(re.sub(r"[\s-]+", "_", head.strip().lower()) for head in row)


def of_one(cells: Cells, person: int | None) -> Cells:
    """The rows of one person; messages say how many there are, never who."""
    told = [head for head in cells.heads if head in PEOPLE]
    whose = list(zip(*([text for _, text in cells.column(head)] for head in told), strict=True))
    people = sorted(set(whose))
    if len(people) < 2 and person in (None, 0):
        return cells
    if person is None or not 0 <= person < len(people):
        raise ReaderError(
            "The table holds several people" if person is None else "There is no such person in the table",
            where=f"column {told[0]}" if told else "person",
            expected="the nights of one person",
            got=f"{max(len(people), 1)} people" if len(people) != 1 else "1 person",
            fix=f"person=N takes one of them, N from 0 to {max(len(people), 1) - 1} in the order of ids",
        )
    kept = [row for row, one in zip(cells.rows, whose, strict=True) if one == people[person]]
    return replace(cells, rows=tuple(kept))


def _text_of(path: Path) -> str:
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise ReaderError(
            "The table is too large for one person's nights",
            expected=f"at most {MAX_BYTES} bytes",
            got=f"{size} bytes",
            fix="give one person's table, with a row a night",
        )
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ReaderError("The table is no text in UTF-8", fix="save it as CSV in UTF-8") from None


def _rows_of(text: str, parted_by: str) -> list[tuple[int, tuple[str, ...]]]:
    """Each line with its number, the heads first."""
    rows: list[tuple[int, tuple[str, ...]]] = []
    reader = csv.reader(io.StringIO(text), delimiter=parted_by)
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                rows.append((reader.line_num, tuple(row)))
    except csv.Error:
        raise ReaderError("The table is damaged", where=f"line {reader.line_num}", fix="export it again") from None
    return rows


def _parted_by(line: str) -> str:
    return max((",", ";", "\t"), key=line.count)
