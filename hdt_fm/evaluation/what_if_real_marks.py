"""What people's own records say of their doses and meals, and how models are held beside it."""

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import spearmanr

from hdt_fm.evaluation.people import Score, median
from hdt_fm.evaluation.what_if_windows import Windows, readings_at
from hdt_fm.schema.lives import STEPS_PER_HOUR, Lives

# A rule of thumb of clinics: one unit lowers glucose by this over the units of a day.
RULE_MG_DL_UNITS = 1700.0
# A correction is a dose without food above this; whoever takes it wants to come down to the target.
CORRECTED_MG_DL, TARGET_MG_DL = 150.0, 110.0
HOURS_A_DAY = 24
# A mark of a person rests on so many windows or more.
LEAST_WINDOWS = 5


def own_marks(
    lives: Lives, windows: Windows, person: Int[np.ndarray, " moment"], people: Int[np.ndarray, " person"]
) -> tuple[Float[np.ndarray, " person"], Float[np.ndarray, " person"], Float[np.ndarray, " person"]]:
    """Of each person: the rule of thumb by units a day, mg/dL for a unit by own corrections, grams for a unit at meals.

    Medians of windows; NaN where fewer than `LEAST_WINDOWS` tell.
    """
    units, grams = windows.first
    reading = readings_at(lives, windows.life, windows.time)
    corrects, dose = (units > 0) & (grams == 0) & (reading > CORRECTED_MG_DL), np.where(units > 0, units, np.nan)
    fall = np.where(corrects, (reading - TARGET_MG_DL) / dose, np.nan)
    meal = np.where(grams > 0, grams / dose, np.nan)
    found = np.full((3, len(people)), np.nan)
    for place, one in enumerate(people):
        mine = np.flatnonzero(lives.person == one)
        hours = sum(_span(lives.glucose_mg_dl[life]) for life in mine) / STEPS_PER_HOUR
        an_hour = lives.bolus_units[mine].sum() / hours + lives.basal_units_per_hour[mine].mean()
        found[0, place] = RULE_MG_DL_UNITS / (HOURS_A_DAY * an_hour)
        for row, some in enumerate((fall, meal), start=1):
            told = some[(person == place) & np.isfinite(some)]
            found[row, place] = np.median(told) if len(told) >= LEAST_WINDOWS else np.nan
    return found[0], found[1], found[2]


def _span(glucose: Float[np.ndarray, " time"]) -> int:
    """Columns from the first known reading to the last."""
    known = np.flatnonzero(np.isfinite(glucose))
    return int(known[-1] - known[0]) + 1 if len(known) else 0


def slope_sums(
    left: Float[np.ndarray, " moment"], taken: Float[np.ndarray, "moment treatment"], person: Int[np.ndarray, " moment"]
) -> Float[np.ndarray, "person sum"]:
    """Of each person, around the person's own means: squares and products of two treatments, and with what is left."""
    known = np.isfinite(left)
    out = np.zeros((int(person.max()) + 1, 5))
    for one in range(len(out)):
        rows = known & (person == one)
        if rows.any():
            some = taken[rows] - taken[rows].mean(axis=0)
            (a, b), (_, c) = some.T @ some
            out[one] = a, b, c, *(some.T @ left[rows])
    return out


def slope_score(sums: Float[np.ndarray, "person sum"], at: int) -> Score:
    """Slope on one of the two treatments, the other held."""

    def over(counts: np.ndarray) -> np.ndarray:
        a, b, c, first, second = (counts @ sums).T
        of = (c * first - b * second, a * second - b * first)[at]
        whole = a * c - b * b
        return np.where(whole > 1e-9 * a * c, of / np.where(whole > 0, whole, 1.0), np.nan)

    return Score(over, int((sums[:, 0] + sums[:, 2] > 0).sum()))


def median_known(values: Float[np.ndarray, " person"]) -> Score:
    """Over people who have one; NaN where nobody does."""
    known = np.flatnonzero(np.isfinite(values))
    if not len(known):
        return Score(lambda counts: np.full(len(counts), np.nan), 0)
    return median(values[known], known)


def rank_correlation(pairs: np.ndarray) -> Score:
    """Spearman's over people; one who is drawn twice counts twice."""
    known = np.isfinite(pairs).all(axis=1)

    def over(counts: np.ndarray) -> np.ndarray:
        out = []
        for some in counts:
            first, second = np.repeat(pairs[known], some[known].astype(np.int64), axis=0).T
            vary = len(np.unique(first)) > 1 and len(np.unique(second)) > 1
            out.append(float(spearmanr(first, second).statistic) if vary else np.nan)
        return np.array(out)

    return Score(over, int(known.sum()))
