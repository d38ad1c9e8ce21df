"""Tests that a map must pass before anyone may trust it. Thresholds are argued in the README of this room."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from hdt_fm.explain.explanation import Check, Explanation, Reliability
from hdt_fm.explain.gate import (
    agreement,
    completeness,
    concentration,
    cumulative,
    deletion,
    dependence,
    finds,
    infidelity,
    noise,
    physiology,
    predicts,
    random_target,
    randomisation,
    seeds,
    sensitivity,
    shift,
)
from hdt_fm.explain.gate.events import Events
from hdt_fm.explain.gate.exam import Exam
from hdt_fm.explain.gate.planted import Fitness
from hdt_fm.explain.gate.skill import Skill
from hdt_fm.schema.batch import Batch

# A test is a file with `check(Exam) -> Check`; the report shows them in this order.
TESTS: tuple[Callable[[Exam], Check], ...] = (
    predicts.check,
    finds.check,
    dependence.check,
    concentration.check,
    completeness.check,
    randomisation.check,
    random_target.check,
    seeds.check,
    shift.check,
    noise.check,
    sensitivity.check,
    deletion.check,
    cumulative.check,
    infidelity.check,
    agreement.check,
)


def examine(
    fn_model: Callable[[Batch], Tensor],
    batch: Batch,
    explanation: Explanation,
    *,
    skill: Skill | None = None,
    windows: int = 3,
    stages: int = 4,
    draws: int = 2,
    seed: int = 0,
    orders: int = 39,
    fitness: Sequence[Fitness] = (),
    events: Sequence[Events] = (),
    labels: NDArray[np.floating] | None = None,
    retrained: Sequence[Callable[[Batch], Tensor]] = (),
) -> Reliability:
    """Test an explanation of a batch by the model that it was made with.

    Args:
        batch: The batch that `explanation` was made from.
        skill: The output's measured skill; without it the report can at best warn, since a map of a
            model that predicts nothing looks like any other.
        windows: How many windows the repeated tests use, spread over the range of the output.
        stages: Steps of the cascade from the head down.
        draws: Repeats of random weights, of noise and of methods that sample.
        seed: Of all that is random here.
        orders: Random orders that the map's order of segments must beat.
        fitness: What planted signals said of the methods in this architecture; without it the report warns.
        events: Moments that may carry credit; physiology is looked at only where some are given.
        labels: (window,) the right answers, NaN where unknown: a channel that equals them is a leak.
        retrained: The same model from other trainings, with the same outputs.

    Raises:
        ExplainError: As `attribute`; for labels or events that do not fit the windows.
        UnknownNameError: If events are of a modality that was not explained.
    """
    exam = Exam.of(
        fn_model,
        batch,
        explanation,
        skill=skill,
        windows=windows,
        stages=stages,
        draws=draws,
        seed=seed,
        orders=orders,
        fitness=fitness,
        events=events,
        labels=labels,
        retrained=retrained,
    )
    return examined(exam)


def examined(exam: Exam, progress: Callable[[int, int, str], None] | None = None) -> Reliability:
    """All tests of an exam; what they measured stays with it, e.g. for `curves.traced`.

    Args:
        progress: Told how many tests are done, of how many, and which is next.
    """
    tests = (*TESTS, physiology.check) if exam.events else TESTS
    checks = []
    for number, test in enumerate(tests):
        if progress:
            progress(number, len(tests), test.__module__.rpartition(".")[2].replace("_", " "))
        checks.append(test(exam))
    if progress:
        progress(len(tests), len(tests), "")
    return Reliability(tuple(checks))
