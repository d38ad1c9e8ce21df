"""A person's usual nights, learned from those that lie behind: level, spread, day of the week, memory of last night.

All arrays lead with an axis of people, so that a thousand simulated people cost little more than one.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

# Values further than this many robust SDs from the median are drawn in to it, before they enter a mean.
WINSOR = 2.5
# How much last night tells of tonight before the person has shown it, and the nights that this is worth. A guess
# below the simulator's .5, so as not to know it.
MEMORY, MEMORY_NIGHTS = 0.4, 20.0
MOST_MEMORY = 0.9
# A trend below so many squared standard errors is none, and of a larger one as much is taken off.
TREND_CAUTION, LEAST_TREND_NIGHTS = 1.0, 60
IQR_OF_NORMAL = 1.349


@dataclass(frozen=True)
class Baseline:
    """Of each person and indicator.

    Attributes:
        level: The usual value, in the indicator's unit.
        spread: SD of a night around it, once weekdays are taken out; NaN where it cannot be said.
        weekday: What each day of the week adds.
        memory: Correlation of a night with the one before, 0 to .9.
        count: Nights it was learned from.
    """

    level: Float[np.ndarray, "person indicator"]
    spread: Float[np.ndarray, "person indicator"]
    weekday: Float[np.ndarray, "person indicator 7"]
    memory: Float[np.ndarray, "person indicator"]
    count: Float[np.ndarray, "person indicator"]

    def deviation(
        self, values: Float[np.ndarray, "person indicator"], weekday: Int[np.ndarray, "person indicator"]
    ) -> Float[np.ndarray, "person indicator"]:
        """Away from the usual, in the indicator's unit."""
        return values - self.level - self._of_day(weekday)

    def usual(self, weekday: Int[np.ndarray, "person indicator"]) -> Float[np.ndarray, "person indicator"]:
        """What is usual on that day, in the indicator's unit."""
        return self.level + self._of_day(weekday)

    def _of_day(self, weekday: np.ndarray) -> np.ndarray:
        return np.take_along_axis(self.weekday, weekday[..., None], axis=2)[..., 0]


def fit(values: Float[np.ndarray, "person night indicator"], weekday: Int[np.ndarray, "person night"]) -> Baseline:
    """The baseline of consecutive nights, NaN where nothing is known or should not count.

    Numerics: The level is the mean of values drawn in to 2.5 robust SDs (97 % as sharp as the mean when nights are
    normal, and a night of 40 bpm too many moves it no more than one of 5). Weekdays are pulled to none by the rule of
    James and Stein, so that a person without a week gets none.
    """
    known = np.isfinite(values)
    count = known.sum(axis=1).astype(np.float64)
    quarter, median, three = quantiles(values, (0.25, 0.5, 0.75))
    rough = (three - quarter) / IQR_OF_NORMAL
    reach = np.where(rough > 0, WINSOR * rough, np.inf)[:, None]
    drawn_in = np.clip(values, median[:, None] - reach, median[:, None] + reach)
    level = _mean(drawn_in, known)
    away = np.where(known, drawn_in - level[:, None], 0.0)
    week = _week(away, known, weekday)
    away -= np.where(known, np.take_along_axis(week, weekday[:, :, None], axis=1), 0.0)
    slope, middle = _trend(away, known)
    at = np.arange(values.shape[1])[None, :, None] - middle[:, None]
    away -= np.where(known, slope[:, None] * at, 0.0)
    level = level + slope * (values.shape[1] - middle)
    freedom = np.maximum(count - 1, 0)
    variance = np.divide((away**2).sum(axis=1), freedom, out=np.full(count.shape, np.nan), where=freedom > 0)
    variance = np.where(variance > 1e-12 * np.maximum(level**2, 1e-12), variance, np.nan)
    pairs = known[:, 1:] & known[:, :-1]
    product = np.where(pairs, away[:, 1:] * away[:, :-1], 0.0).sum(axis=1)
    square = np.where(pairs, away[:, :-1] ** 2 + away[:, 1:] ** 2, 0.0).sum(axis=1) / 2
    prior = MEMORY_NIGHTS * np.nan_to_num(variance, nan=1.0)
    memory = np.clip((product + MEMORY * prior) / (square + prior), 0.0, MOST_MEMORY)
    return Baseline(level, np.sqrt(variance), week.transpose(0, 2, 1), memory, count)


def quantiles(values: Float[np.ndarray, "person night ..."], asked: tuple[float, ...]) -> list[np.ndarray]:
    """Over nights that are known, NaN where none is; linear between ranks, as numpy does, but faster beside NaN."""
    ordered = np.sort(values, axis=1)  # NaN last
    last = np.isfinite(values).sum(axis=1) - 1
    found = []
    for share in asked:
        place = np.maximum(last, 0) * share
        low = np.floor(place).astype(np.int64)
        below = np.take_along_axis(ordered, low[:, None], axis=1)[:, 0]
        above = np.take_along_axis(ordered, np.minimum(low + 1, np.maximum(last, 0))[:, None], axis=1)[:, 0]
        found.append(below + (place - low) * (above - below))
    return found


def _mean(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    number = known.sum(axis=1)
    total = np.where(known, values, 0.0).sum(axis=1)
    return np.divide(total, number, out=np.full(total.shape, np.nan), where=number > 0)


def _trend(away: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Slope a night, shrunken by what chance alone would show, and the night about which it turns."""
    number = np.maximum(known.sum(axis=1), 1)
    night = np.arange(away.shape[1], dtype=np.float64)[None, :, None]
    middle = (night * known).sum(axis=1) / number
    at = np.where(known, night - middle[:, None], 0.0)
    square = (at**2).sum(axis=1)
    slope = np.divide((at * away).sum(axis=1), square, out=np.zeros(square.shape), where=square > 0)
    noise = np.maximum((away**2).sum(axis=1) - slope**2 * square, 0.0) / number
    # Nights that remember each other hold less than their number: a third at a memory of .5.
    chance = 3 * noise / np.where(square > 0, square, 1.0)
    kept = np.clip(1 - TREND_CAUTION * chance / np.where(slope != 0, slope**2, np.inf), 0.0, 1.0)
    return np.where(number >= LEAST_TREND_NIGHTS, slope * kept, 0.0), middle


def _week(away: np.ndarray, known: np.ndarray, weekday: np.ndarray) -> np.ndarray:
    """What each day adds, (person, 7, indicator), shrunken by what chance alone would show."""
    days = (weekday[:, None] == np.arange(7)[:, None]).astype(np.float64)
    number = days @ known.astype(np.float64)
    mean = days @ away / np.maximum(number, 1.0)
    total = known.sum(axis=1)
    noise = (away**2).sum(axis=1) / np.maximum(total - 1, 1)
    shown = (mean**2 * number).sum(axis=1) / np.where(noise > 0, noise, np.inf)
    kept = np.clip(1 - 4 / np.where(shown > 0, shown, 4.0), 0.0, 1.0)
    # Below three weeks there is no week to speak of.
    return mean * np.where(total >= 21, kept, 0.0)[:, None]
