"""What a unit of insulin does to each person, and how many grams it covers: asked of the model, not assumed."""

import numpy as np
from jaxtyping import Float64

from hdt_fm.simulation.glucose_people import GlucosePeople
from hdt_fm.simulation.glucose_run import simulate

# A correction that a person of that weight would give, and a meal of middling size.
DOSE_UNITS_PER_KG, MEAL_G_PER_KG = 0.03, 0.7
FALL_MINUTES, MEAL_MINUTES = 360, 300
# Grams per unit that are tried; outside of them the answer is the nearer end.
GRAMS_PER_UNIT = np.geomspace(2.0, 100.0, 24)


def correction_mg_dl_per_unit(people: GlucosePeople) -> Float64[np.ndarray, " person"]:
    """How far a unit lowers glucose under the skin at its deepest within 6 h, from rest: the correction factor CF."""
    units = DOSE_UNITS_PER_KG * people.bw
    doses = np.zeros((len(people), FALL_MINUTES))
    doses[:, 0] = units
    glucose = simulate(people, np.zeros_like(doses), doses).tissue_mg_dl
    fall: np.ndarray = (glucose[:, 0] - glucose.min(axis=1)) / units
    return fall


def carbs_g_per_unit(people: GlucosePeople) -> Float64[np.ndarray, " person"]:
    """Grams that a unit covers, the carbohydrate ratio CR: with it a meal ends, after 5 h, where it began.

    All ratios are tried side by side; between two, the answer is linear in the logarithm.
    """
    tries, grams = len(GRAMS_PER_UNIT), MEAL_G_PER_KG * people.bw
    rows = np.repeat(np.arange(len(people)), tries)
    meals, doses = np.zeros((len(rows), MEAL_MINUTES)), np.zeros((len(rows), MEAL_MINUTES))
    meals[:, 0] = grams[rows]
    doses[:, 0] = (grams[:, None] / GRAMS_PER_UNIT).ravel()
    glucose = simulate(people.take(rows), meals, doses, every_minutes=MEAL_MINUTES).tissue_mg_dl
    above = (glucose[:, 1] - glucose[:, 0]).reshape(-1, tries)  # rises with grams per unit
    found = [np.interp(0.0, person, np.log(GRAMS_PER_UNIT)) for person in above]
    return np.exp(np.array(found))
