"""Mean and quantiles of a series some time ahead, by what is known of a moment and embeddings of windows before."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hdt_fm.layers.context import last_known
from hdt_fm.layers.moment import (
    Kind,
    MomentReader,
    hold_scale,
    learn_input_scale,
    learn_unseen_scale,
    scaled_inputs,
)
from hdt_fm.layers.quantiles import QuantileNetwork
from hdt_fm.schema.errors import ConfigError, ShapeError
from hdt_fm.schema.protocols import HeadInput

# A hidden feature that hardly moves is not blown up.
LEAST_SCALE = 1e-3
PIECE = 4096


class SeriesForecast(nn.Module):
    """Starts by saying that nothing changes. Quantiles never cross; several members are averaged.

    `inputs.recent` ends with the newest reading, to which changes are added; `inputs.known` holds features of the
    moment; `inputs.context` embeddings of windows up to now, newest last. `inputs.plan` is not read: this head answers
    what comes if people do as they use to.

    Args:
        known: Features of the moment.
        in_features: Components of an embedding; 0 reads no embeddings.
        horizons: How many times ahead are asked.
        levels: Of quantiles, rising, between 0 and 1.
        kind: What reads the embeddings, in order.
        width: Of what is read of the embeddings, divisible by 8 for the transformer.
        members: Networks that are averaged.
        asked: A `ForecastTask` as plain values: what this head must be told and what it answers. Kept, not read here.

    Attributes:
        shift: By how much both ends of the 80 % interval move at each horizon, so that people who were kept apart are
            covered; a new person begins with it (`hdt_fm.metrics.conformal`). Not part of what `forward` gives.
        score_spread: Of their scores: the unit in which a person's own interval then moves.
        usual: Lowest and highest of training people in mean, spread and share of readings: what is like them.
        hidden_center, hidden_scale: Of `hidden`.

    Units: out as the series'.
    """

    center: Tensor
    scale: Tensor
    flagged: Tensor
    context_center: Tensor
    context_scale: Tensor
    spread: Tensor
    shift: Tensor
    score_spread: Tensor
    usual: Tensor
    hidden_center: Tensor
    hidden_scale: Tensor

    def __init__(
        self,
        *,
        known: int,
        in_features: int = 0,
        horizons: int,
        levels: Sequence[float],
        kind: Kind = "gru",
        width: int = 32,
        members: int = 3,
        hidden: int = 128,
        dropout: float = 0.1,
        asked: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.levels, self.asked = tuple(float(one) for one in levels), dict(asked or {})
        if kind not in ("gru", "lstm", "transformer") or min(known, members, width) < 1 or in_features < 0:
            raise ConfigError(
                "The forecast of a series cannot be built",
                where="heads/series_forecast",
                expected='kind "gru", "lstm" or "transformer", sizes of 1 or more',
                got=f"kind {kind!r}, known {known}, in_features {in_features}, width {width}, members {members}",
            )
        self.members = nn.ModuleList(
            MomentReader(
                known=2 * known,
                in_features=in_features,
                kind=kind,
                width=width,
                network=QuantileNetwork(
                    in_features=2 * known + (width if in_features else 0),
                    horizons=horizons,
                    levels=levels,
                    width=hidden,
                    dropout=dropout,
                ),
                dropout=dropout,
            )
            for _ in range(members)
        )
        hold_scale(self, known, in_features)
        self.register_buffer("spread", torch.ones(()))
        self.register_buffer("shift", torch.zeros(horizons))
        self.register_buffer("score_spread", torch.ones(horizons))
        self.register_buffer("usual", torch.zeros(3, 2))
        self.register_buffer("hidden_center", torch.zeros(members * hidden))
        self.register_buffer("hidden_scale", torch.ones(members * hidden))

    @torch.no_grad()
    def learn_scale(self, inputs: HeadInput, change: Float[Tensor, "batch horizon"]) -> None:
        """Center and scale of every feature, which of them are unknown at times, and the spread of the change.

        Args:
            change: Of training people, in the series' unit; NaN where unknown.
        """
        learn_input_scale(self, inputs)
        self.spread.copy_(change[change.isfinite()].double().std(unbiased=False).clamp(min=1e-6))

    def learn_unseen(self, inputs: HeadInput) -> int:
        """Scale of features that training people did not have, or all had alike; answers that were given before stay.

        Returns:
            How many features are read from now on.
        """
        return learn_unseen_scale(self, inputs)

    def scaled(self, inputs: HeadInput) -> HeadInput:
        """Features in units of training people's spread, with flags of what is known beside; embeddings alike."""
        return scaled_inputs(self, inputs)

    def forward(self, inputs: HeadInput) -> Float[Tensor, "batch horizon mean_and_level"]:
        """The members' mean."""
        if inputs.recent is None:
            raise ShapeError("A forecast of a series needs its newest reading", expected="inputs.recent")
        scaled = self.scaled(inputs)
        said = torch.stack([member(scaled) for member in self.members]).mean(0)
        newest, known = last_known(inputs.recent)
        return torch.where(known, newest, torch.nan)[:, None, None] + said * self.spread

    def hidden(self, inputs: HeadInput) -> Float[Tensor, "batch hidden"]:
        """What the members' last layers read, side by side, in units of training people's spread: what a person's own
        layer is learned on."""
        scaled = self.scaled(inputs)
        found = torch.cat([member.hidden(scaled) for member in self.members], dim=-1)  # type: ignore[operator]
        return (found - self.hidden_center) / self.hidden_scale

    @torch.no_grad()
    def learn_hidden(self, inputs: HeadInput) -> None:
        """Take center and scale of `hidden` from training people, once the members are trained."""
        self.hidden_center.zero_()
        self.hidden_scale.fill_(1.0)
        found = torch.cat([self.hidden(some) for some in _pieces(inputs)]).double()
        self.hidden_center.copy_(found.mean(0))
        self.hidden_scale.copy_(found.std(0) + LEAST_SCALE)

    def member_loss(self, output: Tensor, target: Tensor) -> Float[Tensor, ""]:
        """Squared error and pinball loss of one member, in spreads; NaN targets teach nothing."""
        return self.members[0].network.loss(output, target)  # type: ignore[union-attr, operator]

    def loss(self, output: Tensor, target: Tensor, counts: Tensor) -> Float[Tensor, ""]:
        """The same of the whole head, where `counts`; in the unit of the series over `spread`."""
        return self.member_loss(output / self.spread, torch.where(counts, target, torch.nan) / self.spread)


def _pieces(inputs: HeadInput) -> Iterator[HeadInput]:
    for rows in torch.arange(len(inputs.context)).split(PIECE):
        known = None if inputs.known is None else inputs.known[rows]
        yield replace(inputs, context=inputs.context[rows], observed=inputs.observed[rows], known=known)
