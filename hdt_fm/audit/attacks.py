"""Membership inference about people: from losses of a target and of reference models to a score of each person.

Tables are (model, person): `losses` of each person's windows, `member` True where the model learned from the person.
Larger scores say "member". The target's own memberships are never read.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from hdt_fm.schema.errors import ConfigError

Losses = Float[np.ndarray, "model person"]
Member = Bool[np.ndarray, "model person"]
OfPerson = Float[np.ndarray, " person"]


@dataclass(frozen=True)
class Sides:
    """Means of each person's loss over references with (`inside`) and without them, and the spread about these."""

    inside: OfPerson
    outside: OfPerson
    spread_inside: float
    spread_outside: float


def standardised(losses: Losses, cohort: Int[np.ndarray, " person"]) -> Losses:
    """Losses of each model less its mean over a cohort's people, in units of their spread.

    Models differ in level (some trained longer), cohorts in how hard they are; neither tells who was a member. The
    order of a model's people within a cohort stays.
    """
    scaled = np.full(losses.shape, np.nan)
    for one in np.unique(cohort):
        own = losses[:, cohort == one]
        spread = own.std(axis=1, keepdims=True)
        scaled[:, cohort == one] = (own - own.mean(axis=1, keepdims=True)) / np.where(spread > 0, spread, 1.0)
    return scaled


def threshold(losses: OfPerson) -> OfPerson:
    """Yeom et al. 2018: whose loss is small was a member. Needs no reference."""
    return -losses


def lira(losses: OfPerson, references: Losses, member: Member) -> OfPerson:
    """Likelihood ratio of the loss as a member's against a non-member's (Carlini et al. 2022, "LiRA", few references).

    Both are Gaussian with a mean of the person's own and one spread for all people, the paper's choice where
    references are few. In the paper the losses are scaled logits of a class; a mean over windows is near to Gaussian
    as it is.

    Raises:
        ConfigError: As `sides_of`.
    """
    sides = sides_of(references, member)
    inside = ((losses - sides.inside) / sides.spread_inside) ** 2 / 2 + np.log(sides.spread_inside)
    outside = ((losses - sides.outside) / sides.spread_outside) ** 2 / 2 + np.log(sides.spread_outside)
    return outside - inside


def rmia(losses: OfPerson, references: Losses, member: Member, *, gamma: float = 1.0) -> OfPerson:
    """Share of other people whom the person dominates (Zarifzadeh et al. 2024, "RMIA").

    How likely the target makes the person's windows, exp(-loss), over how likely models do on average (with and
    without the person in equal parts); the same of another person; the person dominates where the first ratio is
    `gamma` times the second or more. Everyone else is the population. Equal shares are told apart by the person's own
    ratio, which the paper's scores over thousands need not do.

    Raises:
        ConfigError: As `sides_of`.
    """
    sides = sides_of(references, member)
    usual = np.logaddexp(-sides.inside, -sides.outside) - np.log(2.0)
    ratio = -losses - usual
    dominated = (ratio[:, None] - ratio[None, :] >= np.log(gamma)) & ~np.eye(len(ratio), dtype=bool)
    share = dominated.sum(axis=1) / max(len(ratio) - 1, 1)
    order = np.argsort(np.argsort(ratio, kind="stable"), kind="stable")
    return share + order / (2.0 * len(ratio) ** 2)


def sides_of(references: Losses, member: Member) -> Sides:
    """Means with and without each person. Where no reference has a person on one side, that mean is the other side's
    moved by the usual difference: of people who have both, or else between people.

    Raises:
        ConfigError: If no reference learned from anyone, or each from everyone.
    """
    if not len(references) or not member.any() or member.all():
        raise ConfigError(
            "References cannot say what membership does",
            where="audit.references",
            expected="models that each learned from some of the people",
            got=f"{len(references)} models",
            fix="audit.references=8, or audit.attacks=[threshold], which needs none",
        )
    inside, outside = _mean_where(references, member), _mean_where(references, ~member)
    both = np.isfinite(inside) & np.isfinite(outside)
    usual = (outside - inside)[both].mean() if both.any() else np.nanmean(outside) - np.nanmean(inside)
    inside = np.where(np.isfinite(inside), inside, outside - usual)
    outside = np.where(np.isfinite(outside), outside, inside + usual)
    return Sides(inside, outside, _spread(references - inside, member), _spread(references - outside, ~member))


def _mean_where(values: Losses, here: Member) -> OfPerson:
    count = here.sum(axis=0)
    return np.where(count > 0, np.where(here, values, 0.0).sum(axis=0) / np.maximum(count, 1), np.nan)


def _spread(away: Losses, here: Member) -> float:
    """Standard deviation about each person's mean, over all people; over everyone's losses where nobody has two."""
    free = int(np.maximum(here.sum(axis=0) - 1, 0).sum())
    total = float((np.where(here, away, 0.0) ** 2).sum())
    return max(float(np.sqrt(total / free)) if free and total > 0 else float(away.std()), 1e-9)
