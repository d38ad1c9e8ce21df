"""Grad-CAM: where the last layer over time moves the output."""

from captum.attr import LayerGradCam
from torch import Tensor, nn

from hdt_fm.explain.binding import Run
from hdt_fm.explain.explanation import MethodMap
from hdt_fm.explain.methods.layers import layer_credit
from hdt_fm.explain.methods.method import Method, Plan
from hdt_fm.explain.methods.window_by_window import by_window


def credit(run: Run, plan: Plan) -> MethodMap:
    """Signed, so that what lowers the output is seen too; no reference has a part in it.

    Raises:
        ExplainError: If the encoder of a modality has no layer over time.
    """
    return run.map("grad_cam", by_window(run, _of_one), sums=False)


def _of_one(one: Run) -> list[Tensor]:
    def read(tap: nn.Module) -> Tensor:
        inputs = tuple(values.clone().requires_grad_() for values in one.inputs)
        found = LayerGradCam(one.forward, tap).attribute(
            inputs,
            target=one.target,
            additional_forward_args=(one.rows,),
            # A layer that this output does not read has slope 0; that is no error.
            grad_kwargs={"allow_unused": True, "materialize_grads": True},
        )
        assert isinstance(found, Tensor)
        return found.detach()

    return layer_credit(one, read)


METHOD = Method(
    "grad_cam",
    "Grad-CAM",
    "Where the last layer over time pushes the output, as coarse as that layer's patches. Where the encoder merges "
    "channels it cannot tell them apart, and all of them show the same.",
    credit,
    sums=False,
    grain="layer",
)
