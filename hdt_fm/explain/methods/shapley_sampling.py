"""Shapley values of segments by orders drawn at random."""

from collections.abc import Sequence

from captum.attr import ShapleyValueSampling
from torch import Tensor

from hdt_fm.explain.binding import Run
from hdt_fm.explain.explanation import MethodMap
from hdt_fm.explain.methods.chance import seed_of, seeded
from hdt_fm.explain.methods.features import Features
from hdt_fm.explain.methods.method import Method, Plan
from hdt_fm.explain.methods.window_by_window import by_window


def credit(run: Run, plan: Plan) -> MethodMap:
    """Mean over `plan.draws` orders of what each coarse segment adds when it joins those before it.

    Every order adds up by itself, so the sum is exact however few are drawn.
    """
    return run.map("shapley_sampling", by_window(run, lambda one: _of_one(one, plan)), sums=True)


def _of_one(one: Run, plan: Plan) -> Sequence[Tensor]:
    features = Features.of(one, plan.segments)
    with seeded(seed_of(plan.seed, one), one.rows.device):
        found = ShapleyValueSampling(one.forward).attribute(
            inputs=one.inputs,
            baselines=one.references,
            target=one.target,
            additional_forward_args=(one.rows,),
            feature_mask=features.ids,
            n_samples=plan.draws,
            perturbations_per_eval=plan.batch_rows,
        )
    return features.share_out(one, found)


METHOD = Method(
    "shapley_sampling",
    "Shapley values of segments",
    "What a stretch of one channel adds to the output, on average over random orders in which stretches come in. "
    "The credits should add up to the whole change.",
    credit,
    sums=True,
    random=True,
    grain="segment",
)
