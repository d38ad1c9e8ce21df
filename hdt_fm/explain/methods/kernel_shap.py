"""Kernel SHAP: Shapley values of segments by one weighted regression."""

from collections.abc import Callable

from captum.attr import KernelShap
from torch import Tensor

from hdt_fm.explain.binding import Run
from hdt_fm.explain.explanation import MethodMap
from hdt_fm.explain.methods.least_squares import LeastSquares
from hdt_fm.explain.methods.method import Method, Plan
from hdt_fm.explain.methods.regression import regressed
from hdt_fm.explain.methods.window_by_window import by_window


def credit(run: Run, plan: Plan) -> MethodMap:
    """Regression of the output on which coarse segments are there, `plan.draws` samples for each of them."""
    return run.map("kernel_shap", by_window(run, lambda one: regressed(one, plan, _made)), sums=True)


def _made(forward: Callable[..., Tensor]) -> KernelShap:
    captum = KernelShap(forward)
    captum.interpretable_model = LeastSquares()
    # Of the two ends, none and all. Captum's own million leaves the sum short by up to a thousandth of the change.
    captum.inf_weight = 1e10
    return captum


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
