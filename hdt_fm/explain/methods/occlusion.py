"""Credit by sliding a blind spot over the input."""

import torch
from captum.attr import Occlusion
from torch import Tensor

from hdt_fm.explain.binding import Run
from hdt_fm.explain.explanation import MethodMap
from hdt_fm.explain.methods.method import Method, Plan


def credit(run: Run, plan: Plan) -> MethodMap:
    """Mean fall of the output over the spots that cover a sample, shared out over the samples of a spot.

    A spot is one segment of one channel, and moves on by half of that: no edge of a segment is then a wall between
    two neighbours, for twice the calls of `feature_ablation`.
    """
    samples = [one.shape[-1] for one in run.inputs]
    widths = [-(-count // min(plan.segments, count)) for count in samples]
    strides = [max(1, width // 2) for width in widths]
    found = Occlusion(run.forward).attribute(
        inputs=run.inputs,
        sliding_window_shapes=tuple((1, width) for width in widths),
        strides=tuple((1, stride) for stride in strides),
        baselines=run.references,
        target=run.target,
        additional_forward_args=(run.rows,),
        perturbations_per_eval=max(1, plan.batch_rows // len(run.rows)),
    )
    shared = [
        effect.double() / _seen_per_spot(seen, width, stride)
        for effect, seen, width, stride in zip(found, run.observed, widths, strides, strict=True)
    ]
    return run.map("occlusion", shared, sums=False)


def _seen_per_spot(seen: Tensor, width: int, stride: int) -> Tensor:
    """Per sample the mean, over the spots that cover it, of how many observed samples they cover; at least 1."""
    samples = seen.shape[-1]
    first = torch.arange(-(-(samples - width) // stride) + 1, device=seen.device) * stride
    place = torch.arange(samples, device=seen.device) - first[:, None]
    spots = ((place >= 0) & (place < width)).double()
    return (seen.double() @ spots.T @ spots / spots.sum(0)).clamp(min=1)


METHOD = Method(
    "occlusion",
    "Occlusion by a sliding spot",
    "How far the output falls when a stretch of one channel around this place takes its reference values.",
    credit,
    sums=False,
    grain="segment",
)
