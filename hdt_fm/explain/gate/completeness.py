"""Completeness: credits of some methods must add up to the change of the output."""

import numpy as np
import torch

from hdt_fm.explain.attribution import bound
from hdt_fm.explain.binding import explaining
from hdt_fm.explain.explanation import Check
from hdt_fm.explain.gate.exam import Exam
from hdt_fm.explain.gate.judge import at_most
from hdt_fm.explain.methods import METHODS

MARKS = (0.01, 0.05)
# So far along the line, a waveform is smaller than anything that was ever measured.
FIRST_STEP = 1e-4
# Of the gap. A fall that is half of it or more is what the path could not follow.
MOST_OF_IT = 0.5


def check(exam: Exam) -> Check:
    """The largest gap of any window: of the leading method, or where that promises no sum of those beside it.

    A map beside may be off without harm to the one that leads, so that it costs a warning, not the verdict.
    """
    explanation = exam.explanation
    rule = f"largest gap over windows, as a share of the change: pass <= {MARKS[0]}, warn <= {MARKS[1]}"
    change = np.abs(explanation.output - explanation.reference_output)
    # A window whose output hardly changes is judged on the scale of the others.
    scale = np.maximum(change, 0.1 * float(np.median(change)) + 1e-9)
    promised = [m for m in explanation.maps if m.delta is not None and METHODS[m.method].sums]
    gaps = {m.method: m.delta / scale for m in promised if m.delta is not None}
    if not gaps:
        return Check("completeness", "warn", float("nan"), rule, "No method here promises that credits add up.")
    found = {method: float(gap.max()) for method, gap in gaps.items()}
    judged = exam.lead if exam.lead in found else max(found, key=found.__getitem__)
    value, detail = found[judged], dict(found)
    verdict = at_most(value, MARKS)
    whose = "" if judged == exam.lead else f"The leading method promises no sum. Of {METHODS[judged].title} beside it: "
    says = "add up to the change of the output within" if verdict == "pass" else "miss the change of the output by"
    meaning = f"{whose}Credits {says} {value:.2%} of it."
    if verdict != "pass":
        verdict = verdict if judged == exam.lead else "warn"
        worst = int(gaps[judged].argmax())
        detail["jump beside the reference"] = jump = _jump(exam, worst) / float(scale[worst])
        if jump >= MOST_OF_IT * value:
            meaning += _jumps(explanation.reference, jump)
        elif judged == "integrated_gradients":
            meaning += " It turns away from the reference: more points of the path (steps) may close the gap."
    return Check("completeness", verdict, value, rule, meaning, detail)


def _jump(exam: Exam, row: int) -> float:
    """How far the output of a window goes in the first ten-thousandth of the line from its reference, on average over
    references."""
    one = exam.batch.select(torch.tensor([row], device=exam.batch.present.device))
    found = []
    with explaining(exam.model) as model, torch.no_grad():
        for run in bound(model, one, exam.explanation.target_index, exam.against):
            start = [torch.lerp(ref, ins, FIRST_STEP) for ref, ins in zip(run.references, run.inputs, strict=True)]
            output = run.forward(*start, run.rows)[:, run.target]
            found.append(float((output - run.reference_output).double().abs()))
    return float(np.mean(found))


def _jumps(reference: str, jump: float) -> str:
    away = "" if reference == "others" else " Take the reference `others`."
    return f" The output jumps by {jump:.0%} of it where the waveform leaves the flat reference.{away}"
