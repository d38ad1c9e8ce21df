"""Errors of answers about tumours, in percent of the volume of death."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from hdt_fm.schema.errors import ShapeError
from hdt_fm.simulation.tumour import DEATH_VOLUME_CM3
from hdt_fm.simulation.tumour_protocol import Questions


def step_errors(
    answer: Float[np.ndarray, "subject day plan step"], truth: Float[np.ndarray, "subject day plan step"]
) -> Float[np.ndarray, " step"]:
    """Root mean squared error over subjects, days and plans, in percent of the volume of death; a number a step.

    Raises:
        ShapeError: If an answer is missing or not finite where one is asked.
    """
    return np.sqrt(np.nanmean(_squared(answer, truth), axis=(0, 1, 2))) / DEATH_VOLUME_CM3 * 100


def _squared(answer: np.ndarray, truth: np.ndarray) -> np.ndarray:
    asked = np.isfinite(truth)
    if answer.shape != truth.shape or not np.isfinite(answer[asked]).all():
        raise ShapeError(
            "The answer does not fit the questions",
            expected=f"a finite volume for each of {truth.shape} where one is asked",
            got=f"{answer.shape}, {int((~np.isfinite(answer)).sum())} not finite",
        )
    return np.where(asked, (answer - truth) ** 2, np.nan)


@dataclass(frozen=True)
class OneStep:
    """Three ways to average one-step errors; the program behind the published rows logs them all, and its papers do not
    say which they print. Percent of the volume of death.

    Attributes:
        last_entry: Over the options of each day.
        all_entries: Each option brings along all days before it, as they happened.
        time_averaged: As `all_entries`, within each day of the course, then over days alike.
    """

    last_entry: float
    all_entries: float
    time_averaged: float


def one_step_errors(answer: Float[np.ndarray, "subject day plan step"], questions: Questions) -> OneStep:
    """See `OneStep`.

    Raises:
        ShapeError: As `step_errors`.
    """
    squared = _squared(answer, questions.truth)[..., 0]
    given = questions.course.given[:, :-1, None]
    happened = (questions.plan[..., 0, :] == given).all(axis=-1)
    factual = np.nansum(np.where(happened, squared, 0.0), axis=2)
    asked = np.isfinite(squared)
    # Each later day asks as many options again, and each of them brings this day along.
    later = asked.sum(axis=(1, 2))[:, None] - asked.sum(axis=2).cumsum(axis=1)
    later = later * asked.any(axis=2)
    by_day = np.nansum(squared, axis=(0, 2)) + (factual * later).sum(axis=0)
    entries = asked.sum(axis=(0, 2)) + later.sum(axis=0)
    there = entries > 0
    scores = np.nanmean(squared), by_day.sum() / entries.sum(), (by_day[there] / entries[there]).mean()
    return OneStep(*(float(np.sqrt(score) / DEATH_VOLUME_CM3 * 100) for score in scores))
