"""Dependence: a constant output has nothing to explain."""

import numpy as np

from hdt_fm.explain.explanation import Check
from hdt_fm.explain.gate.exam import Exam


def check(exam: Exam) -> Check:
    """Compare the outputs with those of the reference, and look for any credit at all."""
    explanation = exam.explanation
    largest = max((float(np.abs(v).max(initial=0)) for m in explanation.maps for v in m.values.values()), default=0.0)
    change = float(np.abs(explanation.output - explanation.reference_output).max())
    moves = largest > 1e-12 and change > 1e-9 * max(1.0, float(np.abs(explanation.output).max()))
    meaning = "The output moves with the input." if moves else "The output does not move with the input."
    rule = "pass when the output differs from that of the reference and some map is not all zero"
    return Check("dependence", "pass" if moves else "fail", change, rule, meaning, {"largest credit": largest})
