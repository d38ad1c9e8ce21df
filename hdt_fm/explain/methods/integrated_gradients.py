"""Integrated gradients, along a path that is read as finely as the model needs."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from captum.attr import IntegratedGradients
from torch import Tensor

from hdt_fm.explain.binding import Run
from hdt_fm.explain.explanation import MethodMap
from hdt_fm.explain.methods.method import Method, Plan

# Models here standardise each window, so an output turns fast where the input first leaves the flat
# reference. All paths are the same straight line; the later ones are read more finely near its start.
PATHS = ((0.0, 1.0), (0.0, 0.003, 0.03, 0.2, 1.0), (0.0, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0))
FINE_PATH_ABOVE = 0.01


def credit(run: Run, plan: Plan) -> MethodMap:
    """Along the straight line from the reference; read again more finely when the sum does not come out."""
    best: MethodMap | None = None
    for number in range(len(PATHS)) if plan.path is None else [plan.path]:
        found = run.map("integrated_gradients", along(run, PATHS[number], plan), sums=True, path=number)
        assert found.delta is not None
        if best is None or best.delta is None or found.delta.max() < best.delta.max():
            best = found
        if (found.delta <= FINE_PATH_ABOVE * run.change().abs().cpu().numpy()).all():
            break
    assert best is not None
    return best


def along(run: Run, path: Sequence[float], plan: Plan, *, multiply: bool = True) -> list[Tensor]:
    """Credit of each sample, adding up the pieces of a path; its mean slope where `multiply` is False."""
    total = [torch.zeros_like(one, dtype=torch.float64) for one in run.inputs]
    captum = IntegratedGradients(run.forward, multiply_by_inputs=multiply)
    for low, high in pairwise(path):
        ends = [
            tuple(
                torch.lerp(ref, one, at) if at < 1 else one for ref, one in zip(run.references, run.inputs, strict=True)
            )
            for at in (low, high)
        ]
        part = captum.attribute(
            inputs=ends[1],
            baselines=ends[0],
            target=run.target,
            additional_forward_args=(run.rows,),
            n_steps=max(8, plan.steps // (len(path) - 1)),
            internal_batch_size=max(plan.batch_rows, len(run.rows)),
        )
        # A piece of credit has its length in it already, a slope counts by it.
        weight = 1.0 if multiply else high - low
        total = [so_far + weight * one.detach().double() for so_far, one in zip(total, part, strict=True)]
    return total


METHOD = Method(
    "integrated_gradients",
    "Integrated gradients",
    "Credit by adding up the output's slope on the straight line from the reference to the window. "
    "The credits should add up to the whole change.",
    credit,
    sums=True,
)
