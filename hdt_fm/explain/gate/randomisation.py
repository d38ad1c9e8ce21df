"""Randomisation: a map that stays when the weights become random drew the signal's shape."""

import numpy as np
import torch
from torch import nn

from hdt_fm.explain.explanation import Check
from hdt_fm.explain.gate.exam import Exam
from hdt_fm.explain.gate.judge import at_most, likeness
from hdt_fm.explain.gate.perturb import randomised

MARKS = (0.3, 0.5)


def check(exam: Exam) -> Check:
    """Weights become random from the head down; the map must lose its likeness to the original."""
    rule = f"rank correlation with the map of all-random weights: pass <= {MARKS[0]}, warn <= {MARKS[1]}"
    model = getattr(exam.model, "_orig_mod", exam.model)
    if not isinstance(model, nn.Module) or not any(True for _ in model.parameters()):
        return Check("randomisation", "warn", float("nan"), rule, "Not run: the model shows no weights to randomise.")
    kept: dict[str, list[float]] = {}
    for draw in range(exam.draws):
        generator = torch.Generator().manual_seed(exam.seed + draw)
        for stage, random in randomised(model, stages=exam.stages, generator=generator):
            kept.setdefault(stage, []).append(likeness(exam.original.values, exam.again(random, exam.few).values))
    detail = {stage: float(np.mean(found)) for stage, found in kept.items()}
    value = list(detail.values())[-1]
    meaning = f"With all weights random the map keeps a rank correlation of {value:.2f} with this one."
    return Check("randomisation", at_most(abs(value), MARKS), value, rule, meaning, detail)
