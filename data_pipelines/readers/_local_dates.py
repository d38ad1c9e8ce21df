"""Dates of an export in digits -> seconds, without guessing which number is the month."""

import re
from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hdt_fm.schema.errors import ReaderError

Order = Literal["auto", "day_first", "month_first"]
ORDERS: tuple[Order, ...] = ("day_first", "month_first")
_DATE = re.compile(r"\s*(\d{1,4})[-/.](\d{1,2})[-/.](\d{1,4})\s*")
_TIME = re.compile(r"\s*(\d{1,2}):(\d\d)(?::(\d\d)(?:\.(\d{1,6}))?)?\s*([AaPp])?\.?[Mm]?\.?\s*")
_DAY_S = 86_400


def order_of(texts: Iterable[str], given: Order, *, in_a_row: bool, where: str) -> Order:
    """Which comes first in the dates, day or month.

    Decided by a number above 12, else by dates in a row that are days after each other in one reading only.

    Args:
        texts: Every different date of the file, as they follow each other.
        given: What the caller knows, checked against the dates; `auto` looks at them.
        in_a_row: Whether they are those of rows without a gap, so that each is the day after the one before.
        where: For errors.

    Raises:
        ReaderError: If both readings hold, or none does.
    """
    dates = list(texts)
    fitting = [order for order in ORDERS if all(_is_day(text, order) for text in dates)]
    if given in fitting:
        return given
    if len(fitting) == 2 and all(_day(text, "day_first") == _day(text, "month_first") for text in dates):
        return "day_first"
    if given == "auto" and len(fitting) == 2 and in_a_row and len(dates) > 1:
        fitting = [order for order in fitting if _follow(dates, order)] or fitting
    if given == "auto" and len(fitting) == 1:
        return fitting[0]
    raise ReaderError(
        "The order of day and month is not clear" if fitting else "The dates fit neither day/month nor month/day",
        where=where,
        expected=f"dates with the {given.removesuffix('_first')} first"
        if given != "auto"
        else "a day above 12, or several days in a row",
        fix="give the reader dates='day_first' or dates='month_first'" if fitting else "look for a damaged date",
    )


def day_number(text: str, order: Order, *, where: str) -> int:
    """Days since 1970; a four-digit first number is the year.

    Raises:
        ReaderError: If it is no day.
    """
    try:
        return (_day(text, order) - date(1970, 1, 1)).days
    except ValueError:
        raise ReaderError(
            "A date is no day", where=where, expected="day, month and year", fix="look for a damaged line"
        ) from None


def second_of_day(text: str, *, where: str) -> float:
    """Of a clock time with or without seconds and AM or PM.

    Raises:
        ReaderError: If it is no time.
    """
    found = _TIME.fullmatch(text)
    if found is not None:
        hour, minute, second = int(found[1]), int(found[2]), int(found[3] or 0)
        half = (found[5] or "").lower()
        named = not half or 1 <= hour <= 12
        hour = hour % 12 + 12 * (half == "p") if half else hour
        if named and hour < 24 and minute < 60 and second < 60:
            return hour * 3600 + minute * 60 + second + float(f"0.{found[4] or 0}")
    raise ReaderError("A clock time is no time", where=where, expected="such as 15:00:00 or 3:00:00 PM")


def seconds(dates: Sequence[str], times: Sequence[str], order: Order, *, where: str) -> NDArray[np.float64]:
    """Seconds since 1970 of each row, in the clock of the file.

    Raises:
        ReaderError: If one is no date or no time.
    """
    days = {text: _DAY_S * day_number(text, order, where=where) for text in dict.fromkeys(dates)}
    clock = {text: second_of_day(text, where=where) for text in dict.fromkeys(times)}
    return np.array([days[a] + clock[b] for a, b in zip(dates, times, strict=True)], dtype=np.float64)


def _day(text: str, order: str) -> date:
    found = _DATE.fullmatch(text)
    if found is None:
        raise ValueError("no date")
    first, second, third = (int(found[i]) for i in (1, 2, 3))
    if len(found[1]) == 4:
        return date(first, second, third)
    if len(found[3]) not in (2, 4):
        raise ValueError("no year")
    year = third + 2000 if len(found[3]) == 2 else third
    return date(year, second, first) if order == "day_first" else date(year, first, second)


def _is_day(text: str, order: str) -> bool:
    try:
        return 1970 <= _day(text, order).year < 2200
    except ValueError:
        return False


def _follow(dates: list[str], order: str) -> bool:
    days = [_day(text, order) for text in dates]
    return all(after - before == timedelta(days=1) for before, after in pairwise(days))
