"""Tests that a map must pass before anyone may trust it. Thresholds are argued in the README of this room."""

from collections.abc import Callable

from torch import Tensor

from hdt_fm.explain.explanation import Check, Explanation, Reliability
from hdt_fm.explain.gate import agreement, completeness, dependence, noise, predicts, randomisation
from hdt_fm.explain.gate.exam import Exam
from hdt_fm.explain.gate.skill import Skill
from hdt_fm.schema.batch import Batch

# A test is a file with `check(Exam) -> Check`; the report shows them in this order.
TESTS: tuple[Callable[[Exam], Check], ...] = (
    predicts.check,
    dependence.check,
    completeness.check,
    randomisation.check,
    noise.check,
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
) -> Reliability:
    """Test an explanation of a batch by the model that it was made with.

    Args:
        batch: The batch that `explanation` was made from.
        skill: The output's measured skill; without it the report can at best warn, since a map of a
            model that predicts nothing looks like any other.
        windows: How many windows the repeated tests use, spread over the range of the output.
        stages: Steps of the cascade from the head down.
        draws: Repeats of random weights and of noise.
        seed: Of random weights and noise.

    Raises:
        ExplainError: As `attribute`.
    """
    exam = Exam.of(fn_model, batch, explanation, skill=skill, windows=windows, stages=stages, draws=draws, seed=seed)
    return Reliability(tuple(test(exam) for test in TESTS))
