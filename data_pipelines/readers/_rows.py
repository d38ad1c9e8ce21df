"""CSV exports of apps: title lines, BOM, quotes, decimal commas and words among numbers -> columns."""

import csv
import io
import re
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
from numpy.typing import NDArray

from data_pipelines.readers._exports import BOM
from hdt_fm.schema.errors import ReaderError

_HEADER_WITHIN = 20
_LOW, _HIGH = re.compile(r"(?i)low?|<\s*\d+[.,]?\d*"), re.compile(r"(?i)hi(gh)?|>\s*\d+[.,]?\d*")
_DECIMAL_COMMA = re.compile(r"[-+]?\d+,\d+")


@dataclass(frozen=True)
class Rows:
    """A table of texts; an empty cell is null."""

    table: pa.Table
    where: str

    def find(self, pattern: str) -> str | None:
        """The first column whose name fits (whole, any case)."""
        return next((n for n in self.table.column_names if re.fullmatch(pattern, n.strip(), re.IGNORECASE)), None)

    def need(self, pattern: str, meaning: str) -> str:
        """As `find`, or an error.

        Raises:
            ReaderError: If there is none.
        """
        name = self.find(pattern)
        if name is None:
            raise ReaderError(
                f"There is no column of {meaning}", where=self.where, fix="export the file again, unedited"
            )
        return name

    def texts(self, name: str) -> pa.ChunkedArray:
        """The column as it is."""
        return self.table.column(name)

    def where_equal(self, name: str, *words: str) -> "Rows":
        """Rows that hold one of the words in the column."""
        mask = pc.is_in(self.texts(name), value_set=pa.array(words))
        # Most kinds of row are in no file: cutting every column of a table to nothing is not free.
        return self.only(mask) if pc.any(mask).as_py() else Rows(self.table.slice(0, 0), self.where)

    def filled(self, name: str) -> "Rows":
        """Rows that hold anything in the column."""
        return self if self.texts(name).null_count == 0 else self.only(pc.is_valid(self.texts(name)))

    def only(self, mask: pa.ChunkedArray) -> "Rows":
        """Rows where the mask is True."""
        return Rows(self.table.filter(mask), self.where)

    def numbers(self, name: str) -> NDArray[np.float64]:
        """The column as numbers; an empty cell is NaN.

        Raises:
            ReaderError: If a cell holds something else.
        """
        values, beyond = self.readings(name)
        if beyond.any():
            raise self._no_number(name, int((beyond != 0).sum()))
        return values

    def readings(self, name: str) -> tuple[NDArray[np.float64], NDArray[np.int8]]:
        """As `numbers`, where `Low` or `<40` is NaN with -1 beside it, and `High` or `>400` NaN with 1.

        Raises:
            ReaderError: If a cell holds another text.
        """
        column = self.texts(name)
        try:
            values = column.cast(pa.float64()).to_numpy()
            return np.array(values, dtype=np.float64), np.zeros(len(values), dtype=np.int8)
        except pa.ArrowInvalid:
            return self._with_words(name, column)

    def _with_words(self, name: str, column: pa.ChunkedArray) -> tuple[NDArray[np.float64], NDArray[np.int8]]:
        values, beyond, wrong = np.full(len(column), np.nan), np.zeros(len(column), dtype=np.int8), 0
        for row, text in enumerate(column.to_pylist()):
            text = (text or "").strip().strip('"')
            if not text:
                continue
            if _LOW.fullmatch(text):
                beyond[row] = -1
            elif _HIGH.fullmatch(text):
                beyond[row] = 1
            else:
                try:
                    values[row] = float(text.replace(",", ".") if _DECIMAL_COMMA.fullmatch(text) else text)
                except ValueError:
                    wrong += 1
        if wrong:
            raise self._no_number(name, wrong)
        return values, beyond

    def _no_number(self, name: str, count: int) -> ReaderError:
        # Names of columns are the vendor's words up to the unit; what stands in the cells is not shown.
        return ReaderError(
            "A column holds something that is no number",
            where=f"{self.where}, a column of {len(self.table.column_names)}",
            expected="a number or an empty cell",
            got=f"{count} other cell(s)",
            fix="export the file again, unedited",
        )


def read_rows(data: bytes, header: re.Pattern[bytes], *, where: str) -> Rows:
    """The table below the first line that holds the pattern; lines above it are titles and are dropped.

    Raises:
        ReaderError: If there is no such line, or a line has another number of columns.
    """
    data = data.removeprefix(BOM)
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    position = 0
    for _ in range(_HEADER_WITHIN):
        end = data.find(b"\n", position)
        line = data[position : end if end >= 0 else len(data)]
        if header.search(line):
            return _parse(line, data[end + 1 :] if end >= 0 else b"", where)
        if end < 0:
            break
        position = end + 1
    raise ReaderError(
        "There is no header line",
        where=where,
        expected=f"the names of the columns within the first {_HEADER_WITHIN} lines",
        fix="export the file again, unedited",
    )


def _parse(header: bytes, body: bytes, where: str) -> Rows:
    text = header.decode("utf-8", "replace")
    delimiter = max(",;\t", key=text.count)
    names = [name.strip() for name in next(csv.reader([text], delimiter=delimiter))]
    names = [name if names.index(name) == place else f"{name} ({place})" for place, name in enumerate(names)]
    if not body.strip():
        return Rows(pa.table({name: pa.array([], pa.string()) for name in names}), where)
    try:
        table = pacsv.read_csv(
            io.BytesIO(body.rstrip(b"\n") + b"\n"),
            read_options=pacsv.ReadOptions(
                column_names=names, use_threads=False, block_size=max(len(body) + 2, 1 << 20)
            ),
            parse_options=pacsv.ParseOptions(delimiter=delimiter, newlines_in_values=b'"' in body),
            convert_options=pacsv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                strings_can_be_null=True,
                quoted_strings_can_be_null=True,
                null_values=[""],
            ),
        )
    except (pa.ArrowInvalid, pa.ArrowKeyError, UnicodeDecodeError, OverflowError) as error:
        wide = "columns" in str(error)
        raise ReaderError(
            "A line has another number of columns than the header"
            if wide
            else "The table is damaged, or no UTF-8 text",
            where=where,
            expected=f"{len(names)} columns",
            fix="the file may have been cut off or edited; export it again",
        ) from None
    return Rows(table, where)
