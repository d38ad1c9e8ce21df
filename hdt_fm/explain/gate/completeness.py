"""Completeness: credits of some methods must add up to the change of the output."""

import numpy as np

from hdt_fm.explain.explanation import Check
from hdt_fm.explain.gate.exam import Exam
from hdt_fm.explain.gate.judge import at_most
from hdt_fm.explain.methods import METHODS

MARKS = (0.01, 0.05)


def check(exam: Exam) -> Check:
    """The largest gap of any window and any method that promises a sum."""
    explanation = exam.explanation
    rule = f"largest gap over windows, as a share of the change: pass <= {MARKS[0]}, warn <= {MARKS[1]}"
    change = np.abs(explanation.output - explanation.reference_output)
    # A window whose output hardly changes is judged on the scale of the others.
    scale = np.maximum(change, 0.1 * float(np.median(change)) + 1e-9)
    promised = [m for m in explanation.maps if m.delta is not None and METHODS[m.method].sums]
    gaps = {m.method: float((m.delta / scale).max()) for m in promised if m.delta is not None}
    if not gaps:
        return Check("completeness", "warn", float("nan"), rule, "No method here promises that credits add up.")
    value = max(gaps.values())
    meaning = f"Credits add up to the change of the output within {value:.2%} of it."
    return Check("completeness", at_most(value, MARKS), value, rule, meaning, gaps)
