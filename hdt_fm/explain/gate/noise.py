"""Noise: a map that noise too small to see can turn is too brittle to read."""

import numpy as np
import torch

from hdt_fm.explain.binding import explaining
from hdt_fm.explain.explanation import Check
from hdt_fm.explain.gate.exam import Exam
from hdt_fm.explain.gate.judge import at_least, likeness
from hdt_fm.explain.gate.perturb import noisy
from hdt_fm.schema.batch import Batch

MARKS = (0.8, 0.5)
SHARE = 0.05
# Of the outputs' own spread over the windows: beyond it the model is brittle, and a map cannot be steadier.
OUTPUT_MOVED = 0.25


def check(exam: Exam) -> Check:
    """Make the map again after noise, and ask how much of its order is left; say whether it is the model that moved."""
    generator = torch.Generator().manual_seed(exam.seed)
    found, moved = [], []
    for _ in range(exam.draws):
        shaken = noisy(exam.few, share=SHARE, generator=generator)
        found.append(likeness(exam.original.values, exam.again(exam.model, shaken).values))
        moved.append(_moved(exam, shaken))
    value, output = float(np.mean(found)), float(np.mean(moved))
    rule = f"rank correlation after {SHARE:.0%} of noise: pass >= {MARKS[0]}, warn >= {MARKS[1]}"
    meaning = f"Noise too small to see leaves a rank correlation of {value:.2f} with this map."
    if output > OUTPUT_MOVED and value < MARKS[0]:
        meaning += f" The output itself moves by {output:.2f} of its spread: the model is brittle, not only the map."
    detail = {**{f"draw {k + 1}": one for k, one in enumerate(found)}, "output moved, in spreads": output}
    return Check("noise", at_least(value, MARKS), value, rule, meaning, detail)


def _moved(exam: Exam, shaken: Batch) -> float:
    target, explanation = exam.explanation.target_index, exam.explanation
    with explaining(exam.model) as model, torch.no_grad():
        after = model(shaken)[:, target].double().cpu().numpy()
    spread = max(float(explanation.output.std()), 1e-9)
    return float(np.abs(after - explanation.output[list(exam.rows)]).mean()) / spread
