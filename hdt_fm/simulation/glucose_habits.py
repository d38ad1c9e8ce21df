"""How people live: when and how much they eat, how well they count it, and how they dose on what the sensor shows."""

from collections.abc import Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np
from jaxtyping import Bool, Float64

from hdt_fm.schema.errors import ConfigError
from hdt_fm.simulation.glucose_plan import MOST_UNITS
from hdt_fm.simulation.glucose_sensor import READING_MINUTES, sensor_error
from hdt_fm.simulation.virtual_people import VirtualPeople

READINGS_PER_DAY = 24 * 60 // READING_MINUTES
# Hour, share of the day's carbohydrate and chance of each meal: breakfast, lunch, a snack, dinner.
_MEALS = ((7.5, 0.25, 1.0), (12.5, 0.35, 1.0), (15.5, 0.10, 0.5), (18.5, 0.40, 1.0))
# An adult of 76 kg eats about 190 g a day, a child of 34 kg 130 g; some more, some less.
_DAY_GRAMS_PER_SQRT_KG, _APPETITE_SPREAD = 22.0, 0.10
_MEAL_SPREAD, _LATE_SD_MINUTES = 0.30, 30.0
_EATING, _DOSING, _SENSING = range(3)


@dataclass(frozen=True, kw_only=True)
class Policy:
    """How a dose comes about at a meal. Noise and skipped doses are what lets an effect be told from a habit.

    recommended = counted carbs / CR + confounding x clip((reading - target) / CF, low, high), within 0 and `most_units`
    given       = recommended x log-normal(dose_spread), within the same, or none at all

    Args:
        confounding: How much the reading moves the dose: 0 not at all, 1 as taught, 3 wildly.
        count_error: SD of the logarithm of counted over true carbohydrate.
        dose_spread: SD of the logarithm of given over recommended. 0 with `skipped` 0: the dose is the habit, and no
            method can learn its effect.
        skipped: Share of meals without a dose.
        target_mg_dl: No correction at this reading.
        least_correction, most_correction: In multiples of CF: units.
        most_units: Of one dose.

    Raises:
        ConfigError: If a number cannot be.
    """

    confounding: float = 1.0
    count_error: float = 0.2
    dose_spread: float = 0.3
    skipped: float = 0.15
    target_mg_dl: float = 120.0
    least_correction: float = -3.0
    most_correction: float = 8.0
    most_units: float = 20.0

    def __post_init__(self) -> None:
        numbers = (self.confounding, self.count_error, self.dose_spread, self.skipped)
        if not np.isfinite(numbers).all() or min(numbers) < 0 or self.skipped > 1:
            expected = "confounding and spreads of 0 or more, skipped from 0 to 1"
            raise ConfigError("Nobody doses so", expected=expected, where="Policy")
        if not self.least_correction <= 0 <= self.most_correction or not 0 < self.most_units <= MOST_UNITS:
            expected = f"corrections around 0, a dose of at most {MOST_UNITS:g} U"
            raise ConfigError("Nobody doses so", expected=expected, where="Policy")

    def recommend(
        self, counted_g: np.ndarray, reading_mg_dl: np.ndarray, carbs_ratio: np.ndarray, correction: np.ndarray
    ) -> np.ndarray:
        """Units for a meal, from what was counted (g) and what the sensor shows."""
        above = np.clip((reading_mg_dl - self.target_mg_dl) / correction, self.least_correction, self.most_correction)
        units: np.ndarray = np.clip(counted_g / carbs_ratio + self.confounding * above, 0.0, self.most_units)
        return units

    def give(self, recommended: np.ndarray, spread: np.ndarray, luck: np.ndarray) -> np.ndarray:
        """Units that are injected, from a standard normal and a uniform number of that meal."""
        units = np.clip(recommended * np.exp(self.dose_spread * spread), 0.0, self.most_units)
        return np.where(luck < self.skipped, 0.0, units)


@dataclass(frozen=True, kw_only=True)
class Days:
    """All chance of some lives, drawn before they are lived, so that arms under other policies share it.

    A run is one person's life once; a column is 5 minutes. Numbers stand at every column, used only where a meal is.

    Attributes:
        carbs_g: (run, reading) What is eaten.
        count: Standard normal numbers behind the counting error.
        spread: Behind the given dose.
        luck: Uniform; low numbers skip the dose.
        sensor_error_mg_dl: What the sensor adds.
    """

    carbs_g: Float64[np.ndarray, "run reading"]
    count: Float64[np.ndarray, "run reading"]
    spread: Float64[np.ndarray, "run reading"]
    luck: Float64[np.ndarray, "run reading"]
    sensor_error_mg_dl: Float64[np.ndarray, "run reading"]

    @property
    def eats(self) -> Bool[np.ndarray, "run reading"]:
        """Where a meal is."""
        return self.carbs_g > 0


def draw_days(runs: VirtualPeople, replicates: Sequence[int] | np.ndarray, *, days: int, seed: int) -> Days:
    """Draw each run's chance from the seed, the person's code and the replicate alone, whatever else is in the batch.

    Raises:
        ConfigError: If there is no day, the seed is negative, or replicates are not one per run.
    """
    if days < 1 or seed < 0 or len(replicates) != len(runs):
        expected = "one day or more, a seed of 0 or more, a replicate per run"
        raise ConfigError("Such days cannot be drawn", expected=expected, where="draw_days")
    readings = days * READINGS_PER_DAY
    keys = [(seed, crc32(code.encode()), int(once)) for code, once in zip(runs.codes, replicates, strict=True)]
    dosing = [np.random.default_rng([*key, _DOSING]) for key in keys]
    return Days(
        carbs_g=np.array(
            [
                _meals(np.random.default_rng([*key, _EATING]), float(weight), days)
                for key, weight in zip(keys, runs.people.bw, strict=True)
            ]
        ),
        count=np.array([one.normal(size=readings) for one in dosing]),
        spread=np.array([one.normal(size=readings) for one in dosing]),
        luck=np.array([one.uniform(size=readings) for one in dosing]),
        sensor_error_mg_dl=sensor_error([np.random.default_rng([*key, _SENSING]) for key in keys], readings),
    )


def _meals(generator: np.random.Generator, weight_kg: float, days: int) -> np.ndarray:
    """Grams at each reading of one life; whole grams, on the readings' grid."""
    carbs = np.zeros(days * READINGS_PER_DAY)
    grams_a_day = _DAY_GRAMS_PER_SQRT_KG * np.sqrt(weight_kg) * np.exp(_APPETITE_SPREAD * generator.normal())
    for hour, share, chance in _MEALS:
        late = _LATE_SD_MINUTES * generator.normal(size=days)
        grams = np.round(share * grams_a_day * np.exp(_MEAL_SPREAD * generator.normal(size=days)))
        eaten = generator.uniform(size=days) < chance
        at = np.round((hour * 60 + np.clip(late, -90.0, 90.0)) / READING_MINUTES).astype(np.int64)
        np.add.at(carbs, (np.arange(days) * READINGS_PER_DAY + at)[eaten], grams[eaten])
    return carbs
