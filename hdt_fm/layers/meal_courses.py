"""Courses of glucose from moments of lives, by the meal law: under plans that are asked, and under what was done."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from hdt_fm.layers import meal_law
from hdt_fm.schema.lives import Lives, Plans

LOWEST_MG_DL, HIGHEST_MG_DL = 39.0, 400.0
# A reading so old still says where a course starts.
READING_STEPS = 3


@dataclass(frozen=True)
class Moments:
    """Places in lives."""

    life: Int[np.ndarray, " moment"]
    time: Int[np.ndarray, " moment"]


@dataclass(frozen=True)
class Missed:
    """Against what came.

    Attributes:
        missed: Reading less course, both within the sensor's range.
        effects: By the law, of the dose and of the meal against none, the other as it was.
        whole: Of both against neither; the law is no sum, so that effects do not add up to it.
    """

    missed: Float[np.ndarray, "moment minute"]
    effects: Float[np.ndarray, "moment treatment minute"]
    whole: Float[np.ndarray, "moment minute"]


def within_range(level: np.ndarray) -> np.ndarray:
    """What can be shown, mg/dL."""
    out: np.ndarray = np.clip(level, LOWEST_MG_DL, HIGHEST_MG_DL)
    return out


def boards(numbers: Float[np.ndarray, "life number"], lives: Lives) -> Float[np.ndarray, "step state life"]:
    """All that is on board before each step of lives, by their doses alone."""
    every = meal_law.play(numbers, lives.insulin_units.T, lives.carbs_g.T, every_state=True)
    out: np.ndarray = every[:-1].astype(np.float32)
    return out


def courses(
    numbers: Float[np.ndarray, "life number"],
    lives: Lives,
    board: Float[np.ndarray, "step state life"],
    asked: Plans,
    share: float,
) -> Float[np.ndarray, "moment plan minute"]:
    """Under each plan, from where the law stands, moved by a share of what the newest reading says beyond; not cut."""
    units, grams = (_steps_first(table, max(asked.steps)) for table in (asked.units, asked.grams))
    start = _starts(lives, board, Moments(asked.life, asked.time), share)
    return _played(numbers[asked.life], start, units, grams, asked.steps)


def meals_known(lives: Lives, horizon: int) -> Moments:
    """Where something was taken, the reading is known, and so many steps follow."""
    taken = ((lives.bolus_units > 0) | (lives.carbs_g > 0)) & np.isfinite(lives.glucose_mg_dl)
    life, time = np.nonzero(taken[:, : taken.shape[1] - horizon])
    return Moments(life, time)


def factual(
    numbers: Float[np.ndarray, "life number"],
    lives: Lives,
    board: Float[np.ndarray, "step state life"],
    moments: Moments,
    steps: tuple[int, ...],
    share: float,
    *,
    together: int = 1,
) -> Missed:
    """What was missed when all that was taken is told, later doses and meals included.

    Args:
        together: What is taken in so many columns from the moment on is one dose and one meal.
    """
    ahead = moments.time[:, None] + np.arange(max(steps))
    units, grams = (table[moments.life[:, None], ahead] for table in (lives.bolus_units, lives.carbs_g))
    # As it was, without the dose, without the meal, without both.
    units, grams = np.repeat(units[..., None], 4, axis=2), np.repeat(grams[..., None], 4, axis=2)
    units[:, :together, [1, 3]], grams[:, :together, 2:] = 0.0, 0.0
    start = _starts(lives, board, moments, share)
    level = _played(numbers[moments.life], start, units, grams, steps)
    came = lives.glucose_mg_dl[moments.life[:, None], moments.time[:, None] + np.array(steps)]
    missed = within_range(came) - within_range(level[:, 0])
    return Missed(missed, level[:, :1] - level[:, 1:3], level[:, 0] - level[:, 3])


def own_errors(found: Missed, person: Int[np.ndarray, " moment"]) -> Float[np.ndarray, "treatment minute"]:
    """Variance over people of the share by which a person's effects are missed, less what is chance of few meals."""
    out = np.zeros((found.effects.shape[1], found.effects.shape[2]))
    people = np.unique(person)
    for one in people:
        for minute in range(out.shape[1]):
            rows = (person == one) & np.isfinite(found.missed[:, minute])
            table = np.concatenate([np.ones((rows.sum(), 1)), found.effects[rows, :, minute]], axis=1)
            inverse = np.linalg.pinv(table.T @ table)
            slopes = inverse @ table.T @ found.missed[rows, minute]
            left = np.square(found.missed[rows, minute] - table @ slopes).mean()
            out[:, minute] += np.square(slopes[1:]) - left * np.diagonal(inverse)[1:]
    varies: np.ndarray = np.maximum(out / len(people), 0.0)
    return varies


def _steps_first(table: Float[np.ndarray, "moment plan step"], steps: int) -> Float[np.ndarray, "moment every plan"]:
    """So many steps; nothing is taken after the last one that is told."""
    told = table[:, :, :steps].transpose(0, 2, 1)
    out: np.ndarray = np.pad(told, ((0, 0), (0, steps - told.shape[1]), (0, 0)))
    return out


def _starts(
    lives: Lives, board: Float[np.ndarray, "step state life"], moments: Moments, share: float
) -> Float[np.ndarray, "state moment"]:
    """What is on board, moved by what the newest reading of the last quarter of an hour says beyond."""
    surprise = np.full(len(moments.life), np.nan)
    for back in range(READING_STEPS + 1):
        then = np.maximum(moments.time - back, 0)
        reading = lives.glucose_mg_dl[moments.life, then]
        beyond = reading - meal_law.shown(board[then, :, moments.life].T)
        surprise = np.where(np.isfinite(surprise), surprise, beyond)
    state = board[moments.time, :, moments.life].T.astype(np.float64)
    return meal_law.moved(state, share * np.where(np.isfinite(surprise), surprise, 0.0))


def _played(
    numbers: Float[np.ndarray, "moment number"],
    start: Float[np.ndarray, "state moment"],
    units: Float[np.ndarray, "moment step plan"],
    grams: Float[np.ndarray, "moment step plan"],
    steps: tuple[int, ...],
) -> Float[np.ndarray, "moment plan minute"]:
    moments, told, plans = units.shape
    level = meal_law.play(
        np.repeat(numbers, plans, axis=0),
        units.transpose(1, 0, 2).reshape(told, moments * plans),
        grams.transpose(1, 0, 2).reshape(told, moments * plans),
        start=np.repeat(start, plans, axis=1),
    )
    out: np.ndarray = level[list(steps)].reshape(len(steps), moments, plans).transpose(1, 2, 0)
    return out
