"""A person's usual nights, learned from those that lie behind: level, spread, day of the week, memory of two nights.

All arrays lead with an axis of people, so that a thousand simulated people cost little more than one.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

# Values further than this many robust SDs from the median are drawn in to it, before they enter a mean.
WINSOR = 2.5
# How much last night tells of tonight before the person has shown it, and the nights that this is worth: few, since
# devices differ. A guess below the simulator's .5, so as not to know it.
MEMORY, MEMORY_NIGHTS = 0.4, 5.0
MOST_MEMORY = 0.98
# That the night before last tells nothing more is worth so many nights; and it never tells more than so much.
SECOND_NIGHTS, MOST_SECOND = 10.0, 0.8
# With fewer pairs of nights, what chance does to a correlation is not taken for larger than with so many.
LEAST_PAIRS = 8
# Nights further back than this tell nothing of tonight.
_MONTH = 30
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
        memory: Correlation of a night with the one before, 0 to .98.
        second: What the night before last tells beyond it, a partial correlation; below 0 where a device smooths.
        count: Nights it was learned from.
    """

    level: Float[np.ndarray, "person indicator"]
    spread: Float[np.ndarray, "person indicator"]
    weekday: Float[np.ndarray, "person indicator 7"]
    memory: Float[np.ndarray, "person indicator"]
    second: Float[np.ndarray, "person indicator"]
    count: Float[np.ndarray, "person indicator"]

    def deviation(
        self, values: Float[np.ndarray, "person indicator"], weekday: Int[np.ndarray, "person indicator"]
    ) -> Float[np.ndarray, "person indicator"]:
        """Away from the usual, in the indicator's unit."""
        return values - self.level - self._of_day(weekday)

    def usual(self, weekday: Int[np.ndarray, "person indicator"]) -> Float[np.ndarray, "person indicator"]:
        """What is usual on that day, in the indicator's unit."""
        return self.level + self._of_day(weekday)

    def told(
        self, back: Int[np.ndarray, "2 person indicator"]
    ) -> tuple[Float[np.ndarray, "2 person indicator"], Float[np.ndarray, "person indicator"]]:
        """How much of two nights' deviations to expect tonight, and the share of the variance that is left to chance.

        Args:
            back: How many nights ago they were, the later one first; the best forecast from the two, gaps or none.
        """
        last, earlier = self.correlation(back[0]), self.correlation(back[1])
        between = self.correlation(back[1] - back[0])
        weight = np.stack([last - earlier * between, earlier - last * between]) / (1 - between**2)
        return weight, 1 - weight[0] * last - weight[1] * earlier

    def correlation(self, apart: Int[np.ndarray, "person indicator"]) -> Float[np.ndarray, "person indicator"]:
        """Of nights so far apart, 1 or more; 0 past a month."""
        asked = np.where(apart <= _MONTH, apart, 0)
        found = np.where(asked == 1, self.memory, 0.0)
        before, now = np.ones(self.memory.shape), self.memory
        for nights in range(2, int(asked.max(initial=0)) + 1):
            before, now = now, self.memory * (1 - self.second) * now + self.second * before
            found = np.where(asked == nights, now, found)
        return found

    def _of_day(self, weekday: np.ndarray) -> np.ndarray:
        return np.take_along_axis(self.weekday, weekday[..., None], axis=2)[..., 0]


def fit(values: Float[np.ndarray, "person night indicator"], weekday: Int[np.ndarray, "person night"]) -> Baseline:
    """The baseline of consecutive nights, the last of them last night.

    Args:
        values: In each indicator's unit; NaN where nothing is known or should not count.
        weekday: 0 to 6 of each night.

    Numerics: The level is the mean of values drawn in to 2.5 robust SDs (97 % as sharp as the mean when nights are
    normal, and a night of 40 bpm too many moves it no more than one of 5). Weekdays are pulled to none by the rule of
    James and Stein, so that a person without a week gets none. Memory is Burg's, of pairs and of threes of nights
    without gap, corrected for what a level learned from the same nights takes off it.
    """
    # Nights last and side by side in memory: everything below sums over them.
    people, nights, size = values.shape
    rows = np.ascontiguousarray(values.transpose(0, 2, 1))
    known = np.isfinite(rows)
    count = known.sum(axis=2).astype(np.float64)
    asked = quantiles(rows.reshape(people * size, nights), (0.25, 0.5, 0.75))
    quarter, median, three = (one.reshape(people, size) for one in asked)
    rough = (three - quarter) / IQR_OF_NORMAL
    reach = np.where(rough > 0, WINSOR * rough, np.inf)
    drawn_in = np.clip(rows, (median - reach)[..., None], (median + reach)[..., None])
    total = np.where(known, drawn_in, 0.0).sum(axis=2)
    level = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    away = np.where(known, drawn_in - level[..., None], 0.0)
    there = known.astype(np.float64)
    days = (weekday[:, None] == np.arange(7)[:, None]).astype(np.float64)
    week = _week(away, there, days, count)
    away -= there * (week @ days)
    slope, middle = _trend(away, there, count)
    away -= there * (slope[..., None] * (np.arange(nights) - middle[..., None]))
    level = level + slope * (nights - middle)
    freedom = np.maximum(count - 1, 0)
    variance = np.divide(_dot(away, away), freedom, out=np.full(count.shape, np.nan), where=freedom > 0)
    variance = np.where(variance > 1e-12 * np.maximum(level**2, 1e-12), variance, np.nan)
    memory, second = _memory(away, there, np.nan_to_num(variance, nan=1.0))
    return Baseline(level, np.sqrt(variance), week, memory, second, count)


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


def _dot(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    found: np.ndarray = np.einsum("pin,pin->pi", one, other)
    return found


def _among(there: np.ndarray, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    found: np.ndarray = np.einsum("pin,pin,pin->pi", there, one, other)
    return found


def _trend(away: np.ndarray, there: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Slope a night, shrunken by what chance alone would show, and the night about which it turns."""
    number = np.maximum(count, 1)
    night = np.arange(away.shape[2], dtype=np.float64)
    middle = there @ night / number
    at = there * (night - middle[..., None])
    square = _dot(at, at)
    slope = np.divide(_dot(at, away), square, out=np.zeros(square.shape), where=square > 0)
    noise = np.maximum(_dot(away, away) - slope**2 * square, 0.0) / number
    # Nights that remember each other hold less than their number: a third at a memory of .5.
    chance = 3 * noise / np.where(square > 0, square, 1.0)
    kept = np.clip(1 - TREND_CAUTION * chance / np.where(slope != 0, slope**2, np.inf), 0.0, 1.0)
    return np.where(number >= LEAST_TREND_NIGHTS, slope * kept, 0.0), middle


def _week(away: np.ndarray, there: np.ndarray, days: np.ndarray, count: np.ndarray) -> np.ndarray:
    """What each day adds, (person, indicator, 7), shrunken by what chance alone would show."""
    number, total = there @ days.transpose(0, 2, 1), away @ days.transpose(0, 2, 1)
    mean = total / np.maximum(number, 1.0)
    noise = _dot(away, away) / np.maximum(count - 1, 1)
    shown = (mean**2 * number).sum(axis=2) / np.where(noise > 0, noise, np.inf)
    kept = np.clip(1 - 4 / np.where(shown > 0, shown, 4.0), 0.0, 1.0)
    # Below three weeks there is no week to speak of.
    return mean * np.where(count >= 21, kept, 0.0)[..., None]


def _memory(away: np.ndarray, there: np.ndarray, variance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Correlation with last night, and with the night before last beyond that, pulled to first guesses.

    Source: Burg 1975 for the two; Marriott and Pope 1954 and Shaman and Stine 1988 for what a mean learned from the
    same n nights takes off them, (1 + 3 memory) / n and (2 + 4 second) / n.
    """
    pairs = there[..., 1:] * there[..., :-1]
    tonight, last = away[..., 1:], away[..., :-1]
    # What is not known is 0 in `away`, and adds nothing to a product.
    product = _dot(tonight, last)
    square = (_among(pairs, tonight, tonight) + _among(pairs, last, last)) / 2
    product += square * _lost(product, square, pairs.sum(axis=2), 1, 3)
    prior = MEMORY_NIGHTS * variance
    memory = np.clip((product + MEMORY * prior) / (square + prior), 0.0, MOST_MEMORY)
    # Of threes: what is left of the later and the earlier night once the middle one is taken off both, multiplied out.
    threes = pairs[..., 1:] * pairs[..., :-1]
    later, middle, earlier = away[..., 2:], away[..., 1:-1], away[..., :-2]
    own = memory**2 * _among(threes, middle, middle)
    with_middle = memory * (_among(threes, middle, later) + _among(threes, middle, earlier))
    product = _among(threes, later, earlier) - with_middle + own
    square = (_among(threes, later, later) + _among(threes, earlier, earlier)) / 2 - with_middle + own
    product += square * _lost(product, square, threes.sum(axis=2), 2, 4)
    prior = SECOND_NIGHTS * variance * (1 - memory**2)
    return memory, np.clip(product / (square + prior), -MOST_SECOND, MOST_SECOND)


def _lost(product: np.ndarray, square: np.ndarray, number: np.ndarray, least: int, more: int) -> np.ndarray:
    """What a level learned from the same nights takes off a correlation."""
    found = np.divide(product, square, out=np.zeros(product.shape), where=square > 0)
    return np.maximum(least + more * found, 0.0) / np.maximum(number, LEAST_PAIRS)
