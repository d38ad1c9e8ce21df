"""What comes under a plan: a person's past and interventions over the horizon -> mean and quantiles at each step."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hdt_fm.layers.quantiles import QuantileNetwork
from hdt_fm.layers.response import Change, Known, Law, PersonalResponse, Rolled
from hdt_fm.schema.errors import ConfigError, ShapeError
from hdt_fm.schema.outcome import Past

# Standardised inputs of the network beyond this are held there.
FAR = 8.0


@dataclass(frozen=True)
class States:
    """What the past comes to, at moments or for rows picked from them.

    Attributes:
        hidden: Of the history encoder.
        known: Of the person's own response.
    """

    hidden: Float[Tensor, "*rows width"]
    known: Known

    def take(self, *place: Tensor) -> "States":
        return States(self.hidden[place], self.known.take(*place))


@dataclass(frozen=True)
class Answered:
    """What a plan leads to.

    Attributes:
        law: What the person's own response says of it.
        raw: Mean and quantiles around that, in units of its spread.
    """

    law: Rolled
    raw: Float[Tensor, "row horizon mean_and_level"]

    @property
    def values(self) -> Float[Tensor, "row horizon mean_and_level"]:
        """In the unit of the level."""
        return self.law.level[..., None] + self.law.spread[..., None] * self.raw


class Outcome(nn.Module):
    """Starts as the law that people share, with the person's own numbers; what is learned is a change from that.

    Three parts. The *history encoder* (a GRU) reads the past step by step. The *edit encoder* (`PersonalResponse`)
    makes doses of the past and of the plan into what of them still acts, and plays the plan with what the person has
    shown. The *decoder* adds to mean and quantiles at a step what the history and the plan up to that step say beyond.
    Each step starts from the one before as it was answered, never from a reading: it is learned as it is used.

    Args:
        treatments: Of a step; several may be given at once.
        horizon: Steps ahead it is meant for.
        traits, features: Numbers of a person and of a moment; see `Past`.
        change, half_lives, limits, law: See `PersonalResponse`.
        levels: Of quantiles, rising, between 0 and 1.
        width: Hidden components.

    Units: in and out as the level's.

    Raises:
        ConfigError: If the horizon is below 1, or a part cannot be built.
    """

    def __init__(
        self,
        *,
        treatments: int,
        horizon: int,
        traits: int = 0,
        features: int = 0,
        change: Change = "relative",
        half_lives: Sequence[Sequence[float]] | None = None,
        limits: tuple[float, float] = (-math.inf, math.inf),
        law: Law = "whole",
        levels: Sequence[float] = (0.1, 0.25, 0.5, 0.75, 0.9),
        width: int = 32,
    ) -> None:
        super().__init__()
        if horizon < 1:
            raise ConfigError("The outcome head cannot be built", expected="a horizon of 1 or more", got=str(horizon))
        self.horizon, self.treatments, self.traits, self.features = horizon, treatments, traits, features
        self.response = PersonalResponse(
            treatments=treatments,
            traits=traits,
            change=change,
            half_lives=half_lives,
            limits=limits,
            law=law,
        )
        doses = len(self.response.of)
        numbers = 2 + doses
        # Constants, the level, its last change and whether it is known; doses; the person's numbers and their doubt.
        self.history = nn.GRU(traits + features + 3 + doses + 2 * numbers, width, batch_first=True)
        self.decoder = QuantileNetwork(
            in_features=width + 3 + 2 * doses, horizons=1, levels=levels, width=width, dropout=0.0
        )
        self._start_as_the_law()
        self.propensity = nn.Linear(width, treatments)

    @torch.no_grad()
    def _start_as_the_law(self) -> None:
        """The law's doubt is normal, so the first quantiles are: gaps that the softplus of `rising` gives."""
        normal = torch.special.ndtri(torch.tensor(self.levels))
        bias = self.decoder.leave.bias[1:]
        bias[self.decoder.middle] = normal[self.decoder.middle]
        bias[self.decoder.middle + 1 :] = torch.diff(normal)[self.decoder.middle :].expm1().log()
        bias[: self.decoder.middle] = torch.diff(normal)[: self.decoder.middle].expm1().log()

    @property
    def levels(self) -> tuple[float, ...]:
        return self.decoder.levels

    def learn(self, past: Past) -> None:
        """See `PersonalResponse.learn`."""
        self.response.learn(past)

    def encode(self, past: Past) -> States:
        """States at each moment (person, time), each by what came before it and by its own level.

        Raises:
            ShapeError: If the past has other treatments, traits or features than the head was built for.
        """
        self._check(past)
        known = self.response.watch(past)
        return States(self.history(self._moments(past, known))[0], known)

    def _moments(self, past: Past, known: Known) -> Float[Tensor, "person time moment"]:
        law, people_time = self.response, past.level.shape
        there = past.level.isfinite()
        term = law.term(known.level.double()).float()
        change = torch.diff(term, dim=1, prepend=term[:, :1]) / law.noise.sqrt().float()
        prior = law.about(past) @ law.prior
        size = law.spread.diagonal().sqrt().clamp(min=1e-9).float()
        own = (known.mean - prior[:, None].float()) / size
        doubt = known.doubt.diagonal(dim1=-2, dim2=-1).clamp(min=0).sqrt() / size
        parts = [past.traits[:, None].expand(*people_time, -1), term[..., None], change[..., None] / FAR]
        parts += [there[..., None].float(), known.held / law.unit[2:].float(), own, doubt]
        if past.features is not None:
            parts.append(past.features)
        return torch.cat([part.float() for part in parts], dim=-1).clamp(-FAR, FAR)

    def answer(self, states: States, plan: Float[Tensor, "row horizon treatment"]) -> Answered:
        """What plans lead to, from picked states; a plan may be of any length.

        Raises:
            ShapeError: If the plan does not fit the states or has other treatments.
        """
        if plan.shape[0] != states.hidden.shape[0] or plan.shape[2] != self.treatments:
            raise ShapeError(
                "The plan does not fit",
                expected=f"(row, horizon, treatment) = ({states.hidden.shape[0]}, any, {self.treatments})",
                got=f"{tuple(plan.shape)}",
            )
        law = self.response.roll(states.known, plan.float())
        held = law.held / self.response.unit[2:].float()
        steps = torch.arange(1, plan.shape[1] + 1) / self.horizon
        parts = [states.hidden[:, None].expand(-1, plan.shape[1], -1), held, held.cumsum(1) / self.horizon]
        parts += [self.response.term(law.level)[..., None].float(), steps.expand(len(plan), -1)[..., None]]
        parts += [(law.spread / law.spread[:, :1].clamp(min=1e-9)).log1p()[..., None]]
        inputs = torch.cat(parts, dim=-1).clamp(-FAR, FAR)
        return Answered(law, self.decoder(inputs.flatten(0, 1)).view(len(plan), plan.shape[1], -1))

    def forward(
        self, past: Past, plan: Float[Tensor, "person horizon treatment"]
    ) -> Float[Tensor, "person horizon mean_and_level"]:
        """Answers after the newest step of the past, whose own treatments are the plan's first and are not read."""
        everyone = torch.arange(len(past.level))
        newest = torch.full_like(everyone, past.level.shape[1] - 1)
        return self.answer(self.encode(past).take(everyone, newest), plan).values

    def loss(self, answered: Answered, target: Float[Tensor, "row horizon"]) -> Float[Tensor, ""]:
        """Of mean and quantiles in units of the law's spread, so that what was never knowable does not rule.

        Args:
            target: NaN where unknown. One at a limit asks for an answer there or beyond, no more.
        """
        return self.decoder.loss(answered.raw, self._around_law(answered, target))

    def missed(self, answered: Answered, target: Float[Tensor, "row horizon"]) -> Float[Tensor, "row horizon"]:
        """Target less mean, in units of the law's spread; as `loss`."""
        return self._around_law(answered, target) - answered.raw[..., 0]

    def _around_law(self, answered: Answered, target: Tensor) -> Float[Tensor, "row horizon"]:
        low, high = self.response.limits
        mean = answered.values[..., 0]
        beyond = ((target <= low) & (mean <= low)) | ((target >= high) & (mean >= high))
        scaled = (target - answered.law.level) / answered.law.spread.clamp(min=1e-12)
        return torch.where(beyond, torch.nan, scaled).float()

    def assignment(self, hidden: Float[Tensor, "*rows width"], *, reverse: float = 0.0) -> Tensor:
        """Log-odds that each treatment is given next; with `reverse`, the history encoder learns to hide them."""
        return self.propensity(_Reverse.apply(hidden, reverse) if reverse else hidden)

    def edit_only(self) -> None:
        """Keep the history encoder still: only what follows a plan learns from here on."""
        self.history.requires_grad_(False)

    @property
    def trainable_share(self) -> float:
        counts = [(value.numel(), value.requires_grad) for value in self.parameters()]
        return sum(count for count, moves in counts if moves) / sum(count for count, _ in counts)

    def history_digest(self) -> str:
        """Of the history encoder's weights: the same before and after says that it was kept still."""
        digest = hashlib.sha256()
        for name, value in self.history.state_dict().items():
            digest.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def _check(self, past: Past) -> None:
        features = 0 if past.features is None else past.features.shape[2]
        got = past.given.shape[2], past.traits.shape[1], features
        if got != (self.treatments, self.traits, self.features):
            raise ShapeError(
                "The past does not fit the outcome head",
                expected=f"{self.treatments} treatments, {self.traits} traits, {self.features} features",
                got=f"{got[0]}, {got[1]}, {got[2]}",
            )


class _Reverse(torch.autograd.Function):
    """The identity, whose gradient goes back times `-strength` (Ganin and Lempitsky 2015)."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, hidden: Tensor, strength: float) -> Tensor:
        ctx.strength = strength  # type: ignore[attr-defined]
        return hidden.view_as(hidden)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *gradients: Tensor) -> tuple[Tensor, None]:
        return -ctx.strength * gradients[0], None  # type: ignore[attr-defined]
