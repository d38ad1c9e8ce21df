"""The risk that an event happens within a horizon, by what is known of a moment and embeddings of windows before."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from hdt_fm.layers.hazards import HazardNetwork
from hdt_fm.layers.moment import Kind, MomentReader, hold_scale, learn_input_scale, scaled_inputs
from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.protocols import HeadInput

# A rate of nobody or of everybody is held here.
LEAST_RATE = 1e-3
# Beyond the odds of such a risk a line moves nothing: how small it is, is not known better.
LEAST_RISK = 1e-4


class EventRisk(nn.Module):
    """Log-odds that each event happens at any reading up to each horizon, where it is not there now.

    No risk falls as the horizon grows. Several members are averaged, in log-odds. `inputs.known` holds features of the
    moment, `inputs.context` embeddings of windows up to now, newest last; `inputs.recent` and `inputs.plan` are not
    read: this head answers what comes if people do as they use to.

    Args:
        known: Features of the moment.
        in_features: Components of an embedding; 0 reads no embeddings.
        horizons: How many spans ahead are asked, rising.
        events: How many kinds of events are answered.
        teaching: How many more are learned beside them and not answered: events are rare, and how near a moment came to
            one (a lower threshold, a higher one) is told by all.
        kind: What reads the embeddings, in order.
        width: Of what is read of the embeddings, divisible by 8 for the transformer.
        members: Networks that are averaged.
        asked: A `ForecastTask` as plain values: what this head must be told, and within which horizons it answers.
        described: Each event that is answered, as plain values: `name`, `threshold` and `below`. Both kept, not read.

    Attributes:
        slope, start: For each horizon and event the line through log-odds that people who were kept apart have set.
            Not part of what `forward` gives; see `calibrated`.
    """

    center: Tensor
    scale: Tensor
    flagged: Tensor
    context_center: Tensor
    context_scale: Tensor
    weight: Tensor
    slope: Tensor
    start: Tensor

    def __init__(
        self,
        *,
        known: int,
        in_features: int = 0,
        horizons: int,
        events: int,
        teaching: int = 0,
        kind: Kind = "gru",
        width: int = 32,
        members: int = 3,
        hidden: int = 128,
        dropout: float = 0.1,
        asked: Mapping[str, Any] | None = None,
        described: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        super().__init__()
        self.events, self.asked, self.described = events, dict(asked or {}), [dict(one) for one in described]
        if kind not in ("gru", "lstm", "transformer") or min(known, members, width) < 1 or in_features < 0:
            raise ConfigError(
                "The risk of events cannot be built",
                where="heads/event_risk",
                expected='kind "gru", "lstm" or "transformer", sizes of 1 or more',
                got=f"kind {kind!r}, known {known}, in_features {in_features}, width {width}, members {members}",
            )
        reads: dict[str, Any] = {"in_features": in_features, "kind": kind, "width": width, "dropout": dropout}
        sizes: dict[str, Any] = {"horizons": horizons, "events": events + teaching}
        sizes |= {"width": hidden, "dropout": dropout}
        features = 2 * known + (width if in_features else 0)
        self.members = nn.ModuleList(
            MomentReader(known=2 * known, network=HazardNetwork(in_features=features, **sizes), **reads)
            for _ in range(members)
        )
        hold_scale(self, known, in_features)
        self.register_buffer("weight", torch.ones(horizons, events + teaching), persistent=False)
        self.register_buffer("slope", torch.ones(horizons, events))
        self.register_buffer("start", torch.zeros(horizons, events))

    @torch.no_grad()
    def learn_scale(self, inputs: HeadInput, happened: Float[Tensor, "batch horizon event"]) -> None:
        """Scale of every input, and how often events happen: what every member begins with, and what weighs its losses.

        Args:
            happened: Of training people, 0 or 1; NaN where unknown. Events that only teach stand last.
        """
        learn_input_scale(self, inputs)
        rate = happened.double().nanmean(0).nan_to_num(nan=0.5).clamp(LEAST_RATE, 1 - LEAST_RATE)
        for member in self.members:
            member.network.begin_at(rate.float())  # type: ignore[union-attr, operator]
        doubt = -(torch.xlogy(rate, rate) + torch.xlogy(1 - rate, 1 - rate))
        self.weight.copy_(1 / doubt)

    def scaled(self, inputs: HeadInput) -> HeadInput:
        """Features in units of training people's spread, with flags of what is known beside; embeddings alike."""
        return scaled_inputs(self, inputs)

    def forward(self, inputs: HeadInput) -> Float[Tensor, "batch horizon event"]:
        """The members' mean."""
        scaled = self.scaled(inputs)
        return torch.stack([member(scaled) for member in self.members]).mean(0)[..., : self.events]

    def calibrated(self, output: Float[Tensor, "batch horizon event"]) -> Float[Tensor, "batch horizon event"]:
        """Log-odds after the lines of people kept apart; each horizon has its own, so that risks may fall with it."""
        most = math.log(1 / LEAST_RISK - 1)
        return self.slope * output.clamp(-most, most) + self.start

    def member_loss(
        self, output: Float[Tensor, "batch horizon taught"], target: Float[Tensor, "batch horizon taught"]
    ) -> Float[Tensor, ""]:
        """Cross-entropy of one member over that of the mere rates, of all that it is taught; NaN targets teach nothing.

        So a rare event and a near horizon, whose entropy is small, teach as much as a common event far ahead.
        """
        counts = target.isfinite()
        each = F.binary_cross_entropy_with_logits(output, torch.where(counts, target, 0.0), reduction="none")
        return torch.where(counts, each * self.weight, 0.0).sum() / counts.sum().clamp(min=1)

    def loss(self, output: Float[Tensor, "batch horizon event"], target: Tensor, counts: Tensor) -> Float[Tensor, ""]:
        """Mean cross-entropy where `counts`, in nats."""
        each = F.binary_cross_entropy_with_logits(output, torch.where(counts, target, 0.0), reduction="none")
        return torch.where(counts, each, 0.0).sum() / counts.sum().clamp(min=1)
