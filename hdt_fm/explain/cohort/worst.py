"""Worst cases: windows where methods disagree most, and where the output misses its label most; never by person."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from hdt_fm.explain.cohort.prototypes import shown_people
from hdt_fm.explain.cohort.shares import over_windows
from hdt_fm.explain.explanation import Explanation
from hdt_fm.explain.gate.agreement import segment_sizes
from hdt_fm.explain.methods import METHODS

Array = NDArray[np.float64]
SHARE = 0.1


@dataclass(frozen=True)
class Worst:
    """The worst tenth of the windows beside the others; means are over people.

    Attributes:
        kind: What is bad about them.
        score, other_score: Mean of what they were chosen by: rank correlation of methods, or error.
        shares, other_shares: (column,) mean shares; NaN for a column that nobody of them holds.
        output, other_output: Mean output.
    """

    kind: str
    windows: int
    people: int
    score: float
    other_windows: int
    other_people: int
    other_score: float
    shares: Array
    other_shares: Array
    output: float
    other_output: float


def worst(
    kind: str,
    badness: Array,
    score: Array,
    shares: Array,
    output: Array,
    person: NDArray[np.integer],
) -> Worst | None:
    """The worst tenth by a number, or as many more as it takes to tell of enough people; None if that leaves too few.

    Args:
        badness: (window,) larger is worse; NaN for windows that are not judged.
        score: (window,) what is told of them.
        shares: (window, column); NaN where not held.
    """
    judged = np.flatnonzero(np.isfinite(badness))
    order = judged[np.argsort(-badness[judged], kind="stable")]
    held = np.isfinite(shares)
    for count in range(max(1, int(np.ceil(SHARE * len(order)))), len(order)):
        bad, rest = order[:count], order[count:]
        if shown_people(held[bad], person[bad]) and shown_people(held[rest], person[rest]):
            break
    else:
        return None

    def told(rows: NDArray[np.int64]) -> tuple[float, Array, float]:
        columns = np.column_stack([score[rows], output[rows], shares[rows]])
        by_person = over_windows(columns, person[rows])
        known = np.isfinite(by_person)
        mean = np.where(known, by_person, 0.0).sum(0) / np.maximum(known.sum(0), 1)
        mean = np.where(known.any(0), mean, np.nan)
        return float(mean[0]), mean[2:], float(mean[1])

    one, other = told(bad), told(rest)
    return Worst(
        kind=kind,
        windows=len(bad),
        people=len(np.unique(person[bad])),
        score=one[0],
        other_windows=len(rest),
        other_people=len(np.unique(person[rest])),
        other_score=other[0],
        shares=one[1],
        other_shares=other[1],
        output=one[2],
        other_output=other[2],
    )


def agreement_by_window(explanation: Explanation, methods: Sequence[str] | None = None) -> Array:
    """(window,) mean rank correlation over pairs of methods by segment, as the gate's test; NaN for fewer than two.

    Methods whose map is not about the output are left out.
    """
    names = [one.method for one in explanation.maps if METHODS[one.method].of_output]
    names = [name for name in names if methods is None or name in methods]
    out = np.full(len(explanation), np.nan)
    if len(names) < 2:
        return out
    sizes = [segment_sizes(explanation, name) for name in names]
    upper = np.triu_indices(len(names), 1)
    for row in range(len(explanation)):
        ranks = np.stack([rankdata(one[row]) for one in sizes])
        ranks -= ranks.mean(1, keepdims=True)
        length = np.sqrt((ranks**2).sum(1))
        # A map without any order agrees with nothing, which counts as 0.
        unit = np.divide(ranks, length[:, None], out=np.zeros_like(ranks), where=length[:, None] > 0)
        out[row] = float((unit @ unit.T)[upper].mean())
    return out


def error_by_window(output: Array, label: Array, *, positive_class: int | None) -> Array:
    """(window,) how far the output misses: |output - value|, or for log-odds of a class the loss -log p in nats."""
    if positive_class is None:
        return np.abs(output - label)
    sign = np.where(label == positive_class, 1.0, -1.0)
    return np.where(np.isfinite(label), np.logaddexp(0.0, -sign * output), np.nan)
