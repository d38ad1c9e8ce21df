"""JSON of apps and records: bounded, and read without a surprise."""

import json
import math
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from data_pipelines.readers._exports import BOM
from hdt_fm.schema.errors import ReaderError
from hdt_fm.schema.recording import NS_PER_S

# Python needs about ten times the size of the text.
MAX_JSON_BYTES = 1 << 28


def load(data: bytes, *, where: str) -> Any:
    """The document.

    Raises:
        ReaderError: If it is too large, too deep, cut off, or no JSON.
    """
    if len(data) > MAX_JSON_BYTES:
        raise ReaderError(
            "The JSON is too large to be read at once",
            where=where,
            expected=f"at most {MAX_JSON_BYTES} bytes",
            fix="split it, or export it as NDJSON",
        )
    try:
        return json.loads(data.removeprefix(BOM), parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise ReaderError(
            "The file is not whole JSON",
            where=where,
            expected="one JSON document in UTF-8",
            fix="the file may be cut off; export it again",
        ) from None


def documents(data: bytes, *, where: str) -> Iterator[Any]:
    """The document, or each line of NDJSON.

    Raises:
        ReaderError: If it, or a line, is not whole JSON.
    """
    data = data.removeprefix(BOM)
    first = data.lstrip().split(b"\n", 1)
    if len(first) == 2 and first[1].strip() and _is_whole(first[0]):
        for number, line in enumerate(data.split(b"\n"), start=1):
            if line.strip():
                yield load(line, where=f"{where}, line {number}")
    else:
        yield load(data, where=where)


def number(value: Any) -> float:
    """A JSON number, or a text that is one, as a float; NaN for anything else."""
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float | str)
        or (isinstance(value, str) and len(value) > 64)
    ):
        return math.nan
    try:
        made = float(value)
    except (ValueError, OverflowError):
        return math.nan
    return made if math.isfinite(made) else math.nan


def texts(value: Any, *keys: str) -> str:
    """A text below mappings; empty if there is none."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, str) else ""


def items(value: Any, key: str | None = None) -> list[Any]:
    """A list, or that below a key; empty if there is none."""
    found = value.get(key) if key is not None and isinstance(value, dict) else value
    return found if isinstance(found, list) else []


def iso_ns(text: str, *, where: str) -> tuple[int, int | None]:
    """ISO 8601 -> UTC nanoseconds, and the offset in seconds (None if it has none; then it is taken as UTC).

    Raises:
        ReaderError: If it is no date and time from 1900 to 2200.
    """
    try:
        moment = datetime.fromisoformat(text) if 10 <= len(text) < 40 else None
    except ValueError:
        moment = None
    if moment is None or not 1900 < moment.year < 2200:
        raise ReaderError(
            "A time is missing or has another form",
            where=where,
            expected="ISO 8601 such as 2026-03-05T09:30:00+01:00",
            fix="correct it where the file was made",
        )
    offset = moment.utcoffset()
    since = (moment if offset is not None else moment.replace(tzinfo=UTC)) - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * NS_PER_S + since.microseconds * 1000, (
        None if offset is None else round(offset.total_seconds())
    )


def _is_whole(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _no_number(word: str) -> float:
    raise ValueError(word)
