"""Gradient SHAP: slopes at random points between the reference and noisy copies of the window."""

from collections.abc import Sequence

import torch
from captum.attr import GradientShap
from einops import repeat
from torch import Tensor

from hdt_fm.explain.binding import Run
from hdt_fm.explain.explanation import MethodMap
from hdt_fm.explain.methods.chance import noisy_inputs, seed_of, seeded
from hdt_fm.explain.methods.method import Method, Plan
from hdt_fm.explain.methods.window_by_window import by_window

# A point costs one gradient, a noisy copy in smoothed integrated gradients a whole path of them.
POINTS_PER_DRAW = 4
# Rows of one call of the model. Fixed, since Captum's draws of a piece depend on its size.
PIECE = 16


def credit(run: Run, plan: Plan) -> MethodMap:
    """Mean over `POINTS_PER_DRAW * plan.draws` points. The delta is that of the draws: told, not promised.

    The reference is the window's own and has no noise. Models here standardise each window, so a flat line with a
    little noise is, to them, full-sized noise: another question.
    """
    found = by_window(run, lambda one: _of_one(one, plan))
    return run.map("gradient_shap", found, sums=True)


def _of_one(one: Run, plan: Plan) -> Sequence[Tensor]:
    points = POINTS_PER_DRAW * plan.draws
    copies = [noisy_inputs(one, plan.seed, draw) for draw in range(points)]
    total = [torch.zeros_like(values, dtype=torch.float64) for values in one.inputs]
    with seeded(seed_of(plan.seed, one), one.rows.device):
        for first in range(0, points, PIECE):
            piece = copies[first : first + PIECE]
            found = GradientShap(one.forward).attribute(
                inputs=tuple(torch.cat(parts).requires_grad_() for parts in zip(*piece, strict=True)),
                baselines=one.references,
                n_samples=1,
                stdevs=0.0,
                target=one.target,
                additional_forward_args=(repeat(one.rows, "1 -> copy", copy=len(piece)),),
            )
            total = [so_far + part.detach().double().sum(0) / points for so_far, part in zip(total, found, strict=True)]
    return total


METHOD = Method(
    "gradient_shap",
    "Gradient SHAP",
    "The output's slope at random places between the reference and the window, with noise of a tenth of each channel's "
    "spread, times the way from one to the other. The credits add up to the change on average over many draws.",
    credit,
    sums=False,
    random=True,
)
