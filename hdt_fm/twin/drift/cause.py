"""What each cause does to the streams, where that points, and what is proposed for it.

A cause is a direction: its typical effects on the streams, in the person's own SDs, less what streams repeat of each
other. Set on simulated people with type 1 diabetes (`scripts/evolve_drift.py`, seeds below 100) and rounded: another
signal needs its own table, which `DriftWatch` takes.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hdt_fm.schema.errors import ConfigError, unknown_name
from hdt_fm.twin.drift.streams import ACTED, LEVEL, REST, SIZE, SWING

GAIN, SENSITIVITY, UNCLEAR, LOST, DEVICE = "gain", "sensitivity", "unclear", "lost", "device"
# What is proposed; nothing of it happens by itself.
ACTIONS = {GAIN: "recalibrate", SENSITIVITY: "adapt", UNCLEAR: "ask", LOST: "ask", DEVICE: "ask"}
JOINED = (REST, ACTED, SIZE, LEVEL, SWING)
# Correlation of a day's streams in people in whom nothing changes.
_TOGETHER = np.array(
    [
        [1.0, 0.05, 0.25, 0.55, 0.30],
        [0.05, 1.0, 0.45, 0.35, 0.40],
        [0.25, 0.45, 1.0, 0.30, 0.65],
        [0.55, 0.35, 0.30, 1.0, 0.40],
        [0.30, 0.40, 0.65, 0.40, 1.0],
    ]
)


@dataclass(frozen=True)
class Direction:
    """One way in which days can leave the usual.

    Attributes:
        cause: What it speaks for.
        effects: Of a change by `size`, in the person's SDs, in the order of `JOINED`.
        size: As the logarithm of a factor.
        share: Of the budget of false alarms.
        limit, slope: A CUSUM of slack .75 along it passes `limit - slope x log(rate)` at so many a year.
    """

    cause: str
    effects: tuple[float, ...]
    size: float
    share: float
    limit: float
    slope: float

    def score(self, away: Mapping[str, float]) -> tuple[float, float]:
        """A day along this direction, of unit variance; and what a change by `size` adds. NaN if nothing is known.

        Args:
            away: The day's streams in the person's SDs; what is NaN or missing is left out.
        """
        day = np.array([away.get(name, np.nan) for name in JOINED])
        known = np.flatnonzero(np.isfinite(day))
        if not len(known):
            return float("nan"), float("nan")
        effects = np.array(self.effects)[known]
        weights = np.linalg.solve(_TOGETHER[np.ix_(known, known)], effects)
        strength = math.sqrt(float(effects @ weights))
        if strength == 0:
            return float("nan"), float("nan")
        return float(day[known] @ weights) / strength, strength

    def limit_at(self, per_year: float) -> float:
        """What its CUSUM may reach within this share of a budget."""
        return self.limit - self.slope * math.log(self.share * per_year)


DIRECTIONS = (
    Direction(GAIN, (0.75, 0.5, 0.6, 0.5, 0.6), math.log(1.15), share=0.4, limit=6.0, slope=2.5),
    Direction(SENSITIVITY, (0.35, 1.2, 0.0, 0.8, 0.0), math.log(0.7), share=0.4, limit=7.7, slope=2.8),
    # Errors grow (or shrink) in no way that is known.
    Direction(UNCLEAR, (0.0, 0.0, 1.0, 0.0, 0.0), 0.0, share=0.1, limit=6.5, slope=2.8),
)
LOST_SHARE = 0.1


@dataclass(frozen=True)
class Proposal:
    """What seems to have changed and what to do about it. Nothing has been done.

    Attributes:
        cause: A key of `ACTIONS`.
        day: Of the watch, counted from 0, on which it was made.
        onset: The day from which on it seems to have been so.
        factor: By how much it changed, as a factor of what it was; None where that is not known.
        about: Which modality or device it is of, if it is of one.
        evidence: Streams and how far they lie from the person's usual since the onset, in own SDs, the furthest first.
    """

    cause: str
    day: int
    onset: int
    factor: float | None = None
    about: str = ""
    evidence: tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        if self.cause not in ACTIONS:
            raise unknown_name("cause of drift", self.cause, ACTIONS, where="drift.Proposal")
        if not 0 <= self.onset <= self.day:
            raise ConfigError(
                "A proposal's onset lies outside of the watch",
                where="drift.Proposal",
                expected="0 <= onset <= day",
                got=f"onset {self.onset}, day {self.day}",
                fix="count both from the first day of the watch",
            )

    @property
    def action(self) -> str:
        return ACTIONS[self.cause]
