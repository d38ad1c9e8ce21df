"""Intervals that hold what they promise: by people apart (split), and for each person as readings come in (online)."""

import numpy as np
from jaxtyping import Float, Int

from hdt_fm.evaluation.backtest.moments import Moments

# How fast a person's interval adapts, in units of the scores' own spread (Angelopoulos et al. 2023, quantile tracking).
RATE = 0.05


def scores_of(
    low: Float[np.ndarray, " origin"], high: Float[np.ndarray, " origin"], truth: Float[np.ndarray, " origin"]
) -> Float[np.ndarray, " origin"]:
    """How far the truth lies outside (positive) or inside of an interval (Romano et al. 2019)."""
    return np.maximum(low - truth, truth - high)


def split_shift(
    low: Float[np.ndarray, " origin"],
    high: Float[np.ndarray, " origin"],
    truth: Float[np.ndarray, " origin"],
    person: Int[np.ndarray, " origin"],
    coverage: float,
) -> float:
    """By how much both ends move so that calibration people are covered; each person weighs the same."""
    known = np.isfinite(truth)
    if not known.any():
        return 0.0
    score, who = scores_of(low, high, truth)[known], person[known]
    _, code, size = np.unique(who, return_inverse=True, return_counts=True)
    order = np.argsort(score)
    share = np.cumsum((1.0 / size[code])[order]) / len(size)
    return float(score[order][min(np.searchsorted(share, coverage), len(score) - 1)])


def online_shift(
    moments: Moments,
    rows: Int[np.ndarray, " row"],
    column: int,
    low: Float[np.ndarray, " row"],
    high: Float[np.ndarray, " row"],
    *,
    start: float,
    spread: float,
    coverage: float,
) -> Float[np.ndarray, " row"]:
    """For each origin of each person in time, by how much both ends move, learned from what has come true by then.

    An origin's truth is known a horizon later: only then does it move what follows. A miss widens by
    `RATE * coverage * spread`, a hit narrows by `RATE * (1 - coverage) * spread`: in the long run the share is right,
    whatever the person.

    Args:
        start: The shift that a new person begins with (`split_shift`).
        spread: Of the scores of calibration people, the unit of a step.
    """
    out = np.full(len(rows), start)
    step = RATE * max(spread, 1e-9)
    for subject in np.unique(moments.subject[rows]):
        own = np.flatnonzero(moments.subject[rows] == subject)
        own = own[np.argsort(moments.time_s[rows[own]], kind="stable")]
        now = moments.time_s[rows[own]]
        truth = moments.target[rows[own], column]
        score = scores_of(low[own], high[own], truth)
        known_at = now + moments.horizons_s[column]
        shift, told = start, 0
        for place in range(len(own)):
            while told < place and known_at[told] <= now[place]:
                if np.isfinite(truth[told]):
                    missed = score[told] > out[own[told]]
                    shift += step * (coverage if missed else coverage - 1)
                told += 1
            out[own[place]] = shift
    return out
