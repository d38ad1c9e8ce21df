"""What comes under a plan: a person's past and interventions over the horizon -> mean and quantiles at each step."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from einops import rearrange
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

    takes_weights = True

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

    def advance(
        self,
        states: States,
        given: Float[Tensor, "row treatment"],
        level: Float[Tensor, " row"],
        traits: Float[Tensor, "row traits"],
    ) -> States:
        """States a step later, had this been given and this level come; as `encode` says of a past that goes on so.

        Raises:
            ConfigError: If the head reads features of the moment, which nobody knows of moments to come.
        """
        if self.features:
            raise ConfigError("A head that reads features of the moment cannot be played", expected="features=0")
        known = _shown(self.response, states.known, given, level)
        pairs = zip(vars(states.known).values(), vars(known).values(), strict=True)
        both = Known(*(torch.stack(pair, dim=1) for pair in pairs))
        two_steps = Past(both.level, torch.zeros(len(level), 2, self.treatments), traits)
        entered = self._moments(two_steps, both)[:, 1:]
        return States(self.history(entered, states.hidden[None].contiguous())[0][:, 0], known)

    @torch.no_grad()
    def play(
        self,
        states: States,
        plan: Float[Tensor, "row horizon treatment"],
        traits: Float[Tensor, "row traits"],
        *,
        draws: int,
        generator: torch.Generator,
    ) -> Float[Tensor, "draw row horizon"]:
        """Levels under a plan by Monte Carlo: each step drawn from the one-step answer after the levels drawn before.

        G-computation: the one-step answers are all that it rests on, so what later treatments looked at on the way does
        no harm; an answer over a whole plan, learned from plans as they came, takes that for their effect.

        Args:
            traits: Of each row's person.
            draws: Even: the second half has the first one's noise turned round, which steadies their mean.

        Raises:
            ConfigError: If the draws are not even, and as `advance`.
        """
        if draws < 2 or draws % 2:
            raise ConfigError("A plan cannot be played so often", expected="an even number of draws", got=str(draws))
        rows = torch.arange(len(plan)).repeat(draws)
        states, plan, traits = states.take(rows), plan[rows], traits[rows]
        low, high = self.response.limits
        normal = torch.special.ndtri(torch.tensor([self.levels[0], self.levels[-1]]))
        out: list[Tensor] = []
        for step in range(plan.shape[1]):
            values = self.answer(states, plan[:, step : step + 1]).values[:, 0]
            spread = (values[:, -1] - values[:, 1]) / (normal[1] - normal[0]).clamp(min=1e-6)
            noise = torch.randn(len(rows) // 2, generator=generator)
            out.append((values[:, 0] + spread * torch.cat((noise, -noise))).clamp(low, high))
            if step + 1 < plan.shape[1]:
                states = self.advance(states, plan[:, step], out[-1], traits)
        return rearrange(torch.stack(out, dim=1), "(draw row) horizon -> draw row horizon", draw=draws)

    def loss(
        self,
        answered: Answered,
        target: Float[Tensor, "row horizon"],
        weight: Float[Tensor, "row horizon"] | None = None,
    ) -> Float[Tensor, ""]:
        """Of mean and quantiles in units of the law's spread, so that what was never knowable does not rule.

        Args:
            target: NaN where unknown. One at a limit asks for an answer there or beyond, no more.
            weight: Of each target; alike where None.
        """
        around = self._around_law(answered, target)
        if weight is None:
            return self.decoder.loss(answered.raw, around)
        each = torch.vmap(self.decoder.loss)(answered.raw.flatten(0, 1)[:, None, None], around.flatten()[:, None, None])
        weight = torch.where(around.isfinite(), weight, 0.0).flatten()
        return (each * weight).sum() / weight.sum().clamp(min=1e-9)

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


def _shown(
    response: PersonalResponse, known: Known, given: Float[Tensor, "row treatment"], level: Float[Tensor, " row"]
) -> Known:
    """After one more step: the person's numbers by the rule of Kalman, as `watch` has them from all steps at once."""
    held = known.held * response.keep.float() + given[:, response.of].float()
    low, high = response.limits
    before, after = known.level, level.float()
    counts = (before > low) & (before < high) & (after > low) & (after < high)
    change = after - before
    if response.change == "relative":
        counts, change = counts & (before > 0), change / before.clamp(min=torch.finfo(torch.float32).tiny)
    row = response.rows(before, held).float()
    leans = torch.einsum("rij,rj->ri", known.doubt, row)
    share = torch.where(counts, 1 / ((leans * row).sum(-1) + response.noise.float()), 0.0)[:, None]
    mean = known.mean + leans * share * torch.where(counts, change - (row * known.mean).sum(-1), 0.0)[:, None]
    doubt = known.doubt - torch.einsum("ri,rj->rij", leans * share, leans)
    return Known(after, held, mean, doubt)


class _Reverse(torch.autograd.Function):
    """The identity, whose gradient goes back times `-strength` (Ganin and Lempitsky 2015)."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, hidden: Tensor, strength: float) -> Tensor:
        ctx.strength = strength  # type: ignore[attr-defined]
        return hidden.view_as(hidden)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *gradients: Tensor) -> tuple[Tensor, None]:
        return -ctx.strength * gradients[0], None  # type: ignore[attr-defined]
