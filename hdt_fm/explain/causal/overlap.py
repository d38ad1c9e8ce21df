"""Whether like is compared with like: the chance of being treated, what weights leave of the rows, and balance."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from hdt_fm.explain.causal.design import LEAST_IN_ARM, Design
from hdt_fm.explain.causal.effect import Estimate
from hdt_fm.explain.causal.observed import Observed, mean_by_person

Verdict = Literal["inside", "thin", "none"]
# Chances between which a row has others to be compared with.
COMMON = (0.05, 0.95)
# Share of rows past these, effective share of an arm's rows, and difference in SDs left by weights: thin past the first
# of each, none past the second.
OUTSIDE, KEPT, UNEVEN = (0.05, 0.5), (0.25, 0.05), (0.25, np.inf)
# Of a continuous treatment's variance, what is left when the rest is held fixed.
LEFT = (0.1, 0.01)
BINS = 20
# Intervals are so many times as wide on thin support, where 91 of 100 held the truth (see the README).
WIDEN_THIN = 1.3


@dataclass(frozen=True)
class Balance:
    """A covariate in both arms: difference of means in SDs (for a continuous treatment, the correlation with it)."""

    name: str
    before: float
    after: float


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """How far like is compared with like.

    Attributes:
        verdict: "inside" counts, "thin" counts little, "none": no effect is told.
        reasons: What made it less than inside.
        outside: Share of rows whose chance lies past `COMMON`; NaN for a continuous treatment.
        left: Share of the treatment's variance that what is held fixed does not explain.
        effective: Effective rows (Kish) of the treated and the others; of all rows for a continuous treatment.
        arms: Rows of the same.
        edges: Of the bins: chance of being treated, or for a continuous treatment its value in SDs.
        counts: Rows a bin: treated above, others below; or the treatment as it is, and what is left of it. -1 where
            fewer people than a cell may hold stand behind the number.
    """

    verdict: Verdict
    reasons: tuple[str, ...]
    outside: float
    left: float
    effective: tuple[float, ...]
    arms: tuple[int, ...]
    balance: tuple[Balance, ...]
    edges: Float[np.ndarray, " edge"]
    counts: Int[np.ndarray, "side bin"]

    @property
    def widen(self) -> float:
        """Factor of an effect's interval."""
        return WIDEN_THIN if self.verdict == "thin" else 1.0


def overlap_of(some: Observed, design: Design, found: Estimate) -> Overlap:
    """Of the rows that an estimate was made of."""
    return _of_binary(some, design, found) if design.binary else _of_continuous(some, design, found)


def effective_rows(weight: Float[np.ndarray, " row"]) -> float:
    """How many rows of equal weight would tell as much (Kish)."""
    return float(weight.sum() ** 2 / np.square(weight).sum())


def _of_binary(some: Observed, design: Design, found: Estimate) -> Overlap:
    chance, treated = found.expected, some.treatment == 1
    weight = np.where(treated, 1 / chance, 1 / (1 - chance))
    arms = (int(treated.sum()), int((~treated).sum()))
    effective = tuple(effective_rows(weight[arm]) for arm in (treated, ~treated))
    outside = float(((chance < COMMON[0]) | (chance > COMMON[1])).mean())
    ones = np.ones(len(weight))
    balance = tuple(
        Balance(name, _apart(values, treated, ones), _apart(values, treated, weight))
        for name, values in _held(some, design)
    )
    kept = min(few / all_ for few, all_ in zip(effective, arms, strict=True))
    worst = max((abs(one.after) for one in balance), default=0.0)
    left = float(np.var(treated - chance) / np.var(treated))
    edges = np.linspace(0, 1, BINS + 1)
    counts = np.stack([_counts(chance[arm], some.person[arm], edges) for arm in (treated, ~treated)])
    reasons, verdict = _judged(
        (outside > OUTSIDE[0], outside > OUTSIDE[1], "many rows that nearly all, or nearly none, are treated in"),
        (kept < KEPT[0], kept < KEPT[1], "few rows carry most of the weight"),
        (worst > UNEVEN[0], worst > UNEVEN[1], "arms that weights leave unlike"),
    )
    return Overlap(
        verdict=verdict,
        reasons=reasons,
        outside=outside,
        left=left,
        effective=effective,
        arms=arms,
        balance=balance,
        edges=edges,
        counts=counts,
    )


def _of_continuous(some: Observed, design: Design, found: Estimate) -> Overlap:
    left = design.treatment - found.expected
    share = float(min(np.square(left).mean() / design.treatment_sd**2, 1.0))
    balance = tuple(
        Balance(name, _together(values, design.treatment), _together(values, left))
        for name, values in _held(some, design)
    )
    worst = max((abs(one.after) for one in balance), default=0.0)
    kept = effective_rows(np.square(left)) / len(left)
    edges = np.linspace(-4, 4, BINS + 1)
    sides = [(one / design.treatment_sd).clip(-4, 4) for one in (design.treatment - design.treatment.mean(), left)]
    reasons, verdict = _judged(
        (share < LEFT[0], share < LEFT[1], "a treatment that what is held fixed nearly tells"),
        (kept < KEPT[0], kept < KEPT[1], "few rows carry most of the weight"),
        (worst > UNEVEN[0], worst > UNEVEN[1], "a treatment that still goes with what is held fixed"),
    )
    return Overlap(
        verdict=verdict,
        reasons=reasons,
        outside=float("nan"),
        left=share,
        effective=(kept * len(left),),
        arms=(len(left),),
        balance=balance,
        edges=edges,
        counts=np.stack([_counts(one, some.person, edges) for one in sides]),
    )


def _judged(*marks: tuple[bool, bool, str]) -> tuple[tuple[str, ...], Verdict]:
    reasons = tuple(words for thin, _, words in marks if thin)
    verdict: Verdict = "none" if any(none for _, none, _ in marks) else "thin" if reasons else "inside"
    return reasons, verdict


def _held(some: Observed, design: Design) -> list[tuple[str, np.ndarray]]:
    """What is held fixed as it is compared: within people less the person's mean."""
    columns = list(zip(some.names, some.covariates.T, strict=True))
    if not design.within:
        return columns
    return [(name, one - mean_by_person(one, some.person, some.people)[some.person]) for name, one in columns]


def _apart(values: np.ndarray, treated: np.ndarray, weight: np.ndarray) -> float:
    """Difference of weighted means, in SDs of the arms as they are (Austin 2009)."""
    means = [np.average(values[arm], weights=weight[arm]) for arm in (treated, ~treated)]
    spread = np.sqrt((values[treated].var() + values[~treated].var()) / 2)
    return float((means[0] - means[1]) / spread) if spread > 0 else 0.0


def _together(values: np.ndarray, other: np.ndarray) -> float:
    off, beside = values - values.mean(), other - other.mean()
    size = np.sqrt((off @ off) * (beside @ beside))
    return float(off @ beside / size) if size > 0 else 0.0


def _counts(values: np.ndarray, person: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Rows a bin; -1 where some, but fewer people than a cell may hold, are behind them.

    A lone hidden bin could be told from the sum of all, so the smallest other one is hidden with it.
    """
    place = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
    counts = np.bincount(place, minlength=len(edges) - 1)
    people = np.array([len(np.unique(person[place == at])) for at in range(len(edges) - 1)])
    hidden = (people > 0) & (people < LEAST_IN_ARM)
    if hidden.sum() == 1 and (shown := np.flatnonzero((counts > 0) & ~hidden)).size:
        hidden[shown[np.argmin(counts[shown])]] = True
    return np.where(hidden, -1, counts)
