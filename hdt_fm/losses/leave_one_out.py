"""Leave-one-out contrast: each modality of a window against its others together."""

import math

from jaxtyping import Float
from torch import Tensor, nn

from hdt_fm.losses._scale import check_fit, check_op, new_log_scale, scale_in_range
from hdt_fm.ops.leave_one_out import leave_one_out_loss
from hdt_fm.schema.errors import ConfigError, unknown_name
from hdt_fm.schema.protocols import Encoded, LossReport

OTHERS = ("mean", "fused")


class LeaveOneOut(nn.Module):
    """A modality must be found by what the others of its window say together. Windows of one modality take no part.

    Args:
        others: What they say together: the mean of their projections, or what the model's fusion makes of them.
        exclude_within_s: Windows of one person that start so close are not negatives; inf, all of a person; None, off.
        init_temperature: 1 / logit scale at the start, between 1 / max_logit_scale and 1.
        max_logit_scale: Upper end of the scale.
        products: What matrix products may round to: "exact", "tf32" or "bf16" (see the op).
        impl: Implementation of the op, "auto" by device and size.

    Source: Thapa et al. 2024 (SleepFM).
    """

    spreads = True
    # Of the class unless asked for, so that the settings of a run are what they were before there was this choice.
    reads_others = False

    def __init__(
        self,
        *,
        others: str = "mean",
        exclude_within_s: float | None = 60.0,
        init_temperature: float = 0.1,
        max_logit_scale: float = 100.0,
        products: str = "exact",
        impl: str = "auto",
    ) -> None:
        super().__init__()
        check_op(impl, products, where="losses/leave_one_out")
        if others not in OTHERS:
            raise unknown_name("kind of others", others, OTHERS, where="losses/leave_one_out")
        self.exclude_within_s, self.products, self.impl = exclude_within_s, products, impl
        if others == "fused":
            self.reads_others = True
        self.log_logit_scale = new_log_scale(
            init_temperature=init_temperature, max_logit_scale=max_logit_scale, where="losses/leave_one_out"
        )
        self.max_log_scale = math.log(max_logit_scale)

    def logit_scale(self) -> Float[Tensor, ""]:
        """The multiplier of cosines, 1 to max_logit_scale."""
        return scale_in_range(self.log_logit_scale, self.max_log_scale, training=self.training)

    def forward(self, encoded: Encoded) -> LossReport:
        """Loss over modalities; `parts` are the modalities' losses and the scale, `counts` the rows they rest on.

        Raises:
            ShapeError: If projections and batch differ in windows or modalities.
            ConfigError: If the fusion of the others is asked for and was not made.
        """
        check_fit(encoded)
        batch, scale = encoded.seen, self.logit_scale()
        output = leave_one_out_loss(
            encoded.projections.values.transpose(0, 1),
            encoded.projections.present,
            logit_scale=scale,
            others=_fused(encoded) if self.reads_others else None,
            subject=batch.subject,
            time_s=batch.time_s,
            exclude_within_s=self.exclude_within_s,
            of_person=batch.of_person,
            spread=encoded.spread,
            products=self.products,
            impl=self.impl,
        )
        parts = dict(zip(batch.modalities, output.modality_loss.detach().unbind(), strict=True))
        counts = dict(zip(batch.modalities, output.modality_rows.unbind(), strict=True))
        return LossReport(value=output.loss, parts={**parts, "logit_scale": scale.detach()}, counts=counts)


def _fused(encoded: Encoded) -> Float[Tensor, "modality batch dim"]:
    if encoded.others is None:
        raise ConfigError(
            "The others of a window were not fused",
            where="loss.others",
            expected="`Encoded.others`, from a model with a fusion",
            fix="fusion=attention, or loss.others=mean",
        )
    return encoded.others.values.transpose(0, 1)
