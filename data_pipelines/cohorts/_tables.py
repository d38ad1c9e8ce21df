"""CSV and Excel tables of a cohort as columns, with the columns that must be there."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from data_pipelines.readers._files import read_bytes, whole_workbook
from hdt_fm.schema.errors import ReaderError


def csv_table(path: Path, *, needs: Sequence[str] = (), where: str) -> pd.DataFrame:
    """All cells as text, empty ones as `""`; the path may end in `.gz`.

    Args:
        where: What the file is called in errors: its name is often a person's id.

    Raises:
        ReaderError: If it is no table, or lacks a column.
    """
    data = read_bytes(path)
    try:
        frame = pd.read_csv(io.BytesIO(data), dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (ValueError, UnicodeDecodeError) as error:
        raise ReaderError("The table cannot be read", where=where, got=type(error).__name__) from None
    return with_columns(frame, needs, where)


def sheet(path: Path, *, needs: Sequence[str] = (), where: str) -> pd.DataFrame:
    """The first sheet of an .xls or .xlsx file, cells as they are.

    Raises:
        ReaderError: If it is no workbook, unpacks to far more than one, or lacks a column.
    """
    data = whole_workbook(read_bytes(path))
    try:
        frame = pd.read_excel(io.BytesIO(data), engine="calamine")
    # Whatever the library trips over in a damaged workbook, it is the file's fault; its text may hold a cell.
    except Exception as error:
        raise ReaderError("The workbook cannot be read", where=where, got=type(error).__name__) from None
    return with_columns(frame, needs, where)


def numbers(column: Any, *, where: str) -> NDArray[np.float64]:
    """A column of texts as numbers; an empty cell is NaN.

    Raises:
        ReaderError: If a cell holds another word.
    """
    cells = pd.Series(column)
    values = pd.to_numeric(cells, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    filled = cells.notna() & ~cells.astype("string").str.strip().str.lower().isin(("", "nan"))
    wrong = int((np.isnan(values) & filled.to_numpy()).sum())
    if wrong:
        raise ReaderError(
            "A column holds something that is no number",
            where=where,
            expected="a number or an empty cell",
            got=f"{wrong} other cell(s)",
            fix="take the files as they were published",
        )
    return values


def with_columns(frame: pd.DataFrame, needs: Sequence[str], where: str) -> pd.DataFrame:
    """The same table.

    Raises:
        ReaderError: If a column is missing.
    """
    missing = [name for name in needs if name not in frame.columns]
    if missing:
        raise ReaderError(
            "The table lacks a column", where=where, expected=", ".join(missing), fix="take the files as published"
        )
    return frame
