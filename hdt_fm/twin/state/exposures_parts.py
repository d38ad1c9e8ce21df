"""What a dose is made of, by the age of days: exact, from the days that a twin keeps and what its accumulators hold.

A dose is a mean of all days that were known, whose weights fade back in time. The newest days are kept, so their weight
is summed; what is older than all days that are kept is what the accumulators hold beyond these.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from hdt_fm.twin.state.exposures import Exposed

AGES = ("last_day", "six_days_before", "older")
_FROM = (0, 1, 7)
# Of the whole mass: less than that beyond the days that are kept is the rounding of two sums.
_NOTHING = 1e-12


@dataclass(frozen=True)
class ByAge:
    """Of one dose; NaN where nothing was ever known.

    Attributes:
        weight: Shares, which add up to 1.
        value: Weight times the mean of these days, in the unit of the exposure; they add up to the dose.
    """

    weight: Float[np.ndarray, " age"]
    value: Float[np.ndarray, " age"]


def by_age(one: Exposed, day: int, tau: float, total: float, mass: float) -> ByAge:
    """The dose at the end of a day, cut as `AGES` has it; the last day is that one.

    Args:
        day: The exposure's newest one or later; those between are not known.
        tau: Time constant, in days.
        total, mass: What the accumulator holds of the days that are closed.
    """
    ahead = day - one.day
    levels = np.concatenate([np.full(ahead, np.nan), [one.value], one.days[::-1]])
    left = -np.expm1(-1 / tau) * np.exp(-np.arange(len(levels)) / tau)
    masses = np.where(np.isfinite(levels), left, 0.0)
    totals = masses * np.nan_to_num(levels)
    faded, closed = np.exp(-(ahead + 1) / tau), slice(ahead + 1, None)
    beyond = mass * faded - masses[closed].sum()
    beyond_total = total * faded - totals[closed].sum()
    if abs(beyond) <= _NOTHING * mass * faded:
        beyond, beyond_total = 0.0, 0.0
    weight, value = _cut(masses, beyond), _cut(totals, beyond_total)
    whole = weight.sum()
    if not whole > 0:
        return ByAge(np.full(len(AGES), np.nan), np.full(len(AGES), np.nan))
    return ByAge(weight / whole, value / whole)


def held_for(one: Exposed, whose: str, place: int) -> tuple[float, float]:
    """Total and mass of one time constant, as accumulators of that name wrote them; 0 where they wrote nothing."""
    arrays = [one.held.get(f"{whose}_{name}", np.zeros(0)).ravel() for name in ("total", "mass")]
    total, mass = (float(array[place]) if len(array) else 0.0 for array in arrays)
    return total, mass


def added_up(parts: Float[np.ndarray, " part"], total: float) -> list[float]:
    """Parts with seven digits, so that rounding of sums shows in no answer; the largest takes what that leaves over.

    So they add up to the total as it is told, which has seven digits too.
    """
    found = [float(f"{one:.7g}") + 0.0 for one in parts.tolist()]
    largest = int(np.argmax(np.abs(found)))
    others = math.fsum(one for place, one in enumerate(found) if place != largest)
    found[largest] = float(f"{total - others:.12g}")
    return found


def _cut(of_days: Float[np.ndarray, " day"], beyond: float) -> Float[np.ndarray, " age"]:
    """Sums by age; days run back in time."""
    ends = (*_FROM[1:], len(of_days))
    found = np.array([of_days[first:until].sum() for first, until in zip(_FROM, ends, strict=True)])
    found[-1] += beyond
    return found
