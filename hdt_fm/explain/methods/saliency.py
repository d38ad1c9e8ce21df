"""The slope of the output at the window itself."""

import torch
from captum.attr import Saliency
from torch import Tensor

from hdt_fm.explain.binding import Run
from hdt_fm.explain.explanation import MethodMap
from hdt_fm.explain.methods.method import Method, Plan


def credit(run: Run, plan: Plan) -> MethodMap:
    """Gradient times the channel's own standard deviation in the window, so that units can be compared."""
    leaves = tuple(one.clone().requires_grad_() for one in run.inputs)
    gradients = Saliency(run.forward).attribute(
        inputs=leaves, target=run.target, abs=False, additional_forward_args=(run.rows,)
    )
    scaled = [g.detach() * spread(x, s) for g, x, s in zip(gradients, run.inputs, run.observed, strict=True)]
    return run.map("saliency", scaled, sums=False)


def spread(values: Tensor, seen: Tensor) -> Tensor:
    count = seen.sum(-1, keepdim=True).clamp(min=1)
    mean = torch.where(seen, values, 0.0).sum(-1, keepdim=True) / count
    return (torch.where(seen, values - mean, 0.0).square().sum(-1, keepdim=True) / count).sqrt()


METHOD = Method(
    "saliency",
    "Saliency (gradient per standard deviation)",
    "The output's slope at the window itself, per standard deviation of the channel.",
    credit,
    sums=False,
    signs=False,
)
