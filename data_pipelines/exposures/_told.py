"""What sub-models are told and what they answer with: events of a person, and a value a day.

Times are seconds on the person's own calendar, in local time: midnight is a whole multiple of 86,400.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from hdt_fm.schema.errors import ReaderError
from hdt_fm.schema.exposure import Exposure, exposure_kind

DAY_S = 86_400.0


@dataclass(frozen=True)
class Whose:
    """`subject` and `group`, as of `Exposure`."""

    subject: int
    group: int


@dataclass(frozen=True)
class Event:
    """Something that happened, or a stay.

    Attributes:
        kind: A word: `call`, `message`, `meal`, or the category of a place (`home`, `park`).
        start_s, length_s: 0 long is a moment.
        who: Pseudonym of the other person, where there is one.
        text: What was written of it, such as what was eaten.
        amounts: What was measured of it (`carbs_g`).
    """

    kind: str
    start_s: float
    length_s: float = 0.0
    who: str = ""
    text: str = ""
    amounts: Mapping[str, float] | None = None

    @property
    def end_s(self) -> float:
        return self.start_s + self.length_s


# When whatever wrote the events down was at work: silence is nothing happened there, and unknown elsewhere.
Watched = Sequence[tuple[float, float]]


@runtime_checkable
class OfEvents(Protocol):
    """A sub-model of events: what a replacement file must have. `gives` are names of `EXPOSURES`."""

    gives: tuple[str, ...]

    def __call__(self, events: Sequence[Event], watched: Watched, whose: Whose) -> tuple[Exposure, ...]:
        """One exposure for each of `gives`, in that order, a span a day."""


@dataclass(frozen=True)
class Days:
    """Days in a row; day i begins at `first` + i times 86,400 s.

    Raises:
        ReaderError: By `of`, if nothing was watched or a stretch ends before it begins.
    """

    first: float
    count: int

    @classmethod
    def of(cls, watched: Watched) -> "Days":
        """Every day of which any part was watched."""
        if not watched or any(not end > begin for begin, end in watched):
            raise ReaderError(
                "It is not told when events were written down",
                expected="watched: one stretch (begin_s, end_s) or more, each ending after it begins",
                fix="give the times when the phone, the diary or the log was in use; outside of them nothing is known",
            )
        first = np.floor(min(begin for begin, _ in watched) / DAY_S)
        last = np.ceil(max(end for _, end in watched) / DAY_S)
        return cls(float(first * DAY_S), int(last - first))

    def share(self, spans: Watched) -> NDArray[np.float64]:
        """Of each day the share that lies in `spans`; where they overlap it counts once."""
        begins, ends, inside = levelled([(begin, end, 1.0) for begin, end in spans])
        return (self.overlap_s(begins, ends) * inside[:, None]).sum(axis=0) / DAY_S

    def overlap_s(self, begins: NDArray[np.float64], ends: NDArray[np.float64]) -> NDArray[np.float64]:
        """Seconds of each span in each day."""
        starts = self.first + DAY_S * np.arange(self.count)
        inside = np.minimum(ends[:, None], starts + DAY_S) - np.maximum(begins[:, None], starts)
        return np.maximum(inside, 0.0)

    def index(self, times_s: NDArray[np.float64]) -> NDArray[np.int64]:
        """Number of the day of each time; outside of the days below 0, or `count` and above."""
        return np.floor((times_s - self.first) / DAY_S).astype(np.int64)

    def exposure(self, kind: str, values: NDArray[np.float64], whose: Whose) -> Exposure:
        """A value a day; what the kind cannot be becomes unknown."""
        low, high = exposure_kind(kind).plausible
        possible = np.where((values >= low) & (values <= high), values, np.nan)
        starts = self.first + DAY_S * np.arange(self.count)
        return Exposure(kind, starts, np.full(self.count, DAY_S), possible, whose.subject, whose.group)


def levelled(
    spans: Sequence[tuple[float, float, float]],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Spans (begin, end, weight) that may overlap -> begins, ends, weights that do not; the largest weight counts."""
    edges = np.unique([edge for begin, end, _ in spans for edge in (begin, end)])
    weights = np.zeros(max(len(edges) - 1, 0))
    for begin, end, weight in spans:
        inside = slice(np.searchsorted(edges, begin), np.searchsorted(edges, end))
        weights[inside] = np.maximum(weights[inside], weight)
    return edges[:-1], edges[1:], weights


def by_day(exposure: Exposure, days: Days, *, least_share: float = 0.5) -> NDArray[np.float64]:
    """An exposure as one value a day: amounts are summed, levels averaged over the time that is known.

    Args:
        least_share: A day with less of it known is unknown.
    """
    known = ~np.isnan(exposure.values)
    begins, length_s = exposure.start_s[known], exposure.length_s[known]
    seconds = days.overlap_s(begins, begins + length_s)
    total = seconds.sum(axis=0)
    per_s = exposure.values[known] / length_s if exposure_kind(exposure.kind).amount else exposure.values[known]
    sums = (seconds * per_s[:, None]).sum(axis=0)
    if not exposure_kind(exposure.kind).amount:
        sums = np.divide(sums, total, out=np.full(days.count, np.nan), where=total > 0)
    return np.where(total >= least_share * DAY_S - 1e-6, sums, np.nan)
