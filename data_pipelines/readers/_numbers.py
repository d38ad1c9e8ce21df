"""Text -> numbers, fast, with errors that say the line but never the value."""

import re
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
from numpy.typing import NDArray

from hdt_fm.schema.errors import ReaderError

_ROW = re.compile(r"Row #(\d+)")
_NUMBER = re.compile(r"[-+]?[\d.,:/-]*\d[\d.,:/-]*(?:[eE][-+]?\d+)?")


def read_numbers(data: bytes, *, columns: int, skip: int, where: str) -> NDArray[np.float64]:
    """All lines after `skip` as (row, column); an empty field or NaN becomes NaN.

    Raises:
        ReaderError: If a line has another number of columns, or a field is not a number.
    """
    body = _after_lines(data, skip)
    if not body.strip():
        return np.empty((0, columns))
    names = [str(index) for index in range(columns)]
    table = parse_csv(body, where=where, names=names, types=dict.fromkeys(names, pa.float64()), first_line=skip + 1)
    return np.stack([table.column(name).to_numpy() for name in names], axis=1)


def parse_csv(
    data: bytes,
    *,
    where: str,
    names: list[str] | None = None,
    types: dict[str, pa.DataType] | None = None,
    delimiter: str = ",",
    first_line: int = 1,
) -> pa.Table:
    """A CSV as an Arrow table; `names` None takes them from the first line.

    An empty line is a missing sample (an error where there are more columns), not a line less: dropping it would
    move all that follows in time.

    Raises:
        ReaderError: If it is empty or cannot be parsed as asked.
    """
    end = _end_of_text(data)
    if not end:
        raise ReaderError("The file is empty", where=where, fix="leave it out, or export it again")
    try:
        return pacsv.read_csv(
            # A view: a copy of a long table takes as long as its numbers.
            pa.BufferReader(memoryview(data)[:end]),
            read_options=pacsv.ReadOptions(column_names=names, use_threads=False),
            parse_options=pacsv.ParseOptions(delimiter=delimiter, ignore_empty_lines=False),
            convert_options=pacsv.ConvertOptions(column_types=types, strings_can_be_null=True),
        )
    except (pa.ArrowInvalid, pa.ArrowKeyError, UnicodeDecodeError) as error:
        row = _ROW.search(str(error))
        wrong_width = "Expected" in str(error) and "columns" in str(error)
        raise ReaderError(
            "A line has the wrong number of columns" if wrong_width else "The table holds something that is no number",
            where=f"{where}, line {int(row[1]) + first_line - 1}" if row else where,
            expected=f"{len(names)} number(s) a line" if names else "numbers in every column that is mapped",
            fix="look at that line; an export that was cut off or edited by hand often looks so",
        ) from None


def header_words(columns: Sequence[str]) -> str:
    """The columns of a table for a message, unless its first line is a row: that would be somebody's values."""
    if any(_NUMBER.fullmatch(name.strip()) for name in columns):
        return "a first line of names; that of this table holds numbers"
    return ", ".join(columns)


def _end_of_text(data: bytes) -> int:
    """Where the white space at the end begins, but for one line break."""
    end = len(data)
    while end and data[end - 1 : end].isspace():
        end -= 1
    return end + data[end:].startswith(b"\n") if end else 0


def header_numbers(data: bytes, line: int, *, where: str) -> list[float]:
    """Comma-separated numbers of one of the first lines.

    Raises:
        ReaderError: If the line is missing or holds something else.
    """
    lines = data[:4096].split(b"\n", line + 1)
    text = lines[line].strip() if len(lines) > line else b""
    try:
        return [float(field) for field in text.split(b",")]
    except ValueError:
        raise ReaderError(
            "A header line does not hold numbers" if text else "The file ends before its header does",
            where=f"{where}, line {line + 1}",
            expected="start time, then sampling rate, one a column",
        ) from None


def _after_lines(data: bytes, skip: int) -> bytes:
    position = 0
    for _ in range(skip):
        position = data.find(b"\n", position) + 1
        if position == 0:
            return b""
    return data[position:]
