"""Windows after people's own doses and meals, what was taken in them, and what may be told in its place."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from hdt_fm.schema.lives import STEP_MINUTES, STEPS_PER_HOUR, Lives

# An action begins a window where nothing was taken for so long before; together with what follows so soon it is one.
APART_STEPS = STEPS_PER_HOUR // 2
# The newest reading before it is no older: sensors show one every 15 minutes.
OLDEST_STEPS = 2
# Beyond the last minute asked, for what is taken later than asked.
BEYOND_STEPS = STEPS_PER_HOUR
# Of a life, which begins at midnight.
DAY_STEPS = 24 * STEPS_PER_HOUR
MORE_UNITS, MORE_GRAMS = 1.0, 10.0
LATER_UNITS, LATER_GRAMS = 5.0, 50.0
_ACTION_STEPS = APART_STEPS + OLDEST_STEPS


@dataclass(frozen=True, kw_only=True)
class Windows:
    """Moments of lives, and what is taken from there on, as a model is told it.

    Attributes:
        life, time: (moment,) Row and column; the reading there and all before are known.
        units, grams: (moment, step) From the moment on, the first right after its reading.
        minutes: Asked; in steps of 5.
    """

    life: Int[np.ndarray, " moment"]
    time: Int[np.ndarray, " moment"]
    units: Float[np.ndarray, "moment step"]
    grams: Float[np.ndarray, "moment step"]
    minutes: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.life)

    @property
    def steps(self) -> tuple[int, ...]:
        """Of the minutes."""
        return tuple(minute // STEP_MINUTES for minute in self.minutes)

    @property
    def first(self) -> tuple[Float[np.ndarray, " moment"], Float[np.ndarray, " moment"]]:
        """Units and grams of the action itself: what is taken before half an hour has gone."""
        return self.units[:, :_ACTION_STEPS].sum(axis=1), self.grams[:, :_ACTION_STEPS].sum(axis=1)

    @property
    def alone(self) -> "Windows":
        """The action itself, and nothing of what is taken later."""
        among = np.arange(self.units.shape[1]) < _ACTION_STEPS
        return self.told(self.units * among, self.grams * among)

    def of_lives(self, rows: Int[np.ndarray, " row"], own: Int[np.ndarray, " life_too"]) -> "Windows":
        """Some moments, of lives that are now the only ones, in this order."""
        life = np.searchsorted(own, self.life[rows])
        return replace(self, life=life, time=self.time[rows], units=self.units[rows], grams=self.grams[rows])

    def told(self, units: Float[np.ndarray, "moment step"], grams: Float[np.ndarray, "moment step"]) -> "Windows":
        """The same moments with something else taken."""
        return replace(self, units=units, grams=grams)


def windows_of(lives: Lives, minutes: tuple[int, ...]) -> Windows:
    """From the newest reading before each action on, where one is known that is no older than `OLDEST_STEPS`."""
    taken = (lives.bolus_units > 0) | (lives.carbs_g > 0)
    count = np.concatenate([np.zeros((len(lives), 1)), taken.cumsum(axis=1)], axis=1)
    life, time = np.nonzero(taken)
    alone = count[life, time] == count[life, np.maximum(time - APART_STEPS, 0)]
    life, time = life[alone], time[alone]
    back = time[:, None] - np.arange(OLDEST_STEPS + 1)
    known = np.isfinite(lives.glucose_mg_dl[life[:, None], np.maximum(back, 0)]) & (back >= 0)
    life, time = life[known.any(axis=1)], (time - known.argmax(axis=1))[known.any(axis=1)]
    return windows_at(lives, life, time, minutes)


def windows_at(
    lives: Lives, life: Int[np.ndarray, " moment"], time: Int[np.ndarray, " moment"], minutes: tuple[int, ...]
) -> Windows:
    """Moments of lives, told what was taken then; nothing is after a life's end."""
    steps = max(minutes) // STEP_MINUTES + BEYOND_STEPS
    ahead, size = time[:, None] + np.arange(steps), lives.bolus_units.shape[1]
    inside = (ahead >= 0) & (ahead < size)
    units, grams = (
        np.where(inside, table[life[:, None], ahead.clip(0, size - 1)], 0.0)
        for table in (lives.bolus_units, lives.carbs_g)
    )
    return Windows(life=life, time=time, units=units, grams=grams, minutes=minutes)


def readings_at(lives: Lives, life: np.ndarray, time: np.ndarray) -> np.ndarray:
    """NaN outside of the life."""
    inside = (time >= 0) & (time < lives.glucose_mg_dl.shape[1])
    return np.where(inside, lives.glucose_mg_dl[life, time.clip(0, lives.glucose_mg_dl.shape[1] - 1)], np.nan)


def questions(windows: Windows, person: Int[np.ndarray, " moment"], seed: int) -> dict[str, Windows]:
    """What is told in place of what was taken; by name."""
    generator = np.random.default_rng(seed)
    units, grams = windows.units, windows.grams
    other = _another_day(person, windows, generator)
    places = generator.permuted(np.tile(np.arange(units.shape[1]), (len(windows), 1)), axis=1)
    later_units, later_grams = units - windows.alone.units, grams - windows.alone.grams
    out = {
        "told": windows,
        "nothing": windows.told(np.zeros_like(units), np.zeros_like(grams)),
        "another day": windows.told(units[other], grams[other]),
        "other times": windows.told(*(np.take_along_axis(table, places, axis=1) for table in (units, grams))),
        "not the action": windows.told(later_units, later_grams),
        "more insulin": windows.told(_first_more(units, MORE_UNITS), grams),
        "more food": windows.told(units, _first_more(grams, MORE_GRAMS)),
    }
    for minute, step in zip(windows.minutes, windows.steps, strict=True):
        later = np.zeros(units.shape[1])
        later[step] = 1.0
        out[f"after {minute}"] = windows.told(units + LATER_UNITS * later, grams + LATER_GRAMS * later)
    return out


def _first_more(table: np.ndarray, amount: float) -> np.ndarray:
    out: np.ndarray = table.copy()
    out[:, 0] += amount
    return out


def _another_day(
    person: Int[np.ndarray, " moment"], windows: Windows, generator: np.random.Generator
) -> Int[np.ndarray, " moment"]:
    """A window of the same person in another life or on another day of it; itself where there is none."""
    out = np.arange(len(windows))
    day = windows.time // DAY_STEPS
    for row in range(len(out)):
        apart = (windows.life != windows.life[row]) | (day != day[row])
        if (others := np.flatnonzero((person == person[row]) & apart)).size:
            out[row] = generator.choice(others)
    return out
