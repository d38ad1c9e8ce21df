"""How severe an adverse outcome gets within a horizon after a plan: classes in order, from none to the worst."""

from dataclasses import replace
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from hdt_fm.layers.moment import Kind, MomentReader, hold_scale, known_of, learn_input_scale, scaled_inputs
from hdt_fm.layers.ordinal import OrdinalNetwork, class_loss, class_probabilities
from hdt_fm.schema.errors import ConfigError, ShapeError
from hdt_fm.schema.protocols import HeadInput

# A rate of nobody or of everybody is held here.
LEAST_RATE = 1e-3


class Severity(nn.Module):
    """Log-odds that the worst of each outcome up to each horizon is at least of class 1, 2, ...

    Glucose has two outcomes of three classes: low (none, 54 to 69 mg/dL, below 54) and high (none, 181 to 250, above
    250). Classes never cross and none falls as the horizon grows, whatever the weights (`OrdinalNetwork`). Several
    members are averaged, in log-odds, which keeps both. `inputs.known` holds features of the moment, `inputs.context`
    embeddings of windows up to now, newest last, `inputs.plan` what is given from now on; `inputs.recent` is not read.

    It learns from what people did, so an answer is what comes to people *who do so*. It is an interventional forecast
    only where nothing unseen moves both the plan and the outcome. A plan with a dose where no training person had one
    is refused.

    Args:
        known: Features of the moment.
        in_features: Components of an embedding; 0 reads no embeddings.
        horizons: How many spans ahead are asked, rising.
        outcomes: How many kinds of outcomes, each with so many `classes`, none among them.
        treatments, plan_steps: Of a plan; 0 treatments read no plan.
        kind: What reads the embeddings, in order.
        width: Of what is read of the embeddings, divisible by 8 for the transformer.
        members: Networks that are averaged.

    Raises:
        ConfigError: If a size is below what it must be, or the kind is not known.
    """

    center: Tensor
    scale: Tensor
    flagged: Tensor
    context_center: Tensor
    context_scale: Tensor
    given: Tensor
    weight: Tensor

    def __init__(
        self,
        *,
        known: int,
        in_features: int = 0,
        horizons: int,
        outcomes: int = 2,
        classes: int = 3,
        treatments: int = 0,
        plan_steps: int = 1,
        kind: Kind = "gru",
        width: int = 32,
        members: int = 3,
        hidden: int = 128,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        low = min(known, members, width, plan_steps) < 1 or min(in_features, treatments) < 0
        if kind not in ("gru", "lstm", "transformer") or low:
            raise ConfigError(
                "The severity head cannot be built",
                where="heads/severity",
                expected='kind "gru", "lstm" or "transformer", sizes of 1 or more; 0 embeddings or treatments for none',
                got=f"kind {kind!r}, known {known}, in_features {in_features}, width {width}, members {members}, "
                f"plans of {plan_steps} x {treatments}",
            )
        self.classes, self.treatments, self.plan_steps = classes, treatments, plan_steps
        told = known + plan_steps * treatments
        reads: dict[str, Any] = {"in_features": in_features, "kind": kind, "width": width, "dropout": dropout}
        sizes: dict[str, Any] = {"horizons": horizons, "outcomes": outcomes, "classes": classes}
        sizes |= {"in_features": 2 * told + (width if in_features else 0), "width": hidden, "dropout": dropout}
        self.members = nn.ModuleList(
            MomentReader(known=2 * told, network=OrdinalNetwork(**sizes), **reads) for _ in range(members)
        )
        hold_scale(self, told, in_features)
        self.register_buffer("given", torch.ones(plan_steps, treatments, dtype=torch.bool))
        self.register_buffer("weight", torch.ones(horizons, outcomes), persistent=False)

    @torch.no_grad()
    def learn_scale(self, inputs: HeadInput, severity: Float[Tensor, "batch horizon outcome"]) -> None:
        """Scale of every input, where plans give anything, and how often each class came: what members begin with, and
        what weighs their losses.

        Args:
            severity: Of training people, 0 to `classes` - 1; NaN where unknown.
        """
        learn_input_scale(self, self._told(inputs))
        if self.treatments:
            assert inputs.plan is not None
            self.given.copy_((inputs.plan != 0).any(0))
        known = severity.isfinite()[..., None]
        reached = severity[..., None] >= torch.arange(1, self.classes)
        rate = torch.where(known, reached, False).sum(0) / known.sum(0).clamp(min=1)
        rate = rate.double().clamp(LEAST_RATE, 1 - LEAST_RATE)
        for member in self.members:
            member.network.begin_at(rate.float())  # type: ignore[union-attr, operator]
        share = class_probabilities(torch.logit(rate))
        self.weight.copy_(-1 / torch.xlogy(share, share).sum(-1))

    def scaled(self, inputs: HeadInput) -> HeadInput:
        """Features and doses in units of training people's spread, with flags of what is known; embeddings alike.

        Raises:
            ShapeError: If the plan is missing, of other sizes, not known, or gives what nobody was given.
        """
        return scaled_inputs(self, self._told(inputs))

    def forward(self, inputs: HeadInput) -> Float[Tensor, "batch horizon outcome threshold"]:
        """The members' mean."""
        scaled = self.scaled(inputs)
        return torch.stack([member(scaled) for member in self.members]).mean(0)

    def probabilities(self, inputs: HeadInput) -> Float[Tensor, "batch horizon outcome class"]:
        """Of each class, from none to the worst, in double precision."""
        return class_probabilities(self(inputs).double())

    def member_loss(
        self, output: Float[Tensor, "batch horizon outcome threshold"], target: Float[Tensor, "batch horizon outcome"]
    ) -> Float[Tensor, ""]:
        """Cross-entropy of one member over that of the mere rates; NaN targets teach nothing.

        So a rare outcome and a near horizon, whose entropy is small, teach as much as a common one far ahead.
        """
        return (class_loss(output, target) * self.weight).sum() / target.isfinite().sum().clamp(min=1)

    def loss(
        self, output: Float[Tensor, "batch horizon outcome threshold"], target: Tensor, counts: Tensor
    ) -> Float[Tensor, ""]:
        """Mean cross-entropy of the class that came where `counts`, in nats."""
        return class_loss(output, torch.where(counts, target, torch.nan)).sum() / counts.sum().clamp(min=1)

    def _told(self, inputs: HeadInput) -> HeadInput:
        """With the plan's doses beside the features of the moment."""
        if not self.treatments:
            return inputs
        known, plan = known_of(inputs), inputs.plan
        wanted = (len(known), self.plan_steps, self.treatments)
        if plan is None or tuple(plan.shape) != wanted or not plan.isfinite().all():
            raise ShapeError(
                "This head needs a plan",
                where="inputs.plan",
                expected=f"known doses, (batch, step, treatment) = {wanted}, 0 where nothing is given",
                got="none" if plan is None else f"{tuple(plan.shape)}, {int((~plan.isfinite()).sum())} doses unknown",
            )
        if bool(((plan != 0) & ~self.given).any()):
            raise ShapeError(
                "The plan gives what nobody was given",
                where="inputs.plan",
                expected="doses at steps at which training people had that treatment",
                fix="ask for another step, or learn from people who were treated so",
            )
        doses = rearrange(plan, "batch step treatment -> batch (step treatment)")
        return replace(inputs, known=torch.cat((known, doses.to(known.dtype)), dim=-1))
