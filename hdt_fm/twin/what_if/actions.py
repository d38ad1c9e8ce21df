"""Doses and meals in lives, each with what was known before it."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.signal import lfilter

from hdt_fm.schema.lives import STEP_MINUTES, STEPS_PER_HOUR, Lives
from hdt_fm.schema.what_if import TREATMENTS

FEATURES = ("glucose", "change", "insulin_on_board", "carbs_on_board", "basal", "hours_since")
# What is taken so near to the first of it is one action; a reading so old is still the newest.
ONE_ACTION_MINUTES, NEWEST_MINUTES, CHANGE_MINUTES = 15, 15, 30
ONE_ACTION_STEPS = ONE_ACTION_MINUTES // STEP_MINUTES + 1
DAY_STEPS = 24 * STEPS_PER_HOUR
# How fast insulin and meals pass, as single decays; and after how long the last action says nothing any more.
INSULIN_HOURS, CARBS_HOURS, LONGEST_HOURS = 2.0, 1.0, 8.0


@dataclass(frozen=True, kw_only=True)
class Actions:
    """Doses and meals of people, each with what was known before it.

    Attributes:
        dose: Of each treatment, U and g; 0 where only the other was taken.
        moment: `FEATURES`: mg/dL, mg/dL in half an hour, U beyond basal, g, log of U/h, hours; NaN where no reading
            tells.
        person: As in the lives.
        day: Of the record; no two lives share one or follow each other.
        life, time: Row and column of the lives.
    """

    dose: Float[np.ndarray, "action treatment"]
    moment: Float[np.ndarray, "action feature"]
    person: Int[np.ndarray, " action"]
    day: Int[np.ndarray, " action"]
    life: Int[np.ndarray, " action"]
    time: Int[np.ndarray, " action"]

    def __len__(self) -> int:
        return len(self.person)

    def take(self, rows: np.ndarray) -> "Actions":
        """These actions, in this order."""
        return Actions(**{name: values[rows] for name, values in vars(self).items()})


def actions_of(lives: Lives) -> Actions:
    """What was taken within 15 minutes is one action at its first step; both treatments may be part of it."""
    doses = np.stack([lives.bolus_units, lives.carbs_g])
    life, time, amount = [], [], []
    for row in range(len(lives)):
        end = 0
        for step in np.flatnonzero((doses[:, row] > 0).any(axis=0)).tolist():
            if step < end:
                continue
            end = step + ONE_ACTION_STEPS
            life.append(row)
            time.append(step)
            amount.append(doses[:, row, step:end].sum(axis=1))
    rows, columns = np.array(life, dtype=np.int64), np.array(time, dtype=np.int64)
    # A day between lives, so that none follows on another's.
    days = -(-lives.glucose_mg_dl.shape[1] // DAY_STEPS) + 1
    return Actions(
        dose=np.array(amount, dtype=np.float64).reshape(-1, len(TREATMENTS)),
        moment=moments_at(lives, rows, columns),
        person=lives.person[rows],
        day=rows * days + columns // DAY_STEPS,
        life=rows,
        time=columns,
    )


def moments_at(
    lives: Lives, life: Int[np.ndarray, " moment"], time: Int[np.ndarray, " moment"]
) -> Float[np.ndarray, "moment feature"]:
    """`FEATURES` at moments of lives: of readings up to there, and of nothing taken there or after."""
    glucose = _newest(lives.glucose_mg_dl)
    back = time - CHANGE_MINUTES // STEP_MINUTES
    before = np.where(back >= 0, glucose[life, back.clip(0)], np.nan)
    taken = (lives.bolus_units > 0) | (lives.carbs_g > 0)
    column = np.arange(taken.shape[1])
    last = np.maximum.accumulate(np.where(taken, column, -DAY_STEPS), axis=1)
    last = np.concatenate([np.full((len(taken), 1), -DAY_STEPS), last[:, :-1]], axis=1)
    return np.stack(
        [
            glucose[life, time],
            glucose[life, time] - before,
            _on_board(lives.insulin_units, INSULIN_HOURS)[life, time],
            _on_board(lives.carbs_g, CARBS_HOURS)[life, time],
            np.log(lives.basal_units_per_hour)[life],
            np.minimum((time - last[life, time]) / STEPS_PER_HOUR, LONGEST_HOURS),
        ],
        axis=1,
    )


def _newest(glucose: Float[np.ndarray, "life time"]) -> Float[np.ndarray, "life time"]:
    """The reading of each column, or the last of the quarter of an hour before."""
    out = glucose.copy()
    for back in range(1, NEWEST_MINUTES // STEP_MINUTES + 1):
        out[:, back:] = np.where(np.isfinite(out[:, back:]), out[:, back:], glucose[:, :-back])
    return out


def _on_board(amounts: Float[np.ndarray, "life time"], hours: float) -> Float[np.ndarray, "life time"]:
    """What is left before each column of all that was taken before it."""
    kept = float(np.exp(-1 / (hours * STEPS_PER_HOUR)))
    out: np.ndarray = lfilter([0.0, kept], [1.0, -kept], amounts, axis=1)
    return out
