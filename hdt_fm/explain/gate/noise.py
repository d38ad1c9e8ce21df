"""Noise: a map that noise too small to see can turn is too brittle to read."""

import numpy as np
import torch

from hdt_fm.explain.explanation import Check
from hdt_fm.explain.gate.exam import Exam
from hdt_fm.explain.gate.judge import OUTPUT_MOVED, at_least, brittle, likeness
from hdt_fm.explain.gate.perturb import noisy

MARKS = (0.8, 0.5)
SHARE = 0.05


def check(exam: Exam) -> Check:
    """Make the map again after noise, and ask how much of its order is left; say whether it is the model that moved."""
    generator = torch.Generator().manual_seed(exam.seed)
    found, moved = [], []
    for _ in range(exam.draws):
        shaken = noisy(exam.few, share=SHARE, generator=generator)
        found.append(likeness(exam.original.values, exam.again(exam.model, shaken).values))
        moved.append(exam.moved(shaken))
    value, output = float(np.mean(found)), float(np.mean(moved))
    verdict = at_least(value, MARKS)
    # A map that is as steady as this explains an output that is not.
    if output > OUTPUT_MOVED and verdict == "pass":
        verdict = "warn"
    rule = (
        f"rank correlation after {SHARE:.0%} of noise: pass >= {MARKS[0]} and the output moves by at most "
        f"{OUTPUT_MOVED} of its spread, warn >= {MARKS[1]}"
    )
    meaning = f"Noise too small to see leaves a rank correlation of {value:.2f} with this map.{brittle(output)}"
    detail = {**{f"draw {k + 1}": one for k, one in enumerate(found)}, "output moved, in spreads": output}
    return Check("noise", verdict, value, rule, meaning, detail)
