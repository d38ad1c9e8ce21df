"""Integrated gradients, averaged over copies of the window with a little noise (SmoothGrad)."""

from dataclasses import replace

import torch

from hdt_fm.explain.binding import Run
from hdt_fm.explain.explanation import MethodMap
from hdt_fm.explain.methods import integrated_gradients
from hdt_fm.explain.methods.chance import noisy_inputs
from hdt_fm.explain.methods.method import Method, Plan


def credit(run: Run, plan: Plan) -> MethodMap:
    """Mean map of `plan.draws` noisy copies, each along the path that plain integrated gradients needs.

    Noise is drawn here and not by Captum's NoiseTunnel, which has one standard deviation for all channels of a
    modality, puts noise on samples that were not observed, and gives a window other noise in another batch.
    """
    path = integrated_gradients.credit(run, plan).path if plan.path is None else plan.path
    total = [torch.zeros_like(one, dtype=torch.float64) for one in run.inputs]
    for draw in range(plan.draws):
        noisy = replace(run, inputs=noisy_inputs(run, plan.seed, draw))
        found = integrated_gradients.along(noisy, integrated_gradients.PATHS[path], plan)
        total = [so_far + one / plan.draws for so_far, one in zip(total, found, strict=True)]
    return run.map("smooth_integrated_gradients", total, sums=False, path=path)


METHOD = Method(
    "smooth_integrated_gradients",
    "Smoothed integrated gradients",
    "Integrated gradients averaged over copies of the window with noise of a tenth of each channel's spread, so that "
    "what hangs on a hair's breadth is evened out. The credits add up to the mean change of the copies.",
    credit,
    sums=False,
    random=True,
)
