"""A head that answers plans, trained: first its law, by what doses and meals did; then its decoder, by the rest.

The rest is what came less the law's effect of what was taken, with numbers of a person that come from another half of
their record, as for somebody who is asked: so the decoder learns with numbers that did not see the readings they are
judged by.
"""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from hdt_fm.schema.lives import STEP_MINUTES, Lives, Plans
from hdt_fm.schema.what_if import PLANNED_MIN


@runtime_checkable
class PlayedLaw(Protocol):
    """A law of doses and meals that can be played for people, with numbers of their own."""

    minutes: tuple[int, ...]

    def own(self, taught: Lives, people: Int[np.ndarray, " person"]) -> Any:
        """Numbers of these people, which `take(rows)` picks."""
        ...

    def courses(self, numbers: Any, own: Lives, plans: Plans) -> Float[np.ndarray, "moment plan minute"]:
        """Under each plan, not cut; numbers are of each life's person."""
        ...


@dataclass(frozen=True)
class Halves:
    """Lives with the readings of their first half alone, the same with those of their second, and where it begins.

    Doses stand in both: what is on board is no reading.
    """

    first: Lives
    second: Lives
    middle: Int[np.ndarray, " life"]


def in_two(lives: Lives) -> Halves:
    """Every life parted where half of its readings are known."""
    known = np.isfinite(lives.glucose_mg_dl)
    upto = np.cumsum(known, axis=1)
    middle = np.argmax(upto >= (upto[:, -1:] + 1) // 2, axis=1) + 1
    late = np.arange(known.shape[1]) >= middle[:, None]
    first, second = (
        Lives(**{**vars(lives), "glucose_mg_dl": np.where(hidden, np.nan, lives.glucose_mg_dl)})
        for hidden in (late, ~late)
    )
    return Halves(first, second, middle)


@dataclass(frozen=True)
class Done:
    """The law's courses after moments, mg/dL, not cut: under what was taken soon, and had nothing been taken."""

    course: Float[np.ndarray, "moment minute"]
    nothing: Float[np.ndarray, "moment minute"]

    @property
    def effect(self) -> Float[np.ndarray, "moment minute"]:
        """Of what was taken soon."""
        out: np.ndarray = self.course - self.nothing
        return out


def done_after(
    law: PlayedLaw,
    numbers: Any,
    lives: Lives,
    life: Int[np.ndarray, " moment"],
    time: Int[np.ndarray, " moment"],
) -> Done:
    """After moments of lives, under what was taken within `PLANNED_MIN`.

    Args:
        numbers: Of each life's person.
    """
    steps = PLANNED_MIN // STEP_MINUTES
    last = lives.glucose_mg_dl.shape[1] - 1
    ahead = time[:, None] + np.arange(steps)
    units, grams = (
        np.where(ahead <= last, table[life[:, None], ahead.clip(max=last)], 0.0)
        for table in (lives.bolus_units, lives.carbs_g)
    )
    units, grams = (np.stack([taken, np.zeros_like(taken)], axis=1) for taken in (units, grams))
    plans = Plans(life=life, time=time, units=units, grams=grams, contrasts=(), minutes=law.minutes)
    found = law.courses(numbers, lives, plans)
    return Done(found[:, 0], found[:, 1])


def done_with_the_other_half(
    law: PlayedLaw,
    halves: Halves,
    life: Int[np.ndarray, " moment"],
    time: Int[np.ndarray, " moment"],
) -> Done:
    """As `done_after`, with numbers of each person that come from the half in which the moment is not."""
    people, place = np.unique(halves.first.person, return_inverse=True)
    late = time >= halves.middle[life]
    parts = []
    for taught, own, asked in ((halves.first, halves.second, late), (halves.second, halves.first, ~late)):
        numbers = law.own(taught, people).take(place)
        rows = np.flatnonzero(asked)
        parts.append((rows, done_after(law, numbers, own, life[rows], time[rows])))
    return _whole(parts, (len(life), len(law.minutes)))


def done_as_they_came(
    law: PlayedLaw, lives: Lives, life: Int[np.ndarray, " moment"], time: Int[np.ndarray, " moment"]
) -> Done:
    """As `done_after`, for people never seen: in the first half of a life with the numbers of people like them, in the
    second with what the first has shown."""
    halves = in_two(lives)
    people, place = np.unique(lives.person, return_inverse=True)
    unseen = Lives(**{**vars(lives), "glucose_mg_dl": np.full_like(lives.glucose_mg_dl, np.nan)})
    late = time >= halves.middle[life]
    parts = []
    for taught, asked in ((unseen, ~late), (halves.first, late)):
        numbers = law.own(taught, people).take(place)
        rows = np.flatnonzero(asked)
        parts.append((rows, done_after(law, numbers, lives, life[rows], time[rows])))
    return _whole(parts, (len(life), len(law.minutes)))


def _whole(parts: list[tuple[Int[np.ndarray, " _"], Done]], shape: tuple[int, int]) -> Done:
    out = Done(np.full(shape, np.nan), np.full(shape, np.nan))
    for rows, part in parts:
        out.course[rows], out.nothing[rows] = part.course, part.nothing
    return out
