"""Numbers of people in any law that can be played: what they have in common, and each one's own after what they showed.

A person's numbers come from a normal whose mean goes with traits. Theirs after some readings are the likeliest ones
(Gauss-Newton on all readings at once, derivatives by differences, damped where a step does harm). A law plays a whole
life from its doses alone, so readings enter as what it is compared with, never as inputs; what is missed changes
slowly, so it is the change of it that is taken for noise.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

# (row, number), doses (treatment, step, row) -> level at each step (step, row).
Play = Callable[[np.ndarray, np.ndarray], np.ndarray]

DIFFERENCE, LONGEST_STEP = 1e-3, 1.0
DAMPING, LESS, MORE = 1e-2, 0.2, 8.0
DAY_STEPS = 288
# Of the common law: rounds, steps of the first and of each later round.
ROUNDS, FIRST_STEPS, STEPS, OWN_STEPS = 6, 6, 2, 8
# Before anything is known people differ by half a unit of a logarithm; the variance of none is ever below the floor.
FIRST_SD, FIRST_NOISE, LEAST_VARIANCE = 0.5, 60.0, 1e-3


@dataclass(frozen=True)
class Shown:
    """What people showed.

    Attributes:
        person: (life,) Row of a person.
        doses: (treatment, life, step)
        level: (life, step); NaN does not count.
    """

    person: Int[np.ndarray, " life"]
    doses: Float[np.ndarray, "treatment life step"]
    level: Float[np.ndarray, "life step"]


@dataclass(frozen=True)
class CommonNumbers:
    """What people have in common.

    Attributes:
        by_trait: Mean numbers, linear in traits; the first is a one.
        spread: Covariance around that.
        noise: Variance of what is missed, less what was missed a step before times `memory`.
        memory: As given.
        repeats: How many readings say as much as one would, since what a law gets wrong it gets wrong all day.
    """

    by_trait: Float[np.ndarray, "trait number"]
    spread: Float[np.ndarray, "number number_too"]
    noise: float
    memory: float
    repeats: float = 1.0


@dataclass(frozen=True)
class OwnNumbers:
    """A person's numbers and what is still in doubt of them."""

    mean: Float[np.ndarray, "person number"]
    doubt: Float[np.ndarray, "person number number_too"]

    def take(self, rows: np.ndarray) -> "OwnNumbers":
        """Of these people, in this order; somebody may stand there twice."""
        return OwnNumbers(self.mean[rows], self.doubt[rows])

    def draw(self, generator: np.random.Generator) -> Float[np.ndarray, "person number"]:
        """One draw for each person."""
        root = np.linalg.cholesky(self.doubt)
        out: np.ndarray = self.mean + np.einsum("pij,pj->pi", root, generator.normal(size=self.mean.shape))
        return out


def common_numbers(
    play: Play,
    seen: Shown,
    traits: Float[np.ndarray, "person trait"],
    start: Float[np.ndarray, " number"],
    *,
    memory: float,
) -> tuple[CommonNumbers, OwnNumbers]:
    """Learn from people, in turn their numbers and what these have in common.

    Doubt of their numbers and their weight in `own_numbers` follow the spread of slopes between days (a sandwich).

    Args:
        traits: The first column is ones; others are drawn to no influence by a ridge of 1, so give them near unit size.
        start: Where all begin.
        memory: Of what is missed, from a step to the next.
    """
    size = len(start)
    mean = np.tile(start, (len(traits), 1))
    spread, noise, own = FIRST_SD**2 * np.eye(size), FIRST_NOISE, mean.copy()
    ridge = np.diag([0.0] + [1.0] * (traits.shape[1] - 1))
    for number in range(ROUNDS):
        common = CommonNumbers(np.zeros((traits.shape[1], size)), spread, noise, memory)
        fitted, squares, count = _likeliest(play, seen, mean, own, common, STEPS if number else FIRST_STEPS)
        own = fitted.mean
        by_trait = np.linalg.solve(traits.T @ traits + ridge, traits.T @ own)
        mean = traits @ by_trait
        off = own - mean
        spread = (off.T @ off + fitted.doubt.sum(0) + 2 * LEAST_VARIANCE * np.eye(size)) / (len(off) + 2)
        noise = float(squares.sum() / count.sum())
    repeats = _repeats(play, seen, fitted, memory, noise)
    return CommonNumbers(by_trait, spread, noise, memory, repeats), fitted


def own_numbers(
    play: Play, common: CommonNumbers, seen: Shown, traits: Float[np.ndarray, "person trait"]
) -> OwnNumbers:
    """Each person's numbers after what they showed; those of people like them where that is nothing."""
    mean = traits @ common.by_trait
    if not np.isfinite(seen.level).any():
        return OwnNumbers(mean, np.repeat(common.spread[None], len(mean), axis=0))
    fewer = replace(common, noise=common.noise * common.repeats)
    return _likeliest(play, seen, mean, mean, fewer, OWN_STEPS)[0]


def _repeats(play: Play, seen: Shown, own: OwnNumbers, memory: float, noise: float) -> float:
    """Spread of slopes between days over what it were if all readings told anew; mean over people and numbers."""
    by, fresh = _derivatives(play, seen, own.mean, memory)
    lives, size, steps = by.shape
    days = -(-steps // DAY_STEPS)
    late = days * DAY_STEPS - steps
    each = np.pad(by * fresh[:, None], ((0, 0), (0, 0), (0, late))).reshape(lives, size, days, DAY_STEPS).sum(3)
    spread = np.zeros_like(own.doubt)
    np.add.at(spread, seen.person, each @ each.transpose(0, 2, 1))
    # Were all readings told anew, the slopes of days (in units of the noise) would spread as the curvature is.
    share = np.einsum("pij,pji->p", own.doubt, spread) / noise**2 / size
    return max(float(share.mean()), 1.0)


def _likeliest(
    play: Play, seen: Shown, mean: np.ndarray, start: np.ndarray, common: CommonNumbers, steps: int
) -> tuple[OwnNumbers, np.ndarray, np.ndarray]:
    """Numbers, doubt; sum of squares and count of each person."""
    prior = np.linalg.inv(common.spread)
    diagonal = np.eye(len(prior))

    def cost(squares: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        off = numbers - mean
        out: np.ndarray = squares / common.noise + np.einsum("pi,ij,pj->p", off, prior, off)
        return out

    own, damping = start, np.full(len(start), DAMPING)
    curve, slope, squares, count = _normal_equations(play, seen, own, common.memory)
    best = cost(squares, own)
    for _ in range(steps):
        bend = curve / common.noise + prior
        pull = slope / common.noise - (own - mean) @ prior
        damped = bend + damping[:, None, None] * bend * diagonal
        move = np.linalg.solve(damped, pull[..., None])[..., 0].clip(-LONGEST_STEP, LONGEST_STEP)
        tried = _normal_equations(play, seen, own + move, common.memory)
        found = cost(tried[2], own + move)
        better = found < best
        curve = np.where(better[:, None, None], tried[0], curve)
        own = np.where(better[:, None], own + move, own)
        slope = np.where(better[:, None], tried[1], slope)
        squares, best = np.where(better, tried[2], squares), np.where(better, found, best)
        damping = np.where(better, damping * LESS, damping * MORE)
    return OwnNumbers(own, np.linalg.inv(curve / common.noise + prior)), squares, count


def _normal_equations(
    play: Play, seen: Shown, own: np.ndarray, memory: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Of each person: curvature, slope, sum of squares, count."""
    people, size = own.shape
    by, fresh = _derivatives(play, seen, own, memory)
    curve, slope = np.zeros((people, size, size)), np.zeros((people, size))
    squares, count = np.zeros(people), np.zeros(people)
    np.add.at(curve, seen.person, by @ by.transpose(0, 2, 1))
    np.add.at(slope, seen.person, (by @ fresh[..., None])[..., 0])
    np.add.at(squares, seen.person, np.square(fresh).sum(1))
    np.add.at(count, seen.person, (fresh != 0).sum(1))
    return curve, slope, squares, count


def _derivatives(
    play: Play, seen: Shown, own: np.ndarray, memory: float
) -> tuple[Float[np.ndarray, "life number step"], Float[np.ndarray, "life step"]]:
    """By each number, and what is missed anew; 0 where a step does not count."""
    size, lives = own.shape[1], len(seen.person)
    shifted = own[seen.person] + DIFFERENCE * np.eye(size + 1, size, k=-1)[:, None]
    doses = np.tile(seen.doses.transpose(0, 2, 1), (1, 1, size + 1))
    level = play(shifted.reshape(-1, size), doses).T.reshape(size + 1, lives, -1)
    missed = seen.level - level[0]
    fresh = missed[:, 1:] - memory * missed[:, :-1]
    counts = np.isfinite(fresh)
    by = (level[1:] - level[0]) / DIFFERENCE
    by = (by[..., 1:] - memory * by[..., :-1]) * counts
    return by.transpose(1, 0, 2), np.where(counts, fresh, 0.0)
