"""Kernel SHAP: Shapley values of segments by one weighted regression."""

from collections.abc import Sequence

from captum.attr import KernelShap
from torch import Tensor

from hdt_fm.explain.binding import Run
from hdt_fm.explain.explanation import MethodMap
from hdt_fm.explain.methods.chance import seed_of, seeded
from hdt_fm.explain.methods.features import Features
from hdt_fm.explain.methods.least_squares import LeastSquares
from hdt_fm.explain.methods.method import Method, Plan
from hdt_fm.explain.methods.window_by_window import by_window


def credit(run: Run, plan: Plan) -> MethodMap:
    """Regression of the output on which coarse segments are there, `plan.draws` samples for each of them."""
    return run.map("kernel_shap", by_window(run, lambda one: _of_one(one, plan)), sums=True)


def _of_one(one: Run, plan: Plan) -> Sequence[Tensor]:
    features = Features.of(one, plan.segments)
    if features.count < 2:
        # Of one feature alone there is no coalition to draw: it has the whole change.
        return features.spread_out(one, one.change())
    captum = KernelShap(one.forward)
    captum.interpretable_model = LeastSquares()
    # Of the two ends, none and all. Captum's own million leaves the sum short by up to a thousandth of the change.
    captum.inf_weight = 1e10
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


METHOD = Method(
    "kernel_shap",
    "Kernel SHAP of segments",
    "What a stretch of one channel adds to the output, by a regression on random sets of stretches that are there. "
    "The credits should add up to the whole change.",
    credit,
    sums=True,
    random=True,
    grain="segment",
)
