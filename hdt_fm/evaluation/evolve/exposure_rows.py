"""Days on which an exposure is known and the next day's outcome is, with their doses, outcomes and calendar."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int

from hdt_fm.evaluation.evolve.exposure_doses import (
    PLACEBOS,
    Accumulate,
    DailyRecords,
    Placebo,
    backwards,
    leaky_and_windowed,
    moved,
)
from hdt_fm.evaluation.evolve.exposure_ridge import within
from hdt_fm.evaluation.folds import grouped_folds

# Worlds that are accumulated at once, for the sake of memory.
_CHUNK = 50


@dataclass(frozen=True)
class Protocol:
    """How it is asked.

    Attributes:
        draws: Of each placebo.
        folds: Of people.
        least_people, least_rows: Below, nothing is fitted: too little record.
        least_own_rows: People with fewer rows of their own do not count.
        accumulate: From a day's value and those before it; the first dose must be the day's own value.
    """

    draws: int = 300
    folds: int = 5
    least_people: int = 10
    least_rows: int = 100
    least_own_rows: int = 3
    seed: int = 0
    accumulate: Accumulate = leaky_and_windowed


@dataclass(frozen=True)
class Asked:
    """Rows of one exposure and outcome: the exposure is known on `day`, the outcome on the next."""

    exposure: str
    outcome: str
    person: Int[np.ndarray, " row"]
    day: Int[np.ndarray, " row"]
    group: Int[np.ndarray, " row"]

    @property
    def people(self) -> int:
        """How many; one person under two ids is one."""
        return len(np.unique(self.group))

    def enough(self, protocol: Protocol) -> bool:
        """Whether anything can be fitted."""
        return len(self.person) >= protocol.least_rows and self.people >= protocol.least_people

    def fold(self, protocol: Protocol) -> Int[np.ndarray, " row"]:
        """Of each row."""
        out = np.zeros(len(self.group), dtype=np.int64)
        for number, fold in enumerate(grouped_folds(self.group, protocol.folds, protocol.seed)):
            out[fold.test] = number
        return out


def asked_rows(records: DailyRecords, exposure: str, outcome: str, protocol: Protocol) -> Asked:
    """Days whose exposure is known and whose next day's outcome is; of people with enough of them."""
    known = ~np.isnan(records.exposures[exposure])[:, :-1] & ~np.isnan(records.outcomes[outcome])[:, 1:]
    known &= (known.sum(axis=1) >= protocol.least_own_rows)[:, None]
    person, day = np.nonzero(known)
    return Asked(exposure, outcome, person, day, records.group[person])


def doses_at(
    records: DailyRecords,
    asked: Sequence[Asked],
    kind: Placebo,
    protocol: Protocol,
    *,
    after: bool = False,
) -> list[Float64[np.ndarray, "draw row dose"]]:
    """Doses of one exposure on its rows, less person means: the real ones, then those of each placebo.

    Args:
        asked: Of one exposure and several outcomes.
        after: Doses of the days that follow the outcome's day, in place of those up to the day before it.
    """
    values = records.exposures[asked[0].exposure]
    # Seeded by the kind alone: every exposure of a table is moved alike, so their placebos are of one world.
    rng = np.random.default_rng([protocol.seed, PLACEBOS.index(kind)])
    placebos = moved(values, kind=kind, group=records.group, draws=protocol.draws, rng=rng)
    worlds = np.concatenate([values[None], placebos])
    accumulate = backwards(protocol.accumulate) if after else protocol.accumulate
    found: list[list[np.ndarray]] = [[] for _ in asked]
    for begin in range(0, len(worlds), _CHUNK):
        doses = accumulate(worlds[begin : begin + _CHUNK])
        for place, one in enumerate(asked):
            found[place].append(within(doses[:, one.person, one.day + (2 if after else 0)], one.person))
    return [np.concatenate(parts) for parts in found]


def outcome_at(records: DailyRecords, asked: Asked) -> Float64[np.ndarray, "row case"]:
    """The next day's outcome, less person means; one case."""
    return within(records.outcomes[asked.outcome][asked.person, asked.day + 1][:, None], asked.person)


def calendar_at(records: DailyRecords, asked: Asked) -> Float64[np.ndarray, "row term"]:
    """Calendar of the outcome's day, less person means."""
    return within(records.calendar()[asked.person, asked.day + 1], asked.person)
