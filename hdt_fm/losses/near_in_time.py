"""Positives over time: other windows of the same person, near ones or any."""

import math

from jaxtyping import Float
from torch import Tensor, nn

from hdt_fm.losses._scale import check_fit, new_log_scale, scale_in_range
from hdt_fm.ops.near_in_time import NEGATIVES, company, near_in_time_loss
from hdt_fm.schema.errors import ConfigError, unknown_name
from hdt_fm.schema.protocols import Encoded, LossReport


class NearInTime(nn.Module):
    """Windows of one person that lie close together belong together, within each modality.

    Args:
        within_s: Starts of positives are at most so far apart; inf takes any two windows of a person.
        across: Also look for near windows in the other modalities.
        negatives: "others", other people's windows alone; "all", the same person's far windows too.
        init_temperature: 1 / logit scale at the start, between 1 / max_logit_scale and 1.
        max_logit_scale: Upper end of the scale.

    Source: Abbaspourazad et al. 2024 (same person, within_s = inf); Khosla et al. 2020 (several positives).
    """

    def __init__(
        self,
        *,
        within_s: float = 300.0,
        across: bool = False,
        negatives: str = "others",
        init_temperature: float = 0.1,
        max_logit_scale: float = 100.0,
    ) -> None:
        super().__init__()
        if not within_s > 0:
            raise ConfigError(
                "within_s cannot be used",
                where="losses/near_in_time",
                expected="seconds > 0, or inf for any two windows of a person",
                got=f"{within_s}",
            )
        if negatives not in NEGATIVES:
            raise unknown_name("choice of negatives", negatives, NEGATIVES, where="losses/near_in_time")
        self.within_s, self.across, self.negatives = float(within_s), across, negatives
        self.log_logit_scale = new_log_scale(
            init_temperature=init_temperature, max_logit_scale=max_logit_scale, where="losses/near_in_time"
        )
        self.max_log_scale = math.log(max_logit_scale)

    def logit_scale(self) -> Float[Tensor, ""]:
        """The multiplier of cosines, 1 to max_logit_scale."""
        return scale_in_range(self.log_logit_scale, self.max_log_scale, training=self.training)

    def forward(self, encoded: Encoded) -> LossReport:
        """Loss over groups; `parts` are `<m>` (within) and `<query>-><key>` (across), `counts` the rows that count.

        Raises:
            ShapeError: If projections and batch differ in windows or modalities.
        """
        check_fit(encoded)
        batch, scale = encoded.seen, self.logit_scale()
        among = company(batch.subject, batch.time_s, within_s=self.within_s, negatives=self.negatives)
        output = near_in_time_loss(
            encoded.projections.values.transpose(0, 1),
            encoded.projections.present,
            among,
            logit_scale=scale,
            across=self.across,
            of_person=batch.of_person,
        )
        called = batch.modalities
        names = [called[i] if i == j else f"{called[i]}->{called[j]}" for i, j in output.groups]
        parts = dict(zip(names, output.group_loss.detach().unbind(), strict=True))
        counts = dict(zip(names, output.group_rows.unbind(), strict=True))
        return LossReport(value=output.loss, parts={**parts, "logit_scale": scale.detach()}, counts=counts)
