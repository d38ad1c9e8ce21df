"""LIME: a linear model of the output over which segments are there."""

import math
from collections.abc import Sequence

from captum.attr import Lime
from torch import Tensor

from hdt_fm.explain.binding import Run
from hdt_fm.explain.explanation import MethodMap
from hdt_fm.explain.methods.chance import seed_of, seeded
from hdt_fm.explain.methods.features import Features
from hdt_fm.explain.methods.least_squares import LeastSquares
from hdt_fm.explain.methods.method import Method, Plan
from hdt_fm.explain.methods.window_by_window import by_window

# Of the square root of the number of features, as in LIME's own tables.
KERNEL_WIDTH = 0.75


def credit(run: Run, plan: Plan) -> MethodMap:
    """Regression of the output on which coarse segments are there, each by the toss of a coin.

    `plan.draws` samples for each of them.
    """
    return run.map("lime", by_window(run, lambda one: _of_one(one, plan)), sums=False)


def _of_one(one: Run, plan: Plan) -> Sequence[Tensor]:
    features = Features.of(one, plan.segments)
    if features.count < 2:
        return features.spread_out(one, one.change())
    # Captum's default, a Lasso, shrinks by a number in the unit of the output.
    captum = Lime(one.forward, LeastSquares(), similarity_func=_nearness)
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


def _nearness(_window: object, _perturbed: object, there: Tensor, **_: object) -> float:
    """By the share of features that are gone, since Captum's own distance adds volts to degrees."""
    gone = float((there == 0).double().mean())
    return math.exp(-gone / KERNEL_WIDTH**2)


METHOD = Method(
    "lime",
    "LIME over segments",
    "The slope of a linear model of the output over which stretches are there, while about half of the others are not.",
    credit,
    sums=False,
    random=True,
    grain="segment",
)
