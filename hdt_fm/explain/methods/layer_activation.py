"""Layer activation: where the last layer over time answers at all. Not about the output."""

from captum.attr import LayerActivation
from torch import Tensor, nn

from hdt_fm.explain.binding import Run
from hdt_fm.explain.explanation import MethodMap
from hdt_fm.explain.methods.layers import layer_credit
from hdt_fm.explain.methods.method import Method, Plan
from hdt_fm.explain.methods.window_by_window import by_window


def credit(run: Run, plan: Plan) -> MethodMap:
    """Root mean square over the layer's components; the same for every target and head.

    Raises:
        ExplainError: If the encoder of a modality has no layer over time.
    """
    return run.map("layer_activation", by_window(run, _of_one), sums=False)


def _of_one(one: Run) -> list[Tensor]:
    def read(tap: nn.Module) -> Tensor:
        found = LayerActivation(one.forward, tap).attribute(one.inputs, additional_forward_args=(one.rows,))
        assert isinstance(found, Tensor)
        return found.square().mean(1, keepdim=True).sqrt()

    return layer_credit(one, read)


METHOD = Method(
    "layer_activation",
    "Layer activation (not about the output)",
    "How strongly the encoder's last layer over time answers here. It is the same for every output and head, so it "
    "says where the encoder looks, not what the output rests on.",
    credit,
    sums=False,
    grain="layer",
    of_output=False,
)
