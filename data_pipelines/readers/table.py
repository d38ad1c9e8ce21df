"""Any CSV, Parquet or HDF5 table, explained by a mapping beside it."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from data_pipelines.readers._clock import Order, local_ns
from data_pipelines.readers._files import MAX_BYTES, read_bytes
from data_pipelines.readers._grid import median_rate, place
from data_pipelines.readers._hdf5 import read_hdf5
from data_pipelines.readers._mapping import SUFFIXES, LabelColumns, Mapping, TimeColumn, mapped_tables, read_mapping
from data_pipelines.readers._numbers import header_words, parse_csv
from data_pipelines.readers._recordings import check_rate, make_recording, seconds_to_ns
from hdt_fm.schema.errors import ReaderError
from hdt_fm.schema.recording import NS_PER_S, LabelTrack, Recording, Visit

_SAY = "say day_first: true or false, or format (in the signs of strptime), under `time` in the mapping"
_SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}


class Table:
    """Reads a table, or a folder of tables of one visit, by a mapping.

    Format: .csv, .tsv (also .gz) or .parquet with one row a sample and a header line, or .h5, .hdf5 in which each
        column is a dataset; the mapping is `<name>.yaml` beside `<name>.csv`, or is passed
        (data_pipelines/readers/README.md has every key).
    Units: As the mapping says, any of the modality's table.
    Lossy: Columns that are not mapped; the second of two samples at one place of the grid (at most 1 %); samples
        are moved to the nearest place of a uniform grid, half a period at most.

    Args:
        mapping: Path of a YAML file or its content; None looks beside the table.
    """

    def __init__(self, mapping: str | dict[str, Any] | None = None) -> None:
        self._mapping = mapping

    @staticmethod
    def detect(path: Path) -> bool:
        """Whether it is a table with a mapping beside it, or a folder of such."""
        return bool(mapped_tables(path))

    def read(self, path: Path, *, subject: str) -> Visit:
        """Read every mapped column.

        Raises:
            ConfigError: If the mapping is missing or malformed, or names an unknown modality.
            ReaderError: If a column is missing, holds text, or the times do not rise.
            UnitError: If values cannot be in the mapping's unit.
        """
        tables = [path] if self._mapping is not None and path.is_file() else mapped_tables(path)
        if not tables:
            raise ReaderError(
                "There is no table with a mapping here",
                expected=f"a file ending in {', '.join(SUFFIXES)} and a .yaml of the same name beside it",
                fix="write the mapping (data_pipelines/readers/README.md)",
            )
        recordings: dict[str, Recording] = {}
        labels: dict[str, LabelTrack] = {}
        for table in tables:
            found, tracks = _read_table(table, read_mapping(table, self._mapping), subject)
            twice = sorted({*recordings} & {*found} | {*labels} & {*tracks})
            if twice:
                raise ReaderError("Two tables of one visit hold the same thing", got=", ".join(twice))
            recordings |= found
            labels |= tracks
        return Visit(subject=subject, recordings=recordings, labels=labels, source="table")


def _read_table(path: Path, mapping: Mapping, subject: str) -> tuple[dict[str, Recording], dict[str, LabelTrack]]:
    table = _load(path, mapping)
    times = _times(table, mapping)
    rate = mapping.sampling_rate_hz
    if rate is not None:
        check_rate(rate, where="mapping.sampling_rate_hz")
    if times is None:
        assert rate is not None
        start_ns = _start_ns(mapping)
        times = np.arange(table.num_rows) / rate
        begins = start_ns + np.rint(times * NS_PER_S).astype(np.int64)
    else:
        measured = median_rate(times, where="time column")
        rate = rate or measured
        start_ns = seconds_to_ns(times[0], where="time column")
        begins = np.rint(times * 1e6).astype(np.int64) * 1000
    labels = {name: _label(table, name, label, begins, rate) for name, label in mapping.labels.items()}
    recordings = {}
    for name, signal in mapping.signals.items():
        # A channel's samples side by side, seen as (time, channel).
        columns = np.stack([_numbers(table, column) for column in signal.columns]).T
        if mapping.missing:
            columns[np.isin(columns, mapping.missing)] = np.nan
        recordings[name] = make_recording(
            place(times, columns, rate, where="time column").T if len(times) else columns.T,
            modality=name,
            unit=signal.unit,
            channels=signal.columns,
            sampling_rate_hz=rate,
            start_ns=start_ns,
            subject=subject,
            device=mapping.device,
            body_site=mapping.body_site,
            where=f"columns {', '.join(signal.columns)}",
            utc_offset_s=mapping.utc_offset_s,
        )
    return recordings, labels


def _load(path: Path, mapping: Mapping) -> pa.Table:
    numbers = [column for signal in mapping.signals.values() for column in signal.columns]
    texts = [label.column for label in mapping.labels.values() if label.kind == "class"]
    if mapping.time is not None:
        (texts if mapping.time.unit in ("iso", "date") else numbers).append(mapping.time.column)
    numbers += [label.column for label in mapping.labels.values() if label.kind != "class"]
    if path.suffix == ".parquet":
        table = _parquet(path)
    elif path.suffix in (".h5", ".hdf5"):
        table = read_hdf5(path, numbers=numbers, texts=texts)
    else:
        types = dict.fromkeys(numbers, pa.float64()) | dict.fromkeys(texts, pa.string())
        delimiter = "\t" if ".tsv" in path.name else ","
        table = parse_csv(read_bytes(path), where="table", types=types, delimiter=delimiter)
    for column in (*numbers, *texts):
        if column not in table.column_names:
            raise ReaderError(
                "A column of the mapping is not in the table",
                where=column,
                expected=header_words(table.column_names),
                fix="correct the column's name in the mapping",
            )
    if table.num_rows == 0:
        raise ReaderError("The table has no rows", fix="leave this recording out, or export it again")
    return table


def _parquet(path: Path) -> pa.Table:
    try:
        file = pq.ParquetFile(path)
        size = sum(file.metadata.row_group(i).total_byte_size for i in range(file.metadata.num_row_groups))
        if size <= MAX_BYTES:
            return file.read(use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise ReaderError(
            "The Parquet file is truncated or damaged", got=type(error).__name__, fix="copy the file again"
        ) from None
    raise ReaderError("The table is too large to be one recording", expected=f"at most {MAX_BYTES} bytes unpacked")


def _numbers(table: pa.Table, column: str) -> NDArray[np.float64]:
    try:
        return table.column(column).cast(pa.float64()).to_numpy().astype(np.float64, copy=False)
    except pa.ArrowException:
        raise ReaderError("A column holds something that is no number", where=column) from None


def _times(table: pa.Table, mapping: Mapping) -> NDArray[np.float64] | None:
    """UTC seconds since 1970."""
    if mapping.time is None:
        return None
    if mapping.time.unit in _SECONDS:
        return _numbers(table, mapping.time.column) * _SECONDS[mapping.time.unit]
    column, where = table.column(mapping.time.column).to_pandas(), f"column {mapping.time.column}"
    offset = mapping.utc_offset_s or 0
    if mapping.time.unit == "date":
        return _local_seconds(column.astype("string"), mapping.time, where) - offset
    return _utc_seconds(column, offset, where=where)


def _local_seconds(column: pd.Series, clock: TimeColumn, where: str) -> NDArray[np.float64]:
    """Dates as people write them; those of a named form are read by its signs alone."""
    if not clock.format:
        order: Order = "auto" if clock.day_first is None else "day_first" if clock.day_first else "month_first"
        return local_ns(column.tolist(), where=where, order=order, strict=True, fix=_SAY) / NS_PER_S
    try:
        moments = pd.to_datetime(column.str.strip(), format=clock.format)
        if moments.dt.tz is not None or moments.isna().any():
            raise ValueError
        return moments.dt.as_unit("ns").astype("int64").to_numpy() / NS_PER_S
    except (ValueError, TypeError, OverflowError, AttributeError):
        raise ReaderError(
            "A time is missing or has another form",
            where=where,
            expected="dates of the form that the mapping names",
            fix="correct `format` under `time` in the mapping",
        ) from None


def _utc_seconds(column: pd.Series, utc_offset_s: int, where: str) -> NDArray[np.float64]:
    try:
        moments = pd.to_datetime(column, utc=True, format="ISO8601")
        first = pd.Timestamp(column.iloc[0])
    except (ValueError, TypeError):
        raise ReaderError(
            "A time is not ISO 8601",
            where=where,
            expected="such as 2026-03-05T09:30:00Z",
            fix="if it is a date such as 05/03/2026 9:30 PM, say `unit: date` in the mapping",
        ) from None
    if moments.isna().any():
        raise ReaderError("A time is missing", where=where, expected="a time in every row")
    seconds = moments.dt.as_unit("ns").astype("int64").to_numpy() / NS_PER_S
    return seconds - (utc_offset_s if first.tzinfo is None else 0)


def _start_ns(mapping: Mapping) -> int:
    if isinstance(mapping.start, str):
        return seconds_to_ns(
            float(_utc_seconds(pd.Series([mapping.start]), mapping.utc_offset_s or 0, where="mapping.start")[0]),
            where="mapping.start",
        )
    return seconds_to_ns(mapping.start, where="mapping.start")


def _label(table: pa.Table, name: str, source: LabelColumns, begins: NDArray[np.int64], rate: float) -> LabelTrack:
    period = round(NS_PER_S / rate)
    if source.kind == "class":
        texts = [None if text is None else str(text).strip() for text in table.column(source.column).to_pylist()]
        unknown = sorted({text for text in texts if text} - {*source.classes})
        if unknown:
            raise ReaderError(
                "The table holds a class that the mapping does not name",
                where=source.column,
                expected=", ".join(source.classes),
                got=f"{len(unknown)} other",
                fix=f"list every class under labels.{name}.classes",
            )
        values = np.array([source.classes.index(text) if text else np.nan for text in texts], dtype=np.float64)
    else:
        values = _numbers(table, source.column)
    known = np.isfinite(values)
    starts, values = begins[known], values[known]
    ends = starts if source.kind == "event" else starts + period
    return LabelTrack(name, source.kind, starts, ends, values, classes=source.classes, unit=source.unit)
