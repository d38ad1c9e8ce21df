"""Seeds: a map that another draw, or another training, turns round says more of the dice than of the model."""

import numpy as np

from hdt_fm.explain.explanation import Check, MethodMap, worst
from hdt_fm.explain.gate.exam import Exam
from hdt_fm.explain.gate.judge import at_least, stretches_alike
from hdt_fm.explain.methods import METHODS

MARKS = (0.8, 0.5)
TRAINING_MARKS = (0.6, 0.3)


def check(exam: Exam) -> Check:
    """Likeness over other seeds of the method, and over other trainings where the caller gives some."""
    rule = f"correlation by segment over seeds of the method: pass >= {MARKS[0]}, warn >= {MARKS[1]}"
    if exam.retrained:
        rule += f"; over trainings: pass >= {TRAINING_MARKS[0]}, warn >= {TRAINING_MARKS[1]}"
    random = METHODS[exam.lead].random
    draws = [_other_seed(exam, k + 1) for k in range(exam.draws)] if random else [1.0]
    trainings = [_alike(exam, exam.again(other, exam.few)) for other in exam.retrained]
    value, verdict = float(np.mean(draws)), at_least(float(np.mean(draws)), MARKS)
    meaning = (
        f"Other draws of this method give a map with a correlation by segment of {value:.2f}."
        if random
        else "The method is deterministic: the same model and window give the same map."
    )
    detail = {f"draw {k + 1}": one for k, one in enumerate(draws)} if random else {}
    if trainings:
        mean = float(np.mean(trainings))
        value, verdict = min(value, mean), worst([verdict, at_least(mean, TRAINING_MARKS)])
        meaning += f" {len(trainings)} further trainings of the model give {mean:.2f}."
        detail |= {f"training {k + 1}": one for k, one in enumerate(trainings)}
    return Check("seeds", verdict, value, rule, meaning, detail)


def _other_seed(exam: Exam, step: int) -> float:
    seed = int(exam.explanation.settings["seed"]) + step
    return _alike(exam, exam.again(exam.model, exam.few, seed=seed))


def _alike(exam: Exam, other: MethodMap) -> float:
    return stretches_alike(exam.original, other, exam.explanation.segments)
