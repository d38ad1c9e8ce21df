"""Mean and quantiles of a series some time ahead, by what is known of a moment and embeddings of windows before."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from hdt_fm.layers.attention import TransformerBlock
from hdt_fm.layers.context import last_known
from hdt_fm.layers.quantiles import QuantileNetwork
from hdt_fm.layers.rotary import rotary_angles
from hdt_fm.schema.errors import ConfigError, ShapeError
from hdt_fm.schema.protocols import HeadInput

Kind = Literal["gru", "lstm", "transformer"]
# Standardised features beyond this are held there: one wild reading must not carry a forecast away.
FAR = 8.0
HEADS = 4
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
            _Member(
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
        for name, size in (("center", known), ("context_center", in_features)):
            self.register_buffer(name, torch.zeros(size))
        for name, size in (("scale", known), ("context_scale", in_features)):
            self.register_buffer(name, torch.ones(size))
        self.register_buffer("flagged", torch.zeros(known))
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
        center, scale, flagged = _moments(_known(inputs))
        self.center.copy_(center)
        self.scale.copy_(scale)
        self.flagged.copy_(flagged)
        if len(self.context_center):
            center, scale, _ = _moments(inputs.context[inputs.observed])
            self.context_center.copy_(center)
            self.context_scale.copy_(scale)
        self.spread.copy_(change[change.isfinite()].double().std(unbiased=False).clamp(min=1e-6))

    def scaled(self, inputs: HeadInput) -> HeadInput:
        """Features in units of training people's spread, with flags of what is known beside; embeddings alike."""
        known = _known(inputs)
        seen = known.isfinite()
        values = torch.where(seen, (known.nan_to_num() - self.center) / self.scale, 0.0).clamp(-FAR, FAR)
        both = torch.cat((values, torch.where(seen, 1.0, 0.0) * self.flagged), dim=-1)
        context = inputs.context
        if len(self.context_center):
            context = ((context - self.context_center) / self.context_scale).clamp(-FAR, FAR)
            context = torch.where(inputs.observed[..., None], context, 0.0)
        return replace(inputs, known=both.float(), context=context.float())

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


class _Member(nn.Module):
    """Embeddings in order -> one vector; beside the features of the moment into quantiles."""

    def __init__(
        self, *, known: int, in_features: int, kind: Kind, width: int, network: QuantileNetwork, dropout: float
    ) -> None:
        super().__init__()
        self.in_features, self.kind, self.head_width = in_features, kind, width // HEADS
        self.network = network
        if in_features:
            self.enter = nn.Linear(in_features + 1, width)
            self.drop = nn.Dropout(dropout)
        if in_features and kind == "transformer":
            self.blocks = nn.ModuleList([TransformerBlock(width=width, heads=HEADS, dropout=dropout) for _ in range(2)])
            self.norm = nn.LayerNorm(width)
        elif in_features:
            self.steps = (nn.GRU if kind == "gru" else nn.LSTM)(width, width, batch_first=True)

    def forward(self, inputs: HeadInput) -> Float[Tensor, "batch horizon mean_and_level"]:
        return self.network(self._all(inputs))

    def hidden(self, inputs: HeadInput) -> Float[Tensor, "batch hidden"]:
        return self.network.hidden(self._all(inputs))

    def _all(self, inputs: HeadInput) -> Float[Tensor, "batch feature"]:
        assert inputs.known is not None
        if not self.in_features:
            return inputs.known
        return torch.cat((inputs.known, self.drop(self._read(inputs))), dim=-1)

    def _read(self, inputs: HeadInput) -> Float[Tensor, "batch width"]:
        x = self.enter(torch.cat((inputs.context, inputs.observed[..., None].to(inputs.context.dtype)), dim=-1))
        if self.kind != "transformer":
            return self.steps(F.gelu(x))[0][:, -1]
        keys = inputs.observed | ~inputs.observed.any(1, keepdim=True)
        # Counted back from the newest window, so that a longer context does not move the near past.
        position = torch.arange(1 - x.shape[1], 1, device=x.device, dtype=torch.float32)
        angles = rotary_angles(position, self.head_width)
        for block in self.blocks:
            x = block(x, angles, keys)
        return self.norm(x)[:, -1]


def _pieces(inputs: HeadInput) -> Iterator[HeadInput]:
    for rows in torch.arange(len(inputs.context)).split(PIECE):
        known = None if inputs.known is None else inputs.known[rows]
        yield replace(inputs, context=inputs.context[rows], observed=inputs.observed[rows], known=known)


def _known(inputs: HeadInput) -> Tensor:
    if inputs.known is None:
        raise ShapeError("A forecast of a series needs features of the moment", expected="inputs.known")
    return inputs.known


def _moments(rows: Float[Tensor, "row feature"]) -> tuple[Tensor, Tensor, Tensor]:
    """Center, spread, and whether a feature is unknown at times, over rows."""
    seen = rows.isfinite()
    count = seen.sum(0).clamp(min=1)
    values = torch.where(seen, rows, 0.0).double()
    center = values.sum(0) / count
    spread = (torch.where(seen, (values - center) ** 2, 0.0).sum(0) / count).sqrt() + 1e-6
    return center, spread, (~seen.all(0)).double()
