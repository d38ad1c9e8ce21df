"""Dates as vendors write them -> seconds since 1970: day or month first, 12-hour clocks, with an offset or without."""

import re
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hdt_fm.schema.errors import ReaderError
from hdt_fm.schema.recording import NS_PER_S

Order = Literal["auto", "day_first", "month_first"]
Texts: TypeAlias = Sequence[str] | Any

_DAY_S = 86_400
_NS_DIGITS = 9
_MOMENT = re.compile(
    r"\s*(\d{1,4})([-/.])(\d{1,2})\2(\d{2,4})(?:(?:[ T]+|, ?)(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?)?\s*"
    r"([AaPp])?\.?(?:(?<=[AaPp])[Mm]\.?|(?<=[AaPp]\.)[Mm]\.?)?(?:Z|\+00:?00)?\s*"
)
_SIGN, _NUMBERS, _FRACTION, _HALF = 2, (1, 3, 4, 5, 6, 7), 8, 9
SAY = "say which it is: dates='day_first' or dates='month_first'"
_DAYS_IN_MONTH = np.array([31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])
_WITH_OFFSET = "0000-00-00 00:00:00 +0000"
_DIGITS = np.array([c == "0" for c in _WITH_OFFSET])
_LITERALS = ~_DIGITS & (np.arange(len(_WITH_OFFSET)) != 20)
_LITERALS_ARE = np.frombuffer(_WITH_OFFSET.encode(), dtype=np.uint8)[_LITERALS]


def _places() -> NDArray[np.float32]:
    """(character, field): what a digit counts in year, month, day, hour, minute, second, minutes of the offset."""
    table = np.zeros((len(_WITH_OFFSET), 7), dtype=np.float32)
    for field, (begin, end) in enumerate(((0, 4), (5, 7), (8, 10), (11, 13), (14, 16), (17, 19))):
        table[begin:end, field] = 10.0 ** np.arange(end - begin - 1, -1, -1)
    table[21:25, 6] = (600, 60, 10, 1)
    return table


_PLACES = _places()


def local_seconds(
    texts: Texts, *, where: str, order: Order = "auto", strict: bool = False, fix: str = SAY
) -> NDArray[np.int64]:
    """What a wall clock showed, as seconds since 1970 on that same clock; fractions of a second are cut off.

    Args:
        texts: Dates with or without a time of day, in any of the forms of `_MOMENT`.
        where: For errors.
        order: What is known of `03/04/2021`. With `auto` it is told from the whole column: by a number above 12, or
            else by which reading makes the days follow one another.
        strict: Refuse a column of two forms, and do not go by days that follow one another: for tables that nobody
            knows, and for dates that are not those of rows.
        fix: What to do where day and month cannot be told apart.

    Raises:
        ReaderError: If a text is no date, no such date exists, or day and month cannot be told apart.
    """
    return local_ns(texts, where=where, order=order, strict=strict, fix=fix) // NS_PER_S


def local_ns(
    texts: Texts, *, where: str, order: Order = "auto", strict: bool = False, fix: str = SAY
) -> NDArray[np.int64]:
    """As `local_seconds`, in nanoseconds and with fractions of a second."""
    fields = _fields(texts, where, strict)
    if len(fields) == 0:
        return np.empty(0, dtype=np.int64)
    if fields[0, 0] > 31:
        year, month, day = fields[:, 0], fields[:, 1], fields[:, 2]
    else:
        day_first = _day_first(fields, order, where, strict, fix)
        month, day = (fields[:, 1], fields[:, 0]) if day_first else (fields[:, 0], fields[:, 1])
        year = fields[:, 2]
        year = year + np.where(year >= 100, 0, np.where(year >= 69, 1900, 2000))
    hour, half = fields[:, 3], fields[:, 6]
    wrong = (half > 0) & ((hour < 1) | (hour > 12))
    hour = np.where(half > 0, hour % 12 + 12 * (half == 2), hour)
    wrong |= (hour > 23) | (fields[:, 4] > 59) | (fields[:, 5] > 60)
    seconds = _days(year, month, day, wrong, where) * _DAY_S + hour * 3600 + fields[:, 4] * 60 + fields[:, 5]
    return seconds * NS_PER_S + fields[:, 7]


def local_to_utc_ns(seconds: NDArray[np.int64], utc_offset_s: int | None) -> NDArray[np.int64]:
    """A wall clock's seconds as UTC nanoseconds; without an offset the wall clock is taken as UTC."""
    return (seconds - (utc_offset_s or 0)) * NS_PER_S


def seconds_with_offset(texts: Sequence[str], *, where: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """`2026-03-05 09:30:00 +0100` -> UTC seconds, and the offset in seconds.

    Raises:
        ReaderError: If a text has another form, or no such date exists.
    """
    width = len(_WITH_OFFSET)
    joined = "".join(texts).encode("ascii", "replace")
    if len(joined) != width * len(texts):
        raise _no_date(where, "every time such as 2026-03-05 09:30:00 +0100")
    rows = np.frombuffer(joined, dtype=np.uint8).reshape(-1, width)
    numbers = rows - np.uint8(48)
    signs = rows[:, 20]
    if (
        (numbers[:, _DIGITS] > 9).any()
        or (rows[:, _LITERALS] != _LITERALS_ARE).any()
        or not ((signs == 43) | (signs == 45)).all()
    ):
        raise _no_date(where, "every time such as 2026-03-05 09:30:00 +0100")
    fields = (numbers.astype(np.float32) @ _PLACES).astype(np.int64).T
    year, month, day, hour, minute, second, zone = fields
    offset = np.where(signs == 45, -zone, zone) * 60
    wrong = (hour > 23) | (minute > 59) | (second > 60) | (zone > 14 * 60)
    local = _days(year, month, day, wrong, where) * _DAY_S + hour * 3600 + minute * 60 + second
    return local - offset, offset


def _fields(texts: Texts, where: str, strict: bool) -> NDArray[np.int64]:
    """(text, [three parts of the date, hour, minute, second, 0 for 24 hours, 1 for am or 2 for pm, nanoseconds])."""
    if not isinstance(texts, pa.Array | pa.ChunkedArray):
        texts = list(texts)
        if texts and all(isinstance(text, str) for text in texts):
            texts = pa.array([text if text.isascii() else None for text in texts], pa.string())
    found = _fields_of_one_width(texts)
    if found is not None:
        return found
    rows, forms = [], set()
    for text in texts.to_pylist() if isinstance(texts, pa.Array | pa.ChunkedArray) else texts:
        match = _MOMENT.fullmatch(text) if isinstance(text, str) and len(text) < 64 else None
        if match is not None:
            forms.add((match[_SIGN], match[5] is None, match[_HALF] is None))
        if match is None or (strict and len(forms) > 1):
            raise _no_date(where, "dates of one form, such as 2026-03-05T09:30:00 or 03/05/2026 9:30 AM")
        half = " ap".index((match[_HALF] or " ").lower())
        rows.append([*(int(match[place] or 0) for place in _NUMBERS), half, _nanoseconds(match[_FRACTION])])
    return np.array(rows, dtype=np.int64).reshape(-1, 8)


def _nanoseconds(digits: str | None) -> int:
    return int((digits or "0").ljust(_NS_DIGITS, "0"))


def _fields_of_one_width(texts: Texts) -> NDArray[np.int64] | None:
    """The same for a column in which all texts are laid out as the first, without a loop over texts."""
    if not isinstance(texts, pa.Array | pa.ChunkedArray) or len(texts) == 0 or texts.null_count:
        return None
    column = texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
    if not pa.types.is_string(column.type):
        return None
    offsets = np.frombuffer(column.buffers()[1], dtype=np.int32)[column.offset : column.offset + len(column) + 1]
    width = int(offsets[1] - offsets[0])
    match = _MOMENT.fullmatch(column[0].as_py()) if 0 < width < 64 else None
    if match is None or (np.diff(offsets) != width).any():
        return None
    raw = np.frombuffer(column.buffers()[2], dtype=np.uint8)[offsets[0] : offsets[-1]].reshape(-1, width)
    fields = np.zeros((len(raw), 8), dtype=np.int64)
    literal = np.ones(width, dtype=np.bool_)
    for field, place in zip((0, 1, 2, 3, 4, 5, 7), (*_NUMBERS, _FRACTION), strict=True):
        begin, end = match.span(place)
        if begin < 0:
            continue
        numbers = raw[:, begin:end] - np.uint8(48)
        if (numbers > 9).any():
            return None
        fields[:, field] = numbers.astype(np.int64) @ (10 ** np.arange(end - begin - 1, -1, -1))
        literal[begin:end] = False
    if match[_FRACTION]:
        fields[:, 7] *= 10 ** (_NS_DIGITS - len(match[_FRACTION]))
    if match[_HALF]:
        half = raw[:, match.start(_HALF)] | 0x20
        if not np.isin(half, (97, 112)).all():
            return None
        fields[:, 6] = np.where(half == 97, 1, 2)
        literal[match.start(_HALF)] = False
    return fields if (raw[:, literal] == raw[0, literal]).all() else None


def _day_first(fields: NDArray[np.int64], order: Order, where: str, strict: bool, fix: str) -> bool:
    past = bool((fields[:, 0] > 12).any()), bool((fields[:, 1] > 12).any())
    if all(past):
        raise ReaderError(
            "The dates have numbers past twelve in both places",
            where=where,
            got="both above 12",
            fix="look for a damaged date",
        )
    if order != "auto":
        if past[order == "day_first"]:
            raise ReaderError(
                "A date has another form than the given order of day and month",
                where=where,
                expected=f"dates with the {order.removesuffix('_first')} first",
                fix="look for a damaged date, or give the other order",
            )
        return order == "day_first"
    if any(past) or (fields[:, 0] == fields[:, 1]).all():
        return past[0]
    # All numbers up to 12: in the right reading a day is followed by the next, in the other by one a month away.
    by_day, by_month = (not strict and _days_that_follow(fields, first) for first in (True, False))
    if by_day == by_month:
        raise ReaderError(
            "The dates could be two days: the order of day and month is not clear",
            where=where,
            expected="a date past the 12th" + ("" if strict else ", or days that follow one another"),
            fix=fix,
        )
    return by_day


def _days_that_follow(fields: NDArray[np.int64], day_first: bool) -> bool:
    day, month = (fields[:, 0], fields[:, 1]) if day_first else (fields[:, 1], fields[:, 0])
    if (month < 1).any() or (month > 12).any() or (day < 1).any():
        return False
    days = np.unique(_civil(fields[:, 2], month, day))
    return len(days) > 1 and int((np.diff(days) == 1).sum()) * 2 > len(days) - 1


def _days(
    year: NDArray[np.int64], month: NDArray[np.int64], day: NDArray[np.int64], wrong: NDArray[np.bool_], where: str
) -> NDArray[np.int64]:
    wrong = wrong | (year < 1900) | (year > 2200) | (month < 1) | (month > 12)
    leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    last = _DAYS_IN_MONTH[np.clip(month, 1, 12) - 1] - ((month == 2) & ~leap)
    wrong |= (day < 1) | (day > last)
    if wrong.any():
        raise _no_date(where, "dates and times of day that exist, from 1900 to 2200", f"{int(wrong.sum())} other(s)")
    return _civil(year, month, day)


def _civil(year: NDArray[np.int64], month: NDArray[np.int64], day: NDArray[np.int64]) -> NDArray[np.int64]:
    """Days since 1970 in the Gregorian calendar, counted in years that begin in March."""
    years = year - (month <= 2)
    of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    return 365 * years + years // 4 - years // 100 + years // 400 + of_year - 719_468


def _no_date(where: str, expected: str, got: str | None = None) -> ReaderError:
    return ReaderError(
        "A time is missing or has another form", where=where, expected=expected, got=got, fix="export the file again"
    )
