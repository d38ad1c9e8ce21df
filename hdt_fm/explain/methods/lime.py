"""LIME: a linear model of the output over which segments are there."""

import math
from collections.abc import Callable

from captum.attr import Lime
from torch import Tensor

from hdt_fm.explain.binding import Run
from hdt_fm.explain.explanation import MethodMap
from hdt_fm.explain.methods.least_squares import LeastSquares
from hdt_fm.explain.methods.method import Method, Plan
from hdt_fm.explain.methods.regression import regressed
from hdt_fm.explain.methods.window_by_window import by_window

# Of the square root of the number of features, as in LIME's own tables.
KERNEL_WIDTH = 0.75


def credit(run: Run, plan: Plan) -> MethodMap:
    """Regression of the output on which coarse segments are there, each by the toss of a coin.

    `plan.draws` samples for each of them.
    """
    return run.map("lime", by_window(run, lambda one: regressed(one, plan, _made)), sums=False)


def _made(forward: Callable[..., Tensor]) -> Lime:
    # Captum's default, a Lasso, shrinks by a number in the unit of the output.
    return Lime(forward, LeastSquares(), similarity_func=_nearness)


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
