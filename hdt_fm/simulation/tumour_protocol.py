"""The published protocol on simulated tumours: sets to learn from, what-if questions with their truth, and scores.

A question is asked at every day t of every test subject: given volumes up to day t and treatments before it, what are
the next volumes under each plan? Truth runs on with the noise of what happened, so that plans of a day differ by what
they give and by nothing else.

- one step: all four options of the day (none, radio, chemo, both).
- sliding: the day as it was treated, then five days with one treatment: chemo or radio on one of them, ten plans.
- random: the day as it was treated, then five days at random, ten plans drawn anew for each day of each subject.

An error is divided by the volume of death (about 1,150 cm3) and printed in percent.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

from hdt_fm.schema.errors import unknown_name
from hdt_fm.simulation.tumour import (
    RADIO_GY,
    Course,
    Draws,
    Seen,
    Subjects,
    chemo_after,
    draw_chance,
    draw_subjects,
    grow,
    live,
)

Assignment = Literal["legacy", "corrected"]
Kind = Literal["one step", "sliding", "random"]
SEEDS = (10, 101, 1010, 10101, 101010)
DAYS = 60
STEPS_PLANNED = 5
OPTIONS = np.array([(0, 0), (0, 1), (1, 0), (1, 1)], dtype=bool)


@dataclass(frozen=True)
class Questions:
    """What is asked of a model, and the truth.

    Attributes:
        course: What is known: volumes up to the day that is asked at, treatments before it.
        plan: Treatments from that day on, chemo and radio. The plan axis is the same for all days.
        truth: Volumes (cm3) a day after each step; NaN where nothing is asked.
    """

    course: Course
    plan: Bool[np.ndarray, "subject day plan step treatment"]
    truth: Float[np.ndarray, "subject day plan step"]


# Volumes under each plan, in cm3, as `Questions.truth` is laid out.
Answer = Callable[[Questions], Float[np.ndarray, "subject day plan step"]]


@dataclass(frozen=True)
class Sets:
    """One gamma and seed: who is learned from, and the questions by their kind."""

    train: Course
    validation: Course
    questions: dict[Kind, Questions]


def draw_sets(
    gamma: float,
    seed: int,
    *,
    assignment: Assignment,
    train: int = 10_000,
    validation: int = 1_000,
    test: int = 1_000,
    days: int = DAYS,
) -> Sets:
    """All sets, each with subjects of its own."""
    streams = np.random.default_rng(seed).spawn(5)
    courses = []
    for count, rng in zip((train, validation), streams[:2], strict=True):
        people = draw_subjects(count, rng)
        courses.append(live(people, draw_chance(count, days, rng), gamma))
    kinds: tuple[Kind, ...] = ("one step", "sliding", "random")
    questions = {
        kind: draw_questions(kind, test, gamma, rng, assignment=assignment, days=days)
        for kind, rng in zip(kinds, streams[2:], strict=True)
    }
    return Sets(courses[0], courses[1], questions)


def draw_questions(
    kind: Kind, count: int, gamma: float, rng: np.random.Generator, *, assignment: Assignment, days: int = DAYS
) -> Questions:
    """Questions of one kind about new subjects.

    Args:
        assignment: What the treatments of the history look at. "corrected": the subject's own tumour. "legacy": as in
            the program behind the published rows, where subject number i is treated by row i of the output, which
            holds a day of another, earlier subject. Quote published rows beside this mode alone.

    Raises:
        UnknownNameError: If the kind or the assignment is not known.
    """
    if kind not in ("one step", "sliding", "random"):
        raise unknown_name("kind of question", kind, ("one step", "sliding", "random"))
    if assignment not in ("legacy", "corrected"):
        raise unknown_name("assignment", assignment, ("legacy", "corrected"))
    ahead = 0 if kind == "one step" else STEPS_PLANNED
    people, draws = draw_subjects(count, rng), draw_chance(count, days, rng, ahead)
    drawn = rng.random((count, days - 1, 2 * STEPS_PLANNED, STEPS_PLANNED, 2)) < 0.5 if kind == "random" else None

    def ask(rows: slice, seen: Seen | None) -> Questions:
        course = live(people.take(rows), draws.take(rows), gamma, until="today", seen=seen)
        plan = _plans(kind, course, None if drawn is None else drawn[rows])
        return Questions(course, plan, _truth(people.take(rows), draws.take(rows), course, plan))

    if assignment == "corrected":
        return ask(slice(0, count), None)
    return ask(slice(0, count), _rows_of_others(ask, count, days))


def _plans(
    kind: Kind, course: Course, drawn: Bool[np.ndarray, "subject day plan step treatment"] | None
) -> Bool[np.ndarray, "subject day plan step_from_today treatment"]:
    given = course.given[:, :-1]
    if kind == "one step":
        return np.broadcast_to(OPTIONS[:, None], (*given.shape[:2], 4, 1, 2))
    if drawn is None:
        one = np.eye(STEPS_PLANNED, dtype=bool)
        none = np.zeros_like(one)
        chemo_then_radio = np.concatenate([np.stack([one, none], axis=-1), np.stack([none, one], axis=-1)])
        drawn = np.broadcast_to(chemo_then_radio, (*given.shape[:2], *chemo_then_radio.shape))
    today = np.broadcast_to(given[:, :, None, None], (*drawn.shape[:3], 1, 2))
    return np.concatenate([today, drawn], axis=3)


def _truth(
    people: Subjects, draws: Draws, course: Course, plan: Bool[np.ndarray, "subject day plan step treatment"]
) -> Float[np.ndarray, "subject day plan step"]:
    """Neither cut at death nor at 0, but for the first day where it is what happened; a plan under which the tumour is
    gone below 0 before its last day has no truth."""
    volume = np.repeat(course.volume[:, :-1, None], plan.shape[2], axis=2)
    before = np.concatenate([np.zeros_like(course.chemo_units[:, :1]), course.chemo_units[:, :-2]], axis=1)
    units = np.repeat(before[..., None], plan.shape[2], axis=2)
    out = np.full(plan.shape[:4], np.nan)
    last = volume.shape[1]
    for step in range(plan.shape[3]):
        units = chemo_after(units, plan[..., step, 0])
        noise = draws.noise[:, 1 + step : 1 + step + last, None]
        volume = grow(volume, units, RADIO_GY * plan[..., step, 1], noise, people, axes=2)
        if step == 0:
            happened = (plan[..., 0, :] == course.given[:, :-1, None]).all(axis=-1)
            volume = np.where(happened, course.volume[:, 1:, None], volume)
        out[..., step] = volume
    asked = course.lived[:, :-1, None] & np.isfinite(out).all(axis=-1)
    return np.where(asked[..., None], out, np.nan)


def _rows_of_others(ask: Callable[[slice, Seen | None], Questions], count: int, days: int) -> Seen:
    """Row i of the output as it stands when subject i is simulated: by then all before have added a row a day and plan.

    Subject 0 looks at the first row of its own, which is still empty on its first day.
    """
    empty = np.zeros((1, days))
    rows = _as_rows(ask(slice(0, 1), lambda day: empty), 1)

    def seen(first: int, last: int) -> Seen:
        shown = rows[first:last]
        before = np.concatenate([empty, shown[1:]]) if first == 0 else shown
        return lambda day: before if day == 0 else shown

    done, rows_of_all = 0, np.zeros((0, days))
    while len(rows_of_all) < count:
        ready = max(len(rows_of_all), 1)
        added = _as_rows(ask(slice(done, ready), seen(done, ready)), count)
        rows_of_all = np.concatenate([rows_of_all, added])
        rows, done = rows_of_all, ready
    return seen(0, count)


def _as_rows(questions: Questions, most: int) -> Float[np.ndarray, "row day"]:
    """Subject by subject, day by day, plan by plan, what happened first: volumes so far and under the plan, then 0."""
    given = questions.course.given[:, :-1, None]
    order = np.argsort((questions.plan[..., 0, :] != given).any(axis=-1), axis=2, kind="stable")
    truth = np.take_along_axis(questions.truth, order[..., None], axis=2)
    subject, day, plan = (places[:most] for places in np.nonzero(np.isfinite(truth).all(axis=-1)))
    steps, days = truth.shape[3], questions.course.volume.shape[1]
    rows = np.zeros((len(subject), days + steps))
    rows[:, :days] = np.where(np.arange(days) <= day[:, None], questions.course.volume[subject], 0.0)
    ahead = day[:, None] + 1 + np.arange(steps)
    np.put_along_axis(rows, ahead, truth[subject, day, plan], axis=1)
    return rows[:, :days]
