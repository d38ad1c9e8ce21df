"""How far apart cells of people are, with an interval, and beside what chance alone does to cells so small.

Of few people some cell is always worst. So a gap stands beside those of the same people dealt to cells of the same
sizes at random: that is what a reader has to compare it with.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from hdt_fm.audit.fairness.cells import Column
from hdt_fm.audit.fairness.measures import Measure
from hdt_fm.evaluation.people import interval

# Of draws or deals that must be scored for something to be said.
LEAST_SHARE = 0.5


@dataclass(frozen=True)
class Deals:
    """How often each person counts in each cell of one column: as it is, drawn again, dealt at random.

    Attributes:
        own: As it is.
        drawn: People of each cell drawn with replacement, as many as it has.
        dealt: Everyone shown dealt to cells of the same sizes.
    """

    own: Float[np.ndarray, "cell person"]
    drawn: Float[np.ndarray, "draw cell person"]
    dealt: Float[np.ndarray, "deal cell person"]


@dataclass(frozen=True)
class Apart:
    """What one measure says of one model in the cells of one column.

    Attributes:
        drawn: Scores of each cell; the first is of the sample itself, the others of its draws.
        sizes: People of each cell who have anything to count.
        enough: False where they are fewer than may be shown.
        top, bottom: Cells with the largest and the smallest value; the gap is theirs in every draw, so that an
            interval can hold zero.
        dealt: Gaps of people dealt at random, largest less smallest.
        shown: Scores of everyone in cells that are enough, in the sample and its draws.
    """

    drawn: Float[np.ndarray, "draws cell"]
    sizes: Int[np.ndarray, " cell"]
    enough: Bool[np.ndarray, " cell"]
    top: int
    bottom: int
    dealt: Float[np.ndarray, " deal"]
    shown: Float[np.ndarray, " draws"]

    @property
    def gaps(self) -> Float[np.ndarray, " draws"]:
        """The gap in the sample, then in each draw."""
        return self.drawn[:, self.top] - self.drawn[:, self.bottom]

    @property
    def chance(self) -> tuple[float, float] | None:
        """Mean gap of people dealt at random, and the one that a twentieth of the deals exceeds."""
        known = self.dealt[np.isfinite(self.dealt)]
        if len(known) < LEAST_SHARE * len(self.dealt) or not len(known):
            return None
        return float(known.mean()), float(np.quantile(known, 0.95))

    @property
    def p(self) -> float | None:
        """Share of deals with a gap as large as this; never zero, since this is one of them."""
        if self.chance is None:
            return None
        known = self.dealt[np.isfinite(self.dealt)]
        # Room for sums that differ in their last bits.
        as_large = (known >= self.gaps[0] - 1e-12).sum()
        return float((1 + as_large) / (1 + len(known)))


def deals_of(column: Column, *, draws: int, permutations: int, seed: int) -> Deals:
    """Draws and deals of one column; the same for every model, so that differences are of the same people."""
    own = column.members.astype(np.float64)
    generator = np.random.default_rng(seed)
    drawn = np.stack(
        [generator.multinomial(int(cell.sum()), cell / cell.sum(), size=draws) for cell in own], axis=1
    ).astype(np.float64)
    shown = np.flatnonzero(column.cell >= 0)
    dealt = np.zeros((permutations, *own.shape))
    for deal in dealt:
        deal[:, shown] = own[:, generator.permutation(shown)]
    return Deals(own, drawn, dealt)


def apart(measure: Measure, scores: Float[np.ndarray, "row output"], deals: Deals, *, min_people: int) -> Apart | None:
    """Score one model in each cell; None where fewer than two cells can be scored.

    Args:
        scores: Of every scored window.
        min_people: People whom a cell's value must rest on.
    """
    score = measure.score(scores)
    drawn = np.concatenate([deals.own[None], deals.drawn])
    values = score.over(drawn.reshape(-1, drawn.shape[2])).reshape(drawn.shape[:2])
    sizes = (deals.own * measure.rests_on).sum(axis=1).astype(np.int64)
    enough = (sizes >= min_people) & np.isfinite(values[0])
    if enough.sum() < 2:
        return None
    there = np.flatnonzero(enough)
    dealt = score.over(deals.dealt.reshape(-1, drawn.shape[2])).reshape(deals.dealt.shape[:2])[:, there]
    spread = dealt.max(axis=1) - dealt.min(axis=1)
    return Apart(
        drawn=values,
        sizes=sizes,
        enough=enough,
        top=int(there[values[0, there].argmax()]),
        bottom=int(there[values[0, there].argmin()]),
        dealt=spread,
        shown=score.over(drawn[:, enough].sum(axis=1)),
    )


def bounds(values: Float[np.ndarray, " draws"]) -> tuple[float | None, float | None]:
    """95 % interval of draws after the first."""
    return interval(values)


def holm(ps: list[float]) -> list[float]:
    """Each p as one of so many that were asked (Holm 1979)."""
    order = np.argsort(ps, kind="stable")
    found, most = [0.0] * len(ps), 0.0
    for place, number in enumerate(order):
        most = max(most, min(1.0, ps[number] * (len(ps) - place)))
        found[int(number)] = most
    return found
