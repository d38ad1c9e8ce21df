"""How one person's level answers to treatments: a linear law of change whose numbers are the person's own.

From step to step, with level y, treatments u and doses that fade at learned rates,

    held_k[t] = keep_k held_k[t-1] + u[t]                      one or more k for each treatment
    change[t] = a + b level_term(y[t]) + sum_k c_k held_k[t] + noise

where change is y[t+1] / y[t] - 1 and the term log y ("relative"), or y[t+1] - y[t] and the term y ("absolute"). A
person's (a, b, c) come from a normal around what people like them have; rates, mean, spread and noise of it are learned
from training people by their likelihood. What a person has shown so far then gives their own numbers in closed form at
every moment (Bayesian linear regression), with what is still in doubt: nothing is fitted anew for a new person, be it
after 0 events or 80.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from hdt_fm.layers.shared_law import SharedLaw, fit_shared_law, posterior
from hdt_fm.schema.errors import ConfigError, ShapeError
from hdt_fm.schema.outcome import Past

Change = Literal["relative", "absolute"]
Law = Literal["whole", "no level", "none"]
# More people than this tell no more of the common numbers.
ENOUGH_PEOPLE = 2_000
FIRST_LIFE, SHORTEST, LONGEST = 3.0, 0.05, 1_000.0
# All of these are tried together for up to so many doses; for more, the search begins where it is told.
COARSE, MOST_TOGETHER = (0.2, 1.0, 5.0, 25.0), 3
# In steps. Half-lives are searched by factors from e down to this power of it.
FIRST_STEP, LAST_STEP = 1.0, 0.03


@dataclass(frozen=True)
class Known:
    """What a person has shown up to a moment, before its treatments.

    Attributes:
        level: Newest known level.
        held: Of doses given before, as it counts at this moment.
        mean: Of the person's numbers: a, b, then one for each held dose.
        doubt: Their covariance.
    """

    level: Float[Tensor, "*rows"]
    held: Float[Tensor, "*rows dose"]
    mean: Float[Tensor, "*rows number"]
    doubt: Float[Tensor, "*rows number number_too"]

    def take(self, *place: Tensor) -> "Known":
        return Known(*(values[place] for values in vars(self).values()))


@dataclass(frozen=True)
class Rolled:
    """What the law says of a plan.

    Attributes:
        level: After each step, each from the one before.
        spread: Standard deviation of it, by what is in doubt of the person and by noise.
        held: Of doses, at each step.
    """

    level: Float[Tensor, "row horizon"]
    spread: Float[Tensor, "row horizon"]
    held: Float[Tensor, "row horizon dose"]


class PersonalResponse(nn.Module):
    """The law above. All it learns are buffers, set by `learn`; no gradient reaches them.

    Args:
        treatments: How many there are.
        traits: Numbers of a person that move the mean of theirs.
        change: "relative" for levels above 0 that grow by shares, "absolute" for others.
        half_lives: Where the search for each treatment's rates begins, in steps; several for one that comes and goes.
            Up to three are searched for everywhere.
        limits: Levels at or beyond these are only known to be there: no change is learned from them.
        law: "whole"; "no level" for changes that do not go with the level (b = 0); "none" learns nothing about anybody,
            and says that nothing changes, give or take.

    Raises:
        ConfigError: If there is not a half-life for each treatment, or `change` or `law` is not known.

    Numerics: sums and solutions in double precision, answers in single.
    """

    keep: Tensor
    prior: Tensor
    spread: Tensor
    noise: Tensor
    unit: Tensor
    term_center: Tensor
    term_scale: Tensor

    def __init__(
        self,
        *,
        treatments: int,
        traits: int = 0,
        change: Change = "relative",
        half_lives: Sequence[Sequence[float]] | None = None,
        limits: tuple[float, float] = (-math.inf, math.inf),
        law: Law = "whole",
    ) -> None:
        super().__init__()
        start = [(FIRST_LIFE,)] * treatments if half_lives is None else half_lives
        named = change in ("relative", "absolute") and law in ("whole", "no level", "none")
        if len(start) != treatments or not named or not all(len(some) for some in start):
            raise ConfigError(
                "The personal response cannot be built",
                where="layers/response",
                expected='half-lives for each treatment; "relative" or "absolute"; "whole", "no level" or "none"',
                got=f"{len(start)} for {treatments} treatments, change {change!r}, law {law!r}",
            )
        self.change, self.limits, self.law = change, limits, law
        self.of = [treatment for treatment, some in enumerate(start) for _ in some]
        numbers = 2 + len(self.of)
        lives = torch.tensor([life for some in start for life in some], dtype=torch.float64)
        self.register_buffer("keep", 0.5 ** (1 / lives))
        self.register_buffer("prior", torch.zeros(1 + traits, numbers, dtype=torch.float64))
        self.register_buffer("spread", torch.zeros(numbers, numbers, dtype=torch.float64))
        self.register_buffer("noise", torch.ones((), dtype=torch.float64))
        self.register_buffer("unit", torch.ones(numbers, dtype=torch.float64))
        self.register_buffer("term_center", torch.zeros((), dtype=torch.float64))
        self.register_buffer("term_scale", torch.ones((), dtype=torch.float64))

    @property
    def half_lives(self) -> Float[Tensor, " dose"]:
        """In steps."""
        return math.log(0.5) / self.keep.log()

    def term(self, level: Tensor) -> Tensor:
        """Of the level, standardised; a level that cannot be has that of one far below all."""
        if self.change == "relative":
            level = level.clamp(min=torch.finfo(level.dtype).tiny).log()
        return ((level - self.term_center) / self.term_scale).clamp(min=-10.0)

    def held(
        self, given: Float[Tensor, "person time treatment"], keep: Tensor | None = None
    ) -> Float[Tensor, "person time dose"]:
        """Of doses, with those of the step itself."""
        keep = self.keep if keep is None else keep
        doses = given[..., self.of].to(keep.dtype)
        out = [doses[:, 0]]
        for step in range(1, doses.shape[1]):
            out.append(out[-1] * keep + doses[:, step])
        return torch.stack(out, dim=1)

    def learn(self, past: Past) -> None:
        """Learn what people have in common, by the likelihood of what training people showed.

        Raises:
            ShapeError: If no change is known, doses are unknown, or a relative law meets levels below 0.
        """
        _check(past, self.change)
        people = len(past.level)
        past = past.take(torch.linspace(0, people - 1, min(people, ENOUGH_PEOPLE)).round().long())
        level = past.level.double()
        whole = level.isfinite() & (level > 0) if self.change == "relative" else level.isfinite()
        change, counts = self._changes(level)
        if not counts.any():
            raise ShapeError("Nothing is known to have changed", expected="two levels in a row, between the limits")
        terms = level[whole].log() if self.change == "relative" else level[whole]
        self.term_center, self.term_scale = terms.mean(), terms.std().clamp(min=1e-9)
        if self.law == "none":
            self.noise = change[counts].var()
            return
        self._search_rates(past, self._newest(level)[:, :-1], change, counts)

    def _search_rates(
        self,
        past: Past,
        level: Float[Tensor, "person step"],
        change: Float[Tensor, "person step"],
        counts: Bool[Tensor, "person step"],
    ) -> None:
        """From the likeliest of some starts each half-life in turn is made longer or shorter while that helps."""
        self.unit = torch.ones_like(self.unit)
        about, steps = self.about(past), counts.sum(1).double()

        def under(log_life: Tensor) -> tuple[SharedLaw, Tensor, Tensor]:
            keep = 0.5 ** (1 / log_life.exp())
            rows = self.rows(level, self.held(past.given, keep)[:, :-1]) * counts[..., None]
            unit = (rows.square().sum((0, 1)) / steps.sum()).sqrt().clamp(min=1e-9)
            return fit_shared_law(rows / unit, change, steps, about), keep, unit

        # Rates depend on each other: from a wrong one for one treatment, the right one for another looks worse.
        starts = [self.half_lives.log()]
        if len(self.of) <= MOST_TOGETHER:
            starts += [torch.tensor(some).double().log() for some in itertools.product(COARSE, repeat=len(self.of))]
        life, step = max(starts, key=lambda some: under(some)[0].likelihood), FIRST_STEP
        best = under(life)
        while step > LAST_STEP:
            better = False
            for place, way in itertools.product(range(len(life)), (step, -step)):
                other = life.clone()
                other[place] = (other[place] + way).clamp(math.log(SHORTEST), math.log(LONGEST))
                found = under(other)
                if found[0].likelihood > best[0].likelihood + 1e-3:
                    best, life, better = found, other, True
            step = step if better else step / 2
        law, self.keep, unit = best
        # Rows are divided by their size, so that numbers of a person are of one size.
        self.unit, self.prior, self.spread, self.noise = unit, law.prior, law.spread, law.noise

    def about(self, past: Past) -> Float[Tensor, "person trait"]:
        """A one and the traits."""
        return torch.cat([torch.ones(len(past.level), 1), past.traits], dim=1).double()

    def _changes(
        self, level: Float[Tensor, "person time"]
    ) -> tuple[Float[Tensor, "person step"], Bool[Tensor, "person step"]]:
        low, high = self.limits
        before, after = level[:, :-1], level[:, 1:]
        counts = (before > low) & (before < high) & (after > low) & (after < high)
        if self.change == "relative":
            counts = counts & (before > 0)
            return torch.where(counts, after / torch.where(counts, before, 1.0) - 1, 0.0), counts
        return torch.where(counts, after - before, 0.0), counts

    def _newest(self, level: Float[Tensor, "person time"]) -> Float[Tensor, "person time"]:
        """The last known level at each moment; before any is known, the middle one of training people."""
        place = torch.where(level.isfinite(), torch.arange(level.shape[1]), -1).cummax(1).values
        middle = self.term_center.exp() if self.change == "relative" else self.term_center
        return torch.where(place < 0, middle, level.gather(1, place.clamp(min=0)))

    def rows(self, level: Tensor, held: Tensor) -> Float[Tensor, "*rows number"]:
        """What the law multiplies a person's numbers with; each number has a size of about 1 in what it does."""
        term = self.term(level) if self.law == "whole" else torch.zeros_like(level)
        parts = (torch.ones_like(level)[..., None], term[..., None], held)
        return torch.cat(parts, dim=-1) / self.unit.to(held.dtype)

    @torch.no_grad()
    def watch(self, past: Past) -> Known:
        """What is known of each person at each moment (person, time), by what came before.

        Raises:
            ShapeError: If doses are unknown, or a relative law meets levels below 0.
        """
        _check(past, self.change)
        level, held = past.level.double(), self.held(past.given)
        change, counts = self._changes(level)
        newest = self._newest(level)
        rows = self.rows(newest[:, :-1], held[:, :-1]) * counts[..., None]
        seen = torch.einsum("pti,ptj->ptij", rows, rows).cumsum(1)
        told = (rows * change[..., None]).cumsum(1)
        seen = torch.cat([torch.zeros_like(seen[:, :1]), seen], dim=1)
        told = torch.cat([torch.zeros_like(told[:, :1]), told], dim=1)
        start = (self.about(past) @ self.prior)[:, None]
        mean, doubt = posterior(seen, told, start, self.spread, self.noise)
        before = torch.cat([torch.zeros_like(held[:, :1]), held[:, :-1]], dim=1)
        return Known(newest.float(), before.float(), mean.float(), doubt.float())

    def roll(self, known: Known, plan: Float[Tensor, "row horizon treatment"]) -> Rolled:
        """Play a plan, each step from the level that the law gave for the one before.

        Doubt of a person's numbers goes along to second order: where a dose that may kill half or nothing is given
        three times, the mean of what is left is more than what a mean dose leaves.
        """
        level, held = known.level, known.held
        keep, noise = self.keep.float(), self.noise.float()
        relative = self.change == "relative"
        slope = 1 / (self.term_scale * self.unit[1]).float() if self.law == "whole" else 0.0
        # By how much the level moves with the person's numbers, and what noise has added.
        moves, noisy = torch.zeros_like(known.mean), torch.zeros_like(level)
        out: list[tuple[Tensor, Tensor, Tensor]] = []
        for step in range(plan.shape[1]):
            held = held * keep + plan[:, step][:, self.of]
            rows = self.rows(level, held)
            base = level.clamp(min=0) if relative else torch.ones_like(level)
            by_level = rows.clone() if relative else torch.zeros_like(rows)
            by_level[:, 1] = by_level[:, 1] + slope
            # What is gone under a relative law neither grows nor shrinks.
            by_level = by_level * (base > 0)[:, None]
            goes_with = torch.einsum("rij,rj->ri", known.doubt, moves)
            grows = 1 + (by_level * known.mean).sum(-1)
            level = level + base * (rows * known.mean).sum(-1) + (by_level * goes_with).sum(-1)
            moves = moves * grows[:, None] + base[:, None] * rows
            noisy = noisy * grows.square() + base.square() * noise
            doubt = torch.einsum("ri,rij,rj->r", moves, known.doubt, moves).clamp(min=0)
            out.append((level, (doubt + noisy).sqrt(), held))
        return Rolled(*(torch.stack(values, dim=1) for values in zip(*out, strict=True)))


def _check(past: Past, change: Change) -> None:
    if not past.given.isfinite().all():
        raise ShapeError("A dose is unknown", expected="a number for each dose, 0 where none was given", got="NaN")
    if change == "relative" and bool((past.level < 0).any()):
        raise ShapeError("A level is below 0", expected="levels of 0 or more", fix='take change="absolute"')
