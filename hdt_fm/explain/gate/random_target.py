"""Random target: a map must be of the question that was asked, and change when another is."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from hdt_fm.explain.explanation import Check
from hdt_fm.explain.gate.exam import Exam
from hdt_fm.explain.gate.judge import at_most, likeness
from hdt_fm.explain.gate.perturb import randomised

MARKS = (0.5, 0.9)
SAME_QUESTION = 0.9
MIRROR = -0.99


def check(exam: Exam) -> Check:
    """Compare with the map of the output that goes along least with this one; else with random last layers."""
    other = another_question(exam.outputs(), exam.explanation.target_index)
    if other is not None:
        value = likeness(exam.original.values, exam.again(exam.model, exam.few, target=other).values)
        # Of two classes one's log-odds are the other's turned round, and so is the map: the question is the same.
        if value > MIRROR:
            rule = f"rank correlation with the map of another output: pass <= {MARKS[0]}, warn <= {MARKS[1]}"
            meaning = f"The map of another output (column {other}) has a rank correlation of {value:.2f} with this one."
            return Check("random target", at_most(value, MARKS), value, rule, meaning, {f"column {other}": value})
    return _random_heads(exam)


def another_question(outputs: NDArray[np.float64], target: int) -> int | None:
    """The column whose correlation with the target over windows is smallest; None where all go along with it."""
    sizes = {}
    for column in range(outputs.shape[1]):
        if column != target and np.ptp(outputs[:, column]) > 0 and np.ptp(outputs[:, target]) > 0:
            sizes[column] = abs(float(np.corrcoef(outputs[:, column], outputs[:, target])[0, 1]))
    known = [column for column, size in sizes.items() if size <= SAME_QUESTION]
    return min(known, key=sizes.__getitem__) if known else None


def _random_heads(exam: Exam) -> Check:
    """With the last layer random; never a fail, since an encoder may look at one place whatever is asked of it."""
    rule = f"size of rank correlation with random last layers: pass <= {MARKS[0]}, else warn"
    model = getattr(exam.model, "_orig_mod", exam.model)
    if not isinstance(model, nn.Module) or not any(True for _ in model.parameters()):
        meaning = "Not run: there is no other output, and the model shows no last layer to randomise."
        return Check("random target", "warn", float("nan"), rule, meaning)
    found = []
    for draw in range(exam.draws):
        generator = torch.Generator().manual_seed(exam.seed + 100 + draw)
        _, random = next(randomised(model, stages=sum(1 for _ in model.modules()), generator=generator))
        # A head turned round asks the same, so the sign is left out.
        found.append(abs(likeness(exam.original.values, exam.again(random, exam.few).values)))
    value = float(np.mean(found))
    meaning = f"Asked by a random last layer, the map keeps a rank correlation of size {value:.2f} with this one."
    if value > MARKS[0]:
        meaning += " The model looks at these places whatever it is asked."
    detail = {f"random head {k + 1}": one for k, one in enumerate(found)}
    return Check("random target", at_most(value, (MARKS[0], np.inf)), value, rule, meaning, detail)
