"""The drift watch of a twin: each day that is over is told to it once, added up from what the twin keeps anyway.

A day is over at midnight of the recordings' clock, with a reading at or after it: then its steps are whole and its
truths have come, so the watch is the same however a record is cut. It reads and tells; no forecast hangs on it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.modalities import modality
from hdt_fm.schema.series import DAY_S, ForecastTask
from hdt_fm.signal.given import SILENT_S
from hdt_fm.twin.drift.cause import GAIN, SENSITIVITY, UNCLEAR, Proposal
from hdt_fm.twin.drift.streams import ACTED, LATELY_S, LEVEL, REST, DaySums
from hdt_fm.twin.drift.watch import DriftWatch
from hdt_fm.twin.state.learned import Learned
from hdt_fm.twin.state.tracks import Events, Grid, Track

# The table of causes is of this, and of answers so far ahead.
MODALITY, AHEAD_S = "glucose", 3600.0
PER_YEAR = 1.0
# Of these a day's amounts are added up.
DOSES, MEALS = "bolus", "carbs"
# A sensor is told from a body by both; where one of them was not known since the onset, the change is unclear.
_NAMED_BY = {cause: {REST, ACTED} for cause in (GAIN, SENSITIVITY)}


class Watched:
    """A watch, the day that it began with, and its open proposal.

    Args:
        records: Doses and meals whose records are counted.
    """

    def __init__(self, records: Sequence[str] = ()) -> None:
        self.records = tuple(records)
        self.watch = DriftWatch(per_year=PER_YEAR, modalities=self.records)
        self.first: int | None = None
        self.proposal: Proposal | None = None

    def begin(self, time_s: float) -> None:
        """Watch from the first midnight at or after a moment on, unless it has begun."""
        if self.first is None:
            self.first = int(np.ceil(time_s / DAY_S))

    def over(self, newest_s: float) -> float | None:
        """When the next day begins that is over; None if none is. It lasts until the next midnight, and with it."""
        day = None if self.first is None else self.first + self.watch.days
        return None if day is None or (day + 1) * DAY_S > newest_s else float(day * DAY_S)

    def close(self, values: Mapping[str, float], counts: Mapping[str, int]) -> None:
        """A day that is over.

        Args:
            values: Of `DaySums.close`.
            counts: Of each kind of record; not judged before its first one, nor on a day without readings, when
                perhaps nothing was exported.
        """
        read = np.isfinite(values[LEVEL])
        judged = {name: count for name, count in counts.items() if read and (count or self._counted(name))}
        found = self.watch.day(values, judged)
        if found is not None and found.cause in _NAMED_BY and not _NAMED_BY[found.cause] <= dict(found.evidence).keys():
            found = replace(found, cause=UNCLEAR, factor=None)
        self.proposal = found or self.proposal

    def wears(self, device: str, from_s: float) -> None:
        """What the record says of the device, of readings from a moment on.

        Args:
            device: A digest; empty where it says nothing.
        """
        today = None if self.first is None else int(np.ceil(from_s / DAY_S)) - 1 - self.first
        self.proposal = self.watch.wears(device, today=today) or self.proposal

    def answered(self, *, accepted: bool = True) -> Proposal:
        """The open proposal, closed; what is usual is learned anew, unless another device was declined.

        Raises:
            ConfigError: If none is open.
        """
        if self.proposal is None:
            raise ConfigError(
                "There is no proposal to answer",
                where="answer",
                expected="a proposal that is open: `hdt-fm twin show FOLDER` tells it",
                got="none",
                fix="leave answer out; nothing waits for one",
            )
        found, self.proposal = self.proposal, None
        self.watch.answered(accepted=accepted)
        return found

    def state(self) -> dict[str, Any]:
        """Plain numbers and names, of a size that does not grow."""
        proposal = None if self.proposal is None else asdict(self.proposal)
        return {"first": self.first, "proposal": proposal, "watch": self.watch.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state`.

        Raises:
            ConfigError, KeyError, TypeError, ValueError: If it is not what `state` wrote.
        """
        told = state["proposal"]
        self.first = None if state["first"] is None else int(state["first"])
        self.watch.restore(state["watch"])
        if told is not None:
            evidence = tuple((str(name), float(value)) for name, value in told["evidence"])
            self.proposal = Proposal(**{**told, "evidence": evidence})

    def _counted(self, name: str) -> int:
        return self.watch.silence[name].learned


def watch_for(task: ForecastTask) -> Watched | None:
    """A watch that has seen nothing; None for what the table of causes is not of."""
    if task.modality != MODALITY:
        return None
    return Watched([name for name in task.treatments if modality(name).given])


def day_of(
    first_s: float, readings: Track, learned: Learned, events: Mapping[str, Events], grid: Grid, how: str
) -> tuple[dict[str, float], dict[str, int]]:
    """A day's numbers and counts of records, from its midnight to the next one.

    Errors are of the head alone: the own layer follows a change, and would hide it.

    Args:
        events: Of each kind of record that is watched.
    """
    last_s, sums = first_s + DAY_S, DaySums()
    for one in grid.series(readings.between(first_s, last_s), how=how, apart_s=np.inf):
        sums.read(np.where(one.observed, one.values, np.nan).astype(np.float64))
    column = int(np.argmin(np.abs(np.array(learned.horizons_s) - AHEAD_S)))
    came_s = learned.time_s + learned.horizons_s[column]
    rows = (came_s > first_s) & (came_s <= last_s)
    told = {name: array[rows, column] for name, array in learned.told.items()}
    truth = told["truth"]
    taken_s = np.sort(np.concatenate([np.zeros(0), *(one.times_s[one.amounts > 0] for one in events.values())]))
    acted = _within(taken_s, learned.time_s[rows], LATELY_S)
    sums.missed(truth - told["mean"], (truth < told["low"]) | (truth > told["high"]), acted)
    given = {name: one.amounts[(one.times_s > first_s) & (one.times_s <= last_s)] for name, one in events.items()}
    sums.took(given.get(DOSES, np.zeros(0)), given.get(MEALS, np.zeros(0)))
    values = sums.close()
    if not _within(taken_s, np.array([last_s]), SILENT_S)[0]:
        # Who wrote nothing down for so long is not known to have been at rest.
        values |= {REST: np.nan, ACTED: np.nan}
    return values, {name: int((amounts > 0).sum()) for name, amounts in given.items()}


def _within(
    taken_s: Float[np.ndarray, " entry"], times_s: Float[np.ndarray, " moment"], span_s: float
) -> Bool[np.ndarray, " moment"]:
    """Whether there is an entry in the span that ends with each moment."""
    upto, before = (np.searchsorted(taken_s, one, side="right") for one in (times_s, times_s - span_s))
    return np.asarray(upto > before)
