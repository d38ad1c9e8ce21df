"""Glucose after meals and insulin: a linear minimal model whose answer to a dose has a closed form.

With t in minutes, carbohydrate q (g), insulin i (U), plasma glucose G (mg/dL):

    q1' = meals - ka q1              q2' = ka q1 - ka q2
    i1' = doses - ki i1              i2' = ki i1 - ki i2
    G'  = -p (G - Gb) + e ka q2 - s ki i2 + w activity
    I'  = (G - I) / 8                what the sensor under the skin sees

A meal of c grams at time 0 thus adds, exactly and whatever else happens,

    e c ka^2 exp(-p t) (1 - (1 + d t) exp(-d t)) / d^2,    d = ka - p,

and u units of insulin the same with -s, u and ki. e is `glucose_mg_dl_per_gram`, s is
`glucose_mg_dl_per_unit`, p is `clearance_per_min`, w is `glucose_mg_dl_per_min_activity`.
Real insulin multiplies G rather than subtracts from it; we keep the linear form because its
effects add up and are known exactly, which is what a cohort with known truth is for.
"""

import numpy as np
from scipy.linalg import expm

from hdt_fm.data.synthetic.person import Person
from hdt_fm.data.synthetic.processes import Array

STEP_S = 5.0
SENSOR_LAG_MIN = 8.0
_GUT, _DEPOT, _PLASMA, _TISSUE = 0, 2, 4, 5


def glucose_response(minutes: Array, *, effect: float, rate_per_min: float, clearance_per_min: float) -> Array:
    """What one gram (or unit) adds to glucose, mg/dL, so many minutes after it: the closed form above; 0 before."""
    after = np.maximum(minutes, 0.0)
    gap = rate_per_min - clearance_per_min
    bracket = (1.0 - (1.0 + gap * after) * np.exp(-gap * after)) / gap**2
    return effect * rate_per_min**2 * np.exp(-clearance_per_min * after) * bracket


def simulate_glucose(
    person: Person, activity: Array, meals: Array, insulin: Array, *, activity_rate_hz: float, duration_s: float
) -> tuple[Array, Array, Array]:
    """Integrate the model on a 5-s grid, exactly for doses on the grid and activity constant within a step.

    Args:
        person: Whose rates and effects.
        activity: Activity (time,), 0 to 1.
        meals: (meal, 2): seconds and grams.
        insulin: (dose, 2): seconds and units.
        activity_rate_hz: Samples per second of `activity`.
        duration_s: Length of the visit.

    Returns:
        Times in seconds, plasma glucose and tissue glucose in mg/dL, each (time,).
    """
    count = int(np.ceil(duration_s / STEP_S)) + 1
    times = np.arange(count, dtype=np.float64) * STEP_S
    steps_min = STEP_S / 60.0
    # The last column carries the activity, held over a step, so that one matrix exponential does all.
    system = np.zeros((7, 7))
    system[:6, :6] = _dynamics(person)
    system[_PLASMA, 6] = person.glucose_mg_dl_per_min_activity
    advance = expm(system * steps_min)
    pushes = np.zeros((count, 7))
    for doses, place in ((meals, _GUT), (insulin, _DEPOT)):
        rows = np.minimum(np.round(doses[:, 0] / STEP_S).astype(int), count - 1)
        np.add.at(pushes[:, place], rows, doses[:, 1])
    held = activity[np.minimum((times * activity_rate_hz).astype(int), len(activity) - 1)]
    states = np.zeros((count, 7))
    for k in range(count):
        if k:
            states[k] = advance @ states[k - 1]
        states[k] += pushes[k]
        states[k, 6] = held[k]
    glucose = states[:, [_PLASMA, _TISSUE]] + person.basal_glucose_mg_dl
    return times, glucose[:, 0], glucose[:, 1]


def _dynamics(person: Person) -> Array:
    """The 6 x 6 matrix of the model, per minute; glucose as distance from its basal level."""
    gut, depot = person.meal_rate_per_min, person.insulin_rate_per_min
    matrix = np.zeros((6, 6))
    for first, rate in ((_GUT, gut), (_DEPOT, depot)):
        matrix[first, first] = matrix[first + 1, first + 1] = -rate
        matrix[first + 1, first] = rate
    matrix[_PLASMA, _GUT + 1] = person.glucose_mg_dl_per_gram * gut
    matrix[_PLASMA, _DEPOT + 1] = -person.glucose_mg_dl_per_unit * depot
    matrix[_PLASMA, _PLASMA] = -person.clearance_per_min
    matrix[_TISSUE, _PLASMA] = 1.0 / SENSOR_LAG_MIN
    matrix[_TISSUE, _TISSUE] = -1.0 / SENSOR_LAG_MIN
    return matrix
