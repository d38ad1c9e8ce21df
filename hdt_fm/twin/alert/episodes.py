"""Nights of alert -> episodes, each with what deviated while it gathered and what its score is made of."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from hdt_fm.twin.alert.watcher import ABSTAINED, ALERT

# Nights of alert that are no further apart, among nights with data, are one alert.
MERGED_NIGHTS = 3
# An alert is explained by at most so many nights up to its first.
_EXPLAINED_NIGHTS = 7


@dataclass(frozen=True)
class Deviation:
    """One indicator, away from the person's usual by so many of their own SDs."""

    indicator: str
    personal_sds: float


@dataclass(frozen=True)
class Part:
    """What one indicator adds to the score of an alert.

    Attributes:
        points: Below 0 where it speaks against the alert.
        share: Of the alert's score; those of all parts add up to 1. NaN where that score is not above 0.
    """

    indicator: str
    points: float
    share: float


@dataclass(frozen=True)
class Alert:
    """An episode.

    Attributes:
        begin, end: First and last night of alert, the last one so far while it goes on.
        nights: Of alert.
        gathered_from: First of the nights in which it gathered, up to `begin`; of more than seven, the seventh last.
        deviations: Mean over those nights; the largest first.
        score: Sum over those nights of the score of the channel that raised it.
        parts: Of that score, to which they add up exactly; the largest first.
        either_way: Whether that channel hears squares, whichever way an indicator went.
    """

    begin: np.datetime64
    end: np.datetime64
    nights: int
    gathered_from: np.datetime64
    deviations: tuple[Deviation, ...]
    score: float
    parts: tuple[Part, ...]
    either_way: bool

    def words(self) -> str:
        """What deviates, in one line."""
        return ", ".join(f"{one.indicator} {one.personal_sds:+.1f} personal SD" for one in self.deviations)


class Said(NamedTuple):
    """What the nights said, as `report.AlertReport` names it."""

    cusum: np.ndarray
    deviation: np.ndarray
    parts: np.ndarray
    heard: np.ndarray
    either_way: np.ndarray


def alerts_of(
    dates: np.ndarray,
    names: tuple[str, ...],
    state: Int[np.ndarray, " night"],
    said: Said,
) -> Iterator[Alert]:
    """The episodes of all nights, the earliest first."""
    nights = np.flatnonzero(state == ALERT)
    if not len(nights):
        return
    # Nights without data do not part an alert.
    apart = np.diff(np.cumsum(state != ABSTAINED)[nights])
    for run in np.split(nights, np.flatnonzero(apart > MERGED_NIGHTS) + 1):
        begin = int(run[0])
        still = np.flatnonzero(said.cusum[:begin] == 0)
        since = max(int(still[-1]) + 1 if len(still) else 0, begin + 1 - _EXPLAINED_NIGHTS)
        gathered = slice(since, begin + 1)
        seen = said.deviation[gathered]
        known = np.isfinite(seen)
        mean = np.where(known, seen, 0).sum(axis=0) / np.where(known.any(axis=0), known.sum(axis=0), np.nan)
        parts = _parts(names, np.where(said.heard[begin], said.parts[gathered], np.nan))
        yield Alert(
            begin=dates[begin],
            end=dates[run[-1]],
            nights=len(run),
            gathered_from=dates[since],
            deviations=deviations_of(names, mean),
            score=sum((one.points for one in parts), 0.0),
            parts=parts,
            either_way=bool((said.heard[begin] & said.either_way).any()),
        )


def _parts(names: tuple[str, ...], parts: Float[np.ndarray, "night indicator"]) -> tuple[Part, ...]:
    """Summed over the nights, the largest first; what said nothing in any of them is left out."""
    known = np.isfinite(parts)
    points = np.where(known, parts, 0.0).sum(axis=0)
    score = points.sum()
    order = sorted(np.flatnonzero(known.any(axis=0)), key=lambda at: -points[at])
    return tuple(Part(names[at], float(points[at]), float(points[at] / score) if score > 0 else np.nan) for at in order)


def deviations_of(names: tuple[str, ...], sds: Float[np.ndarray, " indicator"]) -> tuple[Deviation, ...]:
    """The largest first; what is not known is left out."""
    order = sorted(np.flatnonzero(np.isfinite(sds)), key=lambda at: -abs(sds[at]))
    return tuple(Deviation(names[at], float(sds[at])) for at in order)
