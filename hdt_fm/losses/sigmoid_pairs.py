"""Sigmoid loss over pairs of modalities: each pair of windows is judged alone, without a softmax over the batch."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hdt_fm.losses._scale import check_fit, check_op, new_log_scale, scale_in_range
from hdt_fm.ops.sigmoid_pairs import sigmoid_pairs_loss
from hdt_fm.schema.protocols import Encoded, LossReport


class SigmoidPairs(nn.Module):
    """Two modalities of one window: yes. Of different windows: no. Of near windows of one person: not asked.

    Args:
        exclude_within_s: Windows of one person that start so close are not asked about; inf, all of them; None, off.
        init_temperature: 1 / logit scale at the start, between 1 / max_logit_scale and 1.
        init_bias: Of every logit at the start; strongly negative, so that the many strangers cost little at first.
        max_logit_scale: Upper end of the scale.
        products: What matrix products may round to: "exact", "tf32" or "bf16" (see the op).
        impl: Implementation of the op, "auto" by device and size.

    Source: Zhai et al. 2023 (SigLIP), scale 10 and bias -10 at the start.
    """

    spreads = True

    def __init__(
        self,
        *,
        exclude_within_s: float | None = 60.0,
        init_temperature: float = 0.1,
        init_bias: float = -10.0,
        max_logit_scale: float = 100.0,
        products: str = "exact",
        impl: str = "auto",
    ) -> None:
        super().__init__()
        check_op(impl, products, where="losses/sigmoid_pairs")
        self.exclude_within_s, self.products, self.impl = exclude_within_s, products, impl
        self.log_logit_scale = new_log_scale(
            init_temperature=init_temperature, max_logit_scale=max_logit_scale, where="losses/sigmoid_pairs"
        )
        self.max_log_scale = math.log(max_logit_scale)
        self.logit_bias = nn.Parameter(torch.tensor(float(init_bias)))

    def logit_scale(self) -> Float[Tensor, ""]:
        """The multiplier of cosines, 1 to max_logit_scale."""
        return scale_in_range(self.log_logit_scale, self.max_log_scale, training=self.training)

    def forward(self, encoded: Encoded) -> LossReport:
        """Loss over all pairs; `parts` are the pairs' losses, scale and bias, `counts` the rows they rest on.

        Raises:
            ShapeError: If projections and batch differ in windows or modalities.
        """
        check_fit(encoded)
        batch, scale = encoded.seen, self.logit_scale()
        output = sigmoid_pairs_loss(
            encoded.projections.values.transpose(0, 1),
            encoded.projections.present,
            logit_scale=scale,
            logit_bias=self.logit_bias,
            subject=batch.subject,
            time_s=batch.time_s,
            exclude_within_s=self.exclude_within_s,
            of_person=batch.of_person,
            products=self.products,
            impl=self.impl,
            spread=encoded.spread,
        )
        names = [f"{batch.modalities[i]}-{batch.modalities[j]}" for i, j in output.pairs]
        parts = dict(zip(names, output.pair_loss.detach().unbind(), strict=True))
        counts = dict(zip(names, output.pair_rows.unbind(), strict=True))
        learned = {"logit_scale": scale.detach(), "logit_bias": self.logit_bias.detach().clone()}
        return LossReport(value=output.loss, parts={**parts, **learned}, counts=counts)
