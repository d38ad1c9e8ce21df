"""What people eat and inject, minute by minute, and what no table of it may hold."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64

from hdt_fm.schema.errors import ConfigError, ShapeError, UnitError

# Nobody injects or eats more at once; a number above is one in another unit (mU, hundredths of a unit, mg).
MOST_UNITS, MOST_GRAMS = 100.0, 500.0
MOST_UNITS_PER_HOUR = 20.0
# By unit: the most, and what a number above it probably is.
_LIMITS = {
    "U": (MOST_UNITS, "give units (U), not mU or hundredths of a unit"),
    "g": (MOST_GRAMS, "give grams of carbohydrate, not mg"),
    "U/h": (MOST_UNITS_PER_HOUR, "give units per hour, not per day"),
}


def checked_amounts(amounts: np.ndarray, unit: str, *, where: str) -> np.ndarray:
    """The same as float64.

    Args:
        amounts: Of any shape, 0 where nothing was taken.
        unit: "U", "g" or "U/h".
        where: For the message.

    Raises:
        ConfigError: If an amount is negative, infinite or no number.
        UnitError: If it is above what anybody takes, so that the unit must be another.
    """
    values = np.asarray(amounts, dtype=np.float64)
    if not np.isfinite(values).all():
        fix = "put 0 where nothing was taken, and leave people out of whom it is not known"
        raise ConfigError("An amount is no number", expected="finite amounts", where=where, fix=fix)
    if (values < 0).any():
        raise ConfigError("An amount is negative", expected="0 or more", where=where, fix="drop corrections of the log")
    most, fix = _LIMITS[unit]
    if (values > most).any():
        raise UnitError(
            "An amount is above what anybody takes", expected=f"at most {most:g} {unit}", where=where, fix=fix
        )
    return values


def checked_table(amounts: np.ndarray, unit: str, *, people: int, minutes: int | None = None, where: str) -> np.ndarray:
    """As `checked_amounts`, of a table (person, minute).

    Raises:
        ShapeError: If it has another shape.
    """
    values = checked_amounts(amounts, unit, where=where)
    if values.ndim != 2 or values.shape[0] != people or values.shape[1] != (minutes or values.shape[1]):
        expected = f"({people}, {minutes if minutes is not None else 'minutes'})"
        fix = "a row per person, a column per minute; the same minutes for meals and insulin"
        raise ShapeError(
            "A table of amounts does not fit", expected=expected, got=str(values.shape), where=where, fix=fix
        )
    return values


def schedule(
    person: Sequence[int] | np.ndarray,
    minute: Sequence[int] | np.ndarray,
    amount: Sequence[float] | np.ndarray,
    *,
    unit: str,
    people: int,
    minutes: int,
    now: int = 0,
) -> Float64[np.ndarray, "person minute"]:
    """Single meals or doses as a table that `simulate` takes; what falls into the same minute adds up.

    Args:
        person: Row of each.
        minute: On the clock of the run, from `now` on.
        amount: Of each, in `unit`.
        unit: "U" or "g".
        people, minutes: Size of the table; its first column is the minute `now`.
        now: Where the plan starts.

    Raises:
        ShapeError: If the three differ in length.
        ConfigError: If one lies in the past or after the end, a row is nobody's, or an amount is none.
        UnitError: If an amount must be in another unit.
    """
    where = f"schedule of {unit}"
    rows, at = np.asarray(person, dtype=np.int64), np.asarray(minute, dtype=np.int64)
    values = checked_amounts(np.asarray(amount), unit, where=where)
    if not (rows.shape == at.shape == values.shape and rows.ndim == 1):
        raise ShapeError("A plan's columns differ in length", where=where, expected="one of each per meal or dose")
    if (at < now).any():
        fix = "plan from now on; what was taken before belongs into the history"
        raise ConfigError("The plan lies in the past", expected="minutes from now on", where=where, fix=fix)
    if (at >= now + minutes).any():
        raise ConfigError("The plan goes on after the end", expected=f"within {minutes} minutes", where=where)
    if ((rows < 0) | (rows >= people)).any():
        raise ConfigError("A row of the plan is nobody's", expected=f"0 to {people - 1}", where=where)
    table = np.zeros((people, minutes))
    np.add.at(table, (rows, at - now), values)
    return checked_amounts(table, unit, where=where)
