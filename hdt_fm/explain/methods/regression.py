"""Kernel SHAP and LIME alike: a regression of the output on which coarse segments of a window are there."""

from collections.abc import Callable, Sequence

from captum.attr import Lime
from torch import Tensor

from hdt_fm.explain.binding import Run
from hdt_fm.explain.methods.chance import seed_of, seeded
from hdt_fm.explain.methods.features import Features
from hdt_fm.explain.methods.method import Plan


def regressed(one: Run, plan: Plan, made: Callable[[Callable[..., Tensor]], Lime]) -> Sequence[Tensor]:
    """Credit of one window by what `made` makes of its forward function, with `plan.draws` samples a feature."""
    features = Features.of(one, plan.segments)
    if features.count < 2:
        # Of one feature alone there is nothing to draw: it has the whole change.
        return features.spread_out(one, one.change())
    captum = made(one.forward)
    with seeded(seed_of(plan.seed, one), one.rows.device):
        found = captum.attribute(
            inputs=one.inputs,
            baselines=one.references,
            target=one.target,
            additional_forward_args=(one.rows,),
            feature_mask=features.ids,
            n_samples=2 + plan.draws * features.count,
            perturbations_per_eval=plan.batch_rows,
            return_input_shape=False,
        )
    return features.spread_out(one, found.flatten())
