"""What came after a person's own doses and meals, beside what the law says of them: the ground of every refuter."""

import numpy as np

from hdt_fm.heads.meal_response import MealResponse
from hdt_fm.layers.meal_courses import Moments
from hdt_fm.schema.lives import STEP_MINUTES, Lives
from hdt_fm.schema.what_if import Evidence
from hdt_fm.training.plans import in_two
from hdt_fm.twin.what_if.actions import ONE_ACTION_STEPS, Actions, actions_of


def evidence_of(law: MealResponse, lives: Lives) -> Evidence:
    """One person's actions: each half of the record judged by numbers that the other half has shown.

    The law is no sum, so what both treatments do is asked of it at once, and parted into the dose beside its meal and
    the meal without the dose.
    """
    halves, people = in_two(lives), np.unique(lives.person)
    rows = np.zeros(len(lives), dtype=np.int64)
    found: list[dict[str, np.ndarray]] = []
    # Early actions first: refuters ask for the order within a day.
    for taught, own in ((halves.second, halves.first), (halves.first, halves.second)):
        some = _with_readings(actions_of(own), own, law.minutes[-1] // STEP_MINUTES)
        numbers = law.own(taught, people).take(rows)
        missed = law.done(numbers, own, Moments(some.life, some.time), together=ONE_ACTION_STEPS)
        dose = missed.effects[:, 0]
        found.append(
            {
                "beyond": missed.missed + missed.whole,
                "effect": np.stack([dose, missed.whole - dose], axis=1),
                "moment": some.moment,
                "day": some.day,
            }
        )
    return Evidence(**{name: np.concatenate([one[name] for one in found]) for name in found[0]}, minutes=law.minutes)


def _with_readings(actions: Actions, own: Lives, horizon: int) -> Actions:
    """Those at whose moment the reading is known, and so many steps follow."""
    early = actions.time < own.glucose_mg_dl.shape[1] - horizon
    return actions.take(np.flatnonzero(early & np.isfinite(own.glucose_mg_dl[actions.life, actions.time])))
