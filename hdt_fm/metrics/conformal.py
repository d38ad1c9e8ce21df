"""Intervals that hold what they promise: by people apart (split), and for one person as readings come in (online)."""

import numpy as np
from jaxtyping import Float, Int

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
    time_s: Float[np.ndarray, " origin"],
    low: Float[np.ndarray, " origin"],
    high: Float[np.ndarray, " origin"],
    truth: Float[np.ndarray, " origin"],
    *,
    horizon_s: float,
    start: float,
    spread: float,
    coverage: float,
) -> Float[np.ndarray, " origin"]:
    """For each origin of one person, by how much both ends move, learned from what has come true by then.

    An origin's truth is known a horizon later: only then does it move what follows. A miss widens by
    `RATE * coverage * spread`, a hit narrows by `RATE * (1 - coverage) * spread`: in the long run the share is right,
    whatever the person.

    Args:
        time_s: Rising.
        truth: NaN where nothing was measured: it teaches nothing.
        start: The shift that a new person begins with (`split_shift`).
        spread: Of the scores of calibration people, the unit of a step.
    """
    out = np.full(len(time_s), start)
    step, score = RATE * max(spread, 1e-9), scores_of(low, high, truth)
    shift, told = start, 0
    for place, now in enumerate(time_s):
        while told < place and time_s[told] + horizon_s <= now:
            if np.isfinite(truth[told]):
                shift += step * (coverage if score[told] > out[told] else coverage - 1)
            told += 1
        out[place] = shift
    return out
