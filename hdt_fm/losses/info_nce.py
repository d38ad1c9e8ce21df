"""Cross-modal InfoNCE over any subset of modalities per window."""

import math

from jaxtyping import Float
from torch import Tensor, nn

from hdt_fm.losses._scale import check_fit, check_op, new_log_scale, scale_in_range
from hdt_fm.ops.contrastive import contrastive_loss
from hdt_fm.schema.protocols import Encoded, LossReport


class InfoNce(nn.Module):
    """Every pair of modalities that a window holds is a positive; other windows are negatives.

    The learned number is the log of the scale. In training it is brought back into [0, log max_logit_scale]
    before each use (a step that left the range is undone), so its gradient never dies at the edge.

    Args:
        exclude_within_s: Windows of one person that start so close are not negatives; inf, all of a person; None, off.
        init_temperature: 1 / logit scale at the start, between 1 / max_logit_scale and 1.
        max_logit_scale: Upper end of the scale. Larger ones make a few hard negatives drown all others.
        products: What matrix products may round to: "exact", "tf32" or "bf16" (see the op).
        impl: Implementation of the op, "auto" by device and size.
    """

    spreads = True

    def __init__(
        self,
        *,
        exclude_within_s: float | None = 60.0,
        init_temperature: float = 0.1,
        max_logit_scale: float = 100.0,
        products: str = "exact",
        impl: str = "auto",
    ) -> None:
        super().__init__()
        check_op(impl, products, where="losses/info_nce")
        self.exclude_within_s, self.products, self.impl = exclude_within_s, products, impl
        self.log_logit_scale = new_log_scale(
            init_temperature=init_temperature, max_logit_scale=max_logit_scale, where="losses/info_nce"
        )
        self.max_log_scale = math.log(max_logit_scale)

    def logit_scale(self) -> Float[Tensor, ""]:
        """The multiplier of cosines, 1 to max_logit_scale."""
        return scale_in_range(self.log_logit_scale, self.max_log_scale, training=self.training)

    def forward(self, encoded: Encoded) -> LossReport:
        """Loss over all pairs; `parts` are the pairs' losses and the scale, `counts` the rows they rest on.

        Raises:
            ShapeError: If projections and batch differ in windows or modalities.
        """
        check_fit(encoded)
        projections, batch = encoded.projections, encoded.seen
        scale = self.logit_scale()
        output = contrastive_loss(
            projections.values.transpose(0, 1),
            projections.present,
            logit_scale=scale,
            subject=batch.subject,
            time_s=batch.time_s,
            exclude_within_s=self.exclude_within_s,
            of_person=batch.of_person,
            spread=encoded.spread,
            products=self.products,
            impl=self.impl,
        )
        names = [f"{batch.modalities[i]}-{batch.modalities[j]}" for i, j in output.pairs]
        parts = dict(zip(names, output.pair_loss.detach().unbind(), strict=True))
        counts = dict(zip(names, output.pair_rows.unbind(), strict=True))
        return LossReport(value=output.loss, parts={**parts, "logit_scale": scale.detach()}, counts=counts)
