"""Linear laws with numbers of each person's own: what people have in common, and what one of them has shown.

change = row . numbers + noise, where a person's numbers come from a normal whose mean goes with their traits.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

ROUNDS = 30


@dataclass(frozen=True)
class SharedLaw:
    """What people have in common.

    Attributes:
        prior: Mean numbers, linear in traits.
        spread: Covariance of people's numbers around that.
        noise: Variance of a change.
        likelihood: Natural log, of all that was seen, up to a constant.
    """

    prior: Float[Tensor, "trait number"]
    spread: Float[Tensor, "number number_too"]
    noise: Float[Tensor, ""]
    likelihood: float


def fit_shared_law(
    rows: Float[Tensor, "person step number"],
    change: Float[Tensor, "person step"],
    count: Float[Tensor, " person"],
    traits: Float[Tensor, "person trait"],
) -> SharedLaw:
    """The law that makes what was seen likely, by expectation and maximisation in closed form.

    Args:
        rows: 0 where a step does not count.
        change: As `rows`.
        count: Steps that count.
    """
    seen, told = torch.einsum("pti,ptj->pij", rows, rows), torch.einsum("pti,pt->pi", rows, change)
    squares = change.square().sum(1)
    noise = squares.sum() / count.sum()
    spread = noise * torch.eye(rows.shape[2], dtype=rows.dtype)
    prior = torch.zeros(traits.shape[1], rows.shape[2], dtype=rows.dtype)
    for _ in range(ROUNDS):
        mean, doubt = posterior(seen, told, traits @ prior, spread, noise)
        prior = torch.linalg.lstsq(traits, mean, driver="gelsd").solution
        off = mean - traits @ prior
        spread = (off.mT @ off + doubt.sum(0)) / len(off)
        left = squares - 2 * (mean * told).sum(1) + torch.einsum("pi,pij,pj->p", mean, seen, mean)
        noise = (left + (doubt * seen).sum((1, 2))).sum() / count.sum()
    start = traits @ prior
    left = told - torch.einsum("pij,pj->pi", seen, start)
    _, doubt = posterior(seen, told, start, spread, noise)
    missed = squares - (start * (told + left)).sum(1)
    explained = torch.einsum("pi,pij,pj->p", left, doubt, left) / noise
    size = torch.linalg.slogdet(torch.eye(len(spread), dtype=rows.dtype) + seen @ spread / noise)[1]
    likelihood = -0.5 * ((missed - explained) / noise + size + count * noise.log()).sum()
    return SharedLaw(prior, spread, noise, float(likelihood))


def posterior(
    seen: Float[Tensor, "*rows number number_too"],
    told: Float[Tensor, "*rows number"],
    start: Float[Tensor, "*rows_or_one number"],
    spread: Float[Tensor, "number number_too"],
    noise: Float[Tensor, ""],
) -> tuple[Float[Tensor, "*rows number"], Float[Tensor, "*rows number number_too"]]:
    """Mean and covariance of a person's numbers after what was seen; a spread of 0 stays at the start.

    Args:
        seen: Sum of outer products of rows.
        told: Sum of rows times changes.
        start: Mean before anything was seen.
    """
    one = torch.eye(len(spread), dtype=spread.dtype)
    doubt = torch.linalg.solve(one + spread @ seen / noise, spread.expand_as(seen))
    doubt = (doubt + doubt.mT) / 2
    left = told - torch.einsum("...ij,...j->...i", seen, start.expand_as(told))
    return start + torch.einsum("...ij,...j->...i", doubt, left) / noise, doubt
