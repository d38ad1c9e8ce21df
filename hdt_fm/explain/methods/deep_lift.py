"""DeepLIFT, for models that are made of what it has a rule for."""

import warnings
from collections.abc import Callable

import torch
from captum.attr import DeepLift
from torch import Tensor, nn

from hdt_fm.explain.binding import Run
from hdt_fm.explain.explanation import MethodMap
from hdt_fm.explain.methods.method import Method, Plan
from hdt_fm.schema.errors import ExplainError

# Captum has a rule for these, and needs none for the linear ones. It silently passes over all others.
RULES = (nn.ReLU, nn.ELU, nn.LeakyReLU, nn.Sigmoid, nn.Tanh, nn.Softplus, nn.MaxPool1d)
LINEAR = (
    *(nn.Linear, nn.Conv1d, nn.Embedding, nn.Identity, nn.Flatten, nn.Unflatten, nn.AvgPool1d, nn.AdaptiveAvgPool1d),
    *(nn.BatchNorm1d, nn.Dropout, nn.Dropout1d),
    *(nn.Sequential, nn.ModuleList, nn.ModuleDict, nn.ParameterList, nn.ParameterDict),
)
# Of the change of the output; what DeepLIFT has rules for adds up to rounding.
GAP = 0.01


def credit(run: Run, plan: Plan) -> MethodMap:
    """Credit by the rescale rule, all windows at once.

    Raises:
        ExplainError: If the model is no module, holds a module without a rule, uses one twice, or if the credits do
            not add up, which is how an activation that is no module (`torch.relu`) shows itself.
    """
    if not isinstance(run.model, nn.Module):
        raise _refusal("it sees activations only as modules", "a torch.nn.Module", type(run.model).__name__)
    without = sorted({type(part).__name__ for part in run.model.modules() if _has_no_rule(part)})
    if without:
        raise _refusal("it has no rule for some of its parts", "linear layers and activations", ", ".join(without))
    found = run.map("deep_lift", _rescaled(run), sums=True)
    change = run.change().abs().cpu().numpy()
    assert found.delta is not None
    gap = float(found.delta.max() / max(float(change.max()), 1e-9))
    if gap > GAP and float(found.delta.max()) > 1e-6:
        raise _refusal(
            "its credits do not add up, so something nonlinear is not a module of torch.nn",
            f"a gap of at most {GAP:.0%} of the change",
            f"{gap:.1%}",
        )
    return found


def _has_no_rule(part: nn.Module) -> bool:
    return type(part).__module__.startswith("torch.nn") and not isinstance(part, (*RULES, *LINEAR))


def _refusal(why: str, expected: str, got: str) -> ExplainError:
    return ExplainError(
        f"DeepLIFT cannot explain this model: {why}",
        where="deep_lift",
        expected=expected,
        got=got,
        fix="use integrated_gradients, which asks the same and needs no rules",
    )


class _AsModule(nn.Module):
    """Captum hooks modules, so the bound function becomes one that holds the model."""

    def __init__(self, model: nn.Module, forward: Callable[..., Tensor]) -> None:
        super().__init__()
        self.model, self.bound = model, forward

    def forward(self, *tensors: Tensor) -> Tensor:
        return self.bound(*tensors)


def _rescaled(run: Run) -> list[Tensor]:
    assert isinstance(run.model, nn.Module)
    bound = _AsModule(run.model, run.forward)
    try:
        with warnings.catch_warnings():
            # It tells that it sets hooks, which it takes away again.
            warnings.simplefilter("ignore", UserWarning)
            found = DeepLift(bound).attribute(
                inputs=tuple(one.clone().requires_grad_() for one in run.inputs),
                baselines=run.references,
                target=run.target,
                additional_forward_args=(run.rows,),
            )
    except RuntimeError as error:
        if "used more than once" not in str(error):
            raise
        raise _refusal(
            "a module is used more than once", "one module for each activation", "one for several"
        ) from error
    finally:
        # What Captum noted on modules that no gradient came back to.
        for part in run.model.modules():
            if isinstance(part, RULES):
                vars(part).pop("input", None)
                vars(part).pop("output", None)
    return [torch.as_tensor(one).detach() for one in found]


METHOD = Method(
    "deep_lift",
    "DeepLIFT",
    "Credit by comparing each layer's answer to the window with its answer to the reference. The credits should add up "
    "to the whole change.",
    credit,
    sums=True,
)
