"""Noise: a map that noise too small to see can turn is too brittle to read."""

import numpy as np
import torch

from hdt_fm.explain.explanation import Check
from hdt_fm.explain.gate.exam import Exam
from hdt_fm.explain.gate.judge import at_least, likeness
from hdt_fm.explain.gate.perturb import noisy

MARKS = (0.8, 0.5)
SHARE = 0.05


def check(exam: Exam) -> Check:
    """Make the map again after noise, and ask how much of its order is left."""
    generator = torch.Generator().manual_seed(exam.seed)
    found = [
        likeness(exam.original.values, exam.again(exam.model, noisy(exam.few, share=SHARE, generator=generator)).values)
        for _ in range(exam.draws)
    ]
    value = float(np.mean(found))
    rule = f"rank correlation after {SHARE:.0%} of noise: pass >= {MARKS[0]}, warn >= {MARKS[1]}"
    meaning = f"Noise too small to see leaves a rank correlation of {value:.2f} with this map."
    return Check(
        "noise", at_least(value, MARKS), value, rule, meaning, {f"draw {k + 1}": v for k, v in enumerate(found)}
    )
