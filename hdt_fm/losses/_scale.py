"""The learned multiplier of cosines, as every contrastive loss keeps it, and the checks that they share."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hdt_fm.ops.contrastive import IMPLEMENTATIONS
from hdt_fm.ops.contrastive.pairs import PRODUCTS
from hdt_fm.schema.errors import ConfigError, ShapeError, unknown_name
from hdt_fm.schema.protocols import Encoded


def new_log_scale(*, init_temperature: float, max_logit_scale: float, where: str) -> nn.Parameter:
    """The log of the scale at the start.

    Raises:
        ConfigError: If the temperature is not between 1 / max_logit_scale and 1.
    """
    if not (max_logit_scale >= 1 and 1 / max_logit_scale <= init_temperature <= 1):
        raise ConfigError(
            "init_temperature is out of range",
            where=where,
            expected="max_logit_scale >= 1 and 1 / max_logit_scale <= init_temperature <= 1",
            got=f"init_temperature {init_temperature}, max_logit_scale {max_logit_scale}",
        )
    return nn.Parameter(torch.tensor(-math.log(init_temperature)))


def scale_in_range(log_logit_scale: Float[Tensor, ""], max_log_scale: float, *, training: bool) -> Float[Tensor, ""]:
    """The multiplier, 1 to exp(max_log_scale); in training the parameter itself is brought back into its range."""
    if training:
        with torch.no_grad():
            log_logit_scale.clamp_(0.0, max_log_scale)
    return log_logit_scale.clamp(0.0, max_log_scale).exp()


def check_op(impl: str, products: str, *, where: str) -> None:
    """Refuse what no implementation is called, before anything is trained.

    Raises:
        UnknownNameError: If a name is not in its table.
    """
    if impl not in ("auto", *IMPLEMENTATIONS):
        raise unknown_name("implementation", impl, ("auto", *IMPLEMENTATIONS), where=where)
    if products not in PRODUCTS:
        raise unknown_name("precision of products", products, PRODUCTS, where=where)


def check_fit(encoded: Encoded) -> None:
    """Refuse projections of another batch.

    Raises:
        ShapeError: If projections and batch differ in windows or modalities.
    """
    if encoded.projections.present.shape != encoded.seen.present.shape:
        raise ShapeError(
            "Projections do not fit the batch",
            expected=f"(batch, modality) = {tuple(encoded.seen.present.shape)}",
            got=str(tuple(encoded.projections.present.shape)),
        )
