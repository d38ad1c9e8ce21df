"""What each cause does to the streams, where that points, and what is proposed for it.

A cause is a direction: its typical effects on the streams, in the person's own SDs, less what streams repeat of each
other. Set on simulated people with type 1 diabetes (`scripts/evolve_drift.py`, seeds below 100) and rounded: another
signal needs its own table, which `DriftWatch` takes.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from hdt_fm.schema.errors import ConfigError, unknown_name
from hdt_fm.twin.drift.streams import ACTED, CARBS, INSULIN, LEVEL, REST, SIZE, SWING

GAIN, SENSITIVITY, UNCLEAR, LOST, DEVICE = "gain", "sensitivity", "unclear", "lost", "device"
# What is proposed; nothing of it happens by itself.
ACTIONS = {GAIN: "recalibrate", SENSITIVITY: "adapt", UNCLEAR: "ask", LOST: "ask", DEVICE: "ask"}
# No cause changes what is eaten; a day of much food swings and errs more, and that much of it is no change.
JOINED = (REST, ACTED, SIZE, LEVEL, SWING, INSULIN, CARBS)
# Correlation of a day's streams in people in whom nothing changes.
_TOGETHER = np.array(
    [
        [1.0, 0.05, 0.25, 0.55, 0.30, 0.10, 0.20],
        [0.05, 1.0, 0.45, 0.25, 0.40, 0.15, 0.40],
        [0.25, 0.45, 1.0, 0.20, 0.65, 0.30, 0.55],
        [0.55, 0.25, 0.20, 1.0, 0.30, -0.20, 0.10],
        [0.30, 0.40, 0.65, 0.30, 1.0, 0.30, 0.50],
        [0.10, 0.15, 0.30, -0.20, 0.30, 1.0, 0.50],
        [0.20, 0.40, 0.55, 0.10, 0.50, 0.50, 1.0],
    ]
)


# The table counts as so many of the person's own days.
TABLE_DAYS = 14
_TINY = 1e-6


@dataclass(frozen=True)
class Own:
    """How one person's streams go together, from days by which the newest is judged.

    Attributes:
        past: In own SDs, NaN where unknown, in the order of `JOINED`.
        together: Correlations: those of the past, with the table of other people as so many days more.
    """

    past: Float[np.ndarray, "day stream"]
    together: Float[np.ndarray, "stream stream"]

    @classmethod
    def of(cls, past: Float[np.ndarray, "day stream"]) -> "Own":
        """What is known of no day, or of one, is as in others."""
        known = np.isfinite(past).astype(np.float64)
        count, filled = known.T @ known, np.where(known > 0, past, 0.0)
        mean = filled.sum(axis=0) / np.maximum(known.sum(axis=0), 1.0)
        spread = filled.T @ filled / np.maximum(count, 1.0) - np.outer(mean, mean)
        sd = np.sqrt(np.maximum(np.diagonal(spread), _TINY))
        share = count / (count + TABLE_DAYS)
        together = (1 - share) * _TOGETHER + share * spread / np.outer(sd, sd)
        np.fill_diagonal(together, 1.0)
        return cls(past, together)

    def sd(self, weights: Float[np.ndarray, " known"], known: Int[np.ndarray, " known"]) -> float:
        """Of a weighted sum of known streams on past days; 1 counts as `TABLE_DAYS` days."""
        scores = self.past[:, known] @ weights
        scores = scores[np.isfinite(scores)]
        squares = float(((scores - scores.mean()) ** 2).sum()) if len(scores) else 0.0
        return math.sqrt((TABLE_DAYS + squares) / (TABLE_DAYS + len(scores)))


NOBODY = Own(np.zeros((0, len(JOINED))), _TOGETHER)


@dataclass(frozen=True)
class Direction:
    """One way in which days can leave the usual.

    Attributes:
        cause: What it speaks for.
        effects: Of a change by `size`, in the person's SDs, in the order of `JOINED`.
        size: As the logarithm of a factor.
        share: Of the budget of false alarms; together a little above 1, since who is alarmed by two is alarmed once.
        limit, slope: A CUSUM of slack .75 along it passes `limit - slope x log(rate)` at so many a year.
    """

    cause: str
    effects: tuple[float, ...]
    size: float
    share: float
    limit: float
    slope: float

    def score(self, away: Mapping[str, float], own: Own = NOBODY) -> tuple[float, float]:
        """A day along this direction, of unit variance; and what a change by `size` adds. NaN if nothing is known.

        Args:
            away: The day's streams in the person's SDs; what is NaN or missing is left out.
            own: How this person's streams go together; as the table says by default.
        """
        day = np.array([away.get(name, np.nan) for name in JOINED])
        known = np.flatnonzero(np.isfinite(day))
        if not len(known):
            return float("nan"), float("nan")
        effects = np.array(self.effects)[known]
        # What little days say of correlations may not go together: the diagonal is raised by so much.
        together = own.together[np.ix_(known, known)] + _TINY * np.eye(len(known))
        weights = np.linalg.solve(together, effects)
        strength = math.sqrt(max(float(effects @ weights), 0.0))
        if strength == 0:
            return float("nan"), float("nan")
        sd = own.sd(weights / strength, known)
        return float(day[known] @ weights) / strength / sd, strength / sd

    def limit_at(self, per_year: float) -> float:
        """What its CUSUM may reach within this share of a budget."""
        return self.limit - self.slope * math.log(self.share * per_year)


DIRECTIONS = (
    Direction(GAIN, (0.75, 0.5, 0.6, 0.5, 0.6, 0.25, 0.0), math.log(1.15), share=0.6, limit=8.19, slope=3.91),
    Direction(SENSITIVITY, (0.35, 1.2, 0.0, 0.85, 0.0, 0.4, 0.0), math.log(0.7), share=0.4, limit=9.59, slope=4.22),
    # Errors grow (or shrink) in no way that is known.
    Direction(UNCLEAR, (0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0), 0.0, share=0.05, limit=6.79, slope=2.28),
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
        about: Which modality it is of, if it is of one.
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
