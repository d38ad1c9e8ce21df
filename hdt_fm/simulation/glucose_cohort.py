"""The cohort on which what-if answers are judged: histories to learn from, and true answers at the meals of others."""

from dataclasses import dataclass

import numpy as np

from hdt_fm.schema.errors import ConfigError
from hdt_fm.simulation.glucose_habits import READINGS_PER_DAY, Policy, draw_days
from hdt_fm.simulation.glucose_life import History, live
from hdt_fm.simulation.glucose_rollouts import MealPlans, Rollouts, rollouts
from hdt_fm.simulation.virtual_people import AGES, VirtualPeople, draw_people


@dataclass(frozen=True, kw_only=True)
class WhatIfCohort:
    """People to learn from, people to be judged on, and what would have happened to these.

    Attributes:
        train_people, test_people: One row per person; nobody is in both.
        train, test: Their histories, a row per life.
        answers: At the test people's meals from the second day on; `answers.run` is a row of `test`.
    """

    train_people: VirtualPeople
    test_people: VirtualPeople
    train: History
    test: History
    answers: Rollouts


def what_if_cohort(
    *,
    seed: int,
    policy: Policy | None = None,
    plans: MealPlans | None = None,
    train_per_age: int = 7,
    test_per_age: int = 3,
    replicates: int = 4,
    days: int = 14,
) -> WhatIfCohort:
    """Simulate everybody side by side, then roll out every test meal.

    The seed fixes the people, their meals, their sensors' errors and their luck; policies differ in nothing else, so
    cohorts of one seed under confounding 0, 1 and 3 are arms of one experiment.

    Raises:
        ConfigError: If a count is under 1, or there are under two days.
    """
    if min(train_per_age, test_per_age, replicates) < 1 or days < 2:
        expected = "one person or more of each age on both sides, one life or more, two days or more"
        raise ConfigError("Such a cohort has nothing to ask", expected=expected, where="what_if_cohort")
    each = train_per_age + test_per_age
    people = draw_people(dict.fromkeys(AGES, each), seed=seed)
    held_out = np.tile(np.arange(each) >= train_per_age, len(AGES))
    person = np.repeat(np.arange(len(people)), replicates)
    replicate = np.tile(np.arange(replicates, dtype=np.int64), len(people))
    runs, asked = people.take(person), held_out[person]
    lives = draw_days(runs, replicate, days=days, seed=seed)
    keep = asked[:, None] & (np.arange(days * READINGS_PER_DAY) >= READINGS_PER_DAY)
    history, meals = live(runs, lives, policy or Policy(), replicate=replicate, keep=keep)
    answers = rollouts(runs, meals, plans)
    # Rows of the whole become rows of the test history.
    place = np.cumsum(asked) - 1
    return WhatIfCohort(
        train_people=people.take(np.flatnonzero(~held_out)),
        test_people=people.take(np.flatnonzero(held_out)),
        train=history.take(np.flatnonzero(~asked)),
        test=history.take(np.flatnonzero(asked)),
        answers=Rollouts(**{**vars(answers), "run": place[answers.run]}),
    )
