"""Days of people as arrays, doses accumulated over them with gaps, and placebos that keep every gap where it is.

A placebo moves the known values of a series along the known days (its own values, or another person's), so how often
and when something was known, and how slowly it changes, stay as they are; only what goes with what is lost.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Float64, Int, Num

from hdt_fm.schema.errors import ShapeError

# Values of days (NaN is not known) -> doses of each day, from that day and the days before it; NaN is not known.
Accumulate = Callable[[Float[np.ndarray, "*batch day"]], Float[np.ndarray, "*batch day dose"]]
Placebo = Literal["moved in time", "of another"]
PLACEBOS: tuple[Placebo, ...] = ("moved in time", "of another")
SPANS_DAYS = (3, 7, 14, 30)
# Of one full day: what is left of it must still count that much.
LEAST_MASS = 0.5
_YEAR_DAYS = 365.25
_THURSDAY = 4


@runtime_checkable
class Person(Protocol):
    """One person's days, whoever read them: what `DailyRecords` is made from."""

    @property
    def group(self) -> str:
        """People who must stay on one side of every split."""

    @property
    def first_day(self) -> int:
        """Number of the first day since 1970."""

    @property
    def exposures(self) -> Mapping[str, np.ndarray]:
        """Name -> a value a day; NaN is not known."""

    @property
    def outcomes(self) -> Mapping[str, np.ndarray]:
        """As exposures, of the same days."""


@dataclass(frozen=True)
class DailyRecords:
    """Days in a row, padded with NaN at the end; the rows of all arrays are the same people.

    Attributes:
        group: Equal for people who must stay on one side of every split.
        first_day: Number of each person's first day since 1970.
        exposures, outcomes: A value a day; NaN is not known.

    Raises:
        ShapeError: If an array has other people or days.
    """

    group: Int[np.ndarray, " person"]
    first_day: Int[np.ndarray, " _"]
    exposures: Mapping[str, Float64[np.ndarray, "_ _"]]
    outcomes: Mapping[str, Float64[np.ndarray, "_ _"]]

    def __post_init__(self) -> None:
        shapes = {one.shape for one in (*self.exposures.values(), *self.outcomes.values())}
        people = {(len(self.group),), (len(self.first_day),), *(shape[:1] for shape in shapes)}
        if not self.exposures or not self.outcomes or len(shapes) != 1 or len(people) != 1:
            raise ShapeError(
                "Days of people do not hold together",
                expected="one exposure and one outcome or more, all of shape (person, day), and a group a person",
                got=f"{len(self.group)} group(s), arrays of {', '.join(map(str, sorted(shapes))) or 'none'}",
            )

    @classmethod
    def of(cls, people: Sequence["Person"]) -> "DailyRecords":
        """From people of any lengths; names are those of the first, whom others must match."""
        names = sorted({one.group for one in people})
        longest = max((len(days) for one in people for days in one.exposures.values()), default=0)
        exposures, outcomes = (people[0].exposures, people[0].outcomes) if people else ({}, {})
        return cls(
            np.array([names.index(one.group) for one in people], dtype=np.int64),
            np.array([one.first_day for one in people], dtype=np.int64),
            {name: _padded([one.exposures[name] for one in people], longest) for name in exposures},
            {name: _padded([one.outcomes[name] for one in people], longest) for name in outcomes},
        )

    def calendar(self) -> Float64[np.ndarray, "person day term"]:
        """What the date alone says: sine and cosine of the year, time in years, and six of the seven weekdays."""
        days = next(iter(self.outcomes.values())).shape[1]
        date = self.first_day[:, None] + np.arange(days)
        year = 2 * np.pi * date / _YEAR_DAYS
        weekday = (date[..., None] + _THURSDAY) % 7 == np.arange(1, 7)
        terms = np.stack([np.sin(year), np.cos(year), (date - date.mean()) / _YEAR_DAYS], axis=-1)
        return np.concatenate([terms, weekday.astype(np.float64)], axis=-1)


def _padded(rows: Sequence[np.ndarray], length: int) -> Float64[np.ndarray, "person day"]:
    out = np.full((len(rows), length), np.nan)
    for place, row in enumerate(rows):
        out[place, : len(row)] = row
    return out


def leaky_and_windowed(
    values: Float[np.ndarray, "*batch day"],
) -> Float[np.ndarray, "*batch day dose"]:
    """The day itself, leaky means of four time constants, and plain means of as many windows; the default.

    A leaky mean is a sum that fades by exp(-1 / span) a day over the mass of the days that were known, so a gap takes
    nothing away and adds nothing; it is known while its mass is `LEAST_MASS` or more.
    """
    known = ~np.isnan(values)
    filled = np.where(known, values, 0.0)
    kept = np.exp(-1.0 / np.array(SPANS_DAYS))
    total, mass = np.zeros((*values.shape[:-1], len(kept))), np.zeros((*values.shape[:-1], len(kept)))
    out = np.full((*values.shape, 1 + 2 * len(kept)), np.nan)
    out[..., 0] = values
    for day in range(values.shape[-1]):
        total, mass = total * kept + filled[..., day, None], mass * kept + known[..., day, None]
        np.divide(total, mass, out=out[..., day, 1 : 1 + len(kept)], where=mass >= LEAST_MASS)
    out[..., 1 + len(kept) :] = windowed(values)
    return out


def windowed(values: Float[np.ndarray, "*batch day"]) -> Float[np.ndarray, "*batch day dose"]:
    """Plain means of what is known of the last so many days, the day among them; NaN where nothing is."""
    known = ~np.isnan(values)
    sums, counts = np.cumsum(np.where(known, values, 0.0), axis=-1), np.cumsum(known, axis=-1)
    out = np.full((*values.shape, len(SPANS_DAYS)), np.nan)
    for place, span in enumerate(SPANS_DAYS):
        top, bottom = _last(sums, span), _last(counts, span)
        np.divide(top, bottom, out=out[..., place], where=bottom > 0)
    return out


def _last(running: Num[np.ndarray, "*batch day"], span: int) -> Num[np.ndarray, "*batch day"]:
    """Sum of the last `span` days, from the sum of all days so far."""
    before = np.zeros_like(running)
    before[..., span:] = running[..., :-span]
    return running - before


def backwards(accumulate: Accumulate) -> Accumulate:
    """The same doses of that day and the days after it: what no outcome before can be due to."""
    return lambda values: accumulate(values[..., ::-1])[..., ::-1, :]


def moved(
    values: Float64[np.ndarray, "person day"],
    *,
    kind: Placebo,
    group: Int[np.ndarray, " person"],
    draws: int,
    rng: np.random.Generator,
) -> Float64[np.ndarray, "draw person day"]:
    """Placebos of one exposure, each person's known days filled with other days' values.

    `moved in time`: the person's own, a tenth to nine tenths of their known days later, round in a circle.
    `of another`: somebody else's of another group, who has half as many known days or more if there is one.
    """
    known = ~np.isnan(values)
    own = [row[here] for row, here in zip(values, known, strict=True)]
    out = np.full((draws, *values.shape), np.nan)
    sizes = np.array([len(one) for one in own])
    for person, here in enumerate(known):
        # Drawn for everyone, so that exposures known of other people move alike.
        shift, pick = rng.uniform(0.1, 0.9, draws), rng.uniform(size=draws)
        if not sizes[person]:
            continue
        donors = np.array([person]) if kind == "moved in time" else _donors(person, sizes, group)
        for draw in range(draws):
            source = own[donors[int(pick[draw] * len(donors))]]
            step = max(round(shift[draw] * len(source)), min(1, len(source) - 1))
            out[draw, person, here] = source[(np.arange(sizes[person]) + step) % len(source)]
    return out


def _donors(person: int, sizes: Int[np.ndarray, " person"], group: Int[np.ndarray, " person"]) -> np.ndarray:
    others: Bool[np.ndarray, " person"] = (group != group[person]) & (sizes > 0)
    enough = others & (2 * sizes >= sizes[person])
    found = np.flatnonzero(enough if enough.any() else others)
    return found if len(found) else np.array([person])
