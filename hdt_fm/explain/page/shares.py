"""Shares of credit with their intervals: over the windows of one person, over the people of a cohort."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hdt_fm.explain.explanation import Explanation

# A number that rests on fewer people is not shown, and fewer windows or people give no interval.
MINIMUM_CELL = 5
_DRAWS, _LEVEL = 2000, 0.95


@dataclass(frozen=True)
class Share:
    """Mean share of the size of credit.

    Attributes:
        mean: 0 to 1; NaN where nobody holds it, or fewer people of a cohort than may be shown.
        low, high: Its 95 % interval; NaN where it cannot be said.
        windows, people: How many it rests on; `hidden` says that these are too few people to be shown.
    """

    mean: float
    low: float
    high: float
    windows: int
    people: int
    hidden: bool = False


def modality_shares(explanation: Explanation, method: str, scope: str | None) -> dict[str, Share]:
    """Per modality, over the windows that hold it; each person of a cohort counts once."""
    return _by_column(explanation, explanation.shares(method), scope)


def channel_shares(explanation: Explanation, method: str, scope: str | None) -> dict[tuple[str, int], Share]:
    """Per (modality, channel), as `modality_shares`."""
    sizes = {name: np.abs(values).sum(2, dtype=np.float64) for name, values in explanation.find(method).values.items()}
    if not sizes:
        return {}
    whole = np.concatenate(list(sizes.values()), axis=1).sum(1, keepdims=True)
    out = {}
    for name, size in sizes.items():
        part = np.divide(size, whole, out=np.zeros_like(size), where=whole > 0)
        here = explanation.present[:, explanation.modalities.index(name)]
        for channel in range(size.shape[1]):
            out[name, channel] = _share(part[:, channel], here, explanation.person, scope)
    return out


def _by_column(explanation: Explanation, shares: NDArray[np.float64], scope: str | None) -> dict[str, Share]:
    return {
        name: _share(shares[:, column], explanation.present[:, column], explanation.person, scope)
        for column, name in enumerate(explanation.modalities)
    }


def _share(values: NDArray[np.float64], here: NDArray[np.bool_], person: NDArray[np.int64], scope: str | None) -> Share:
    windows, people = int(here.sum()), len(np.unique(person[here]))
    nan = float("nan")
    if not windows or (scope == "cohort" and people < MINIMUM_CELL):
        return Share(nan, nan, nan, windows, people, hidden=windows > 0)
    units = values[here]
    if scope == "cohort":
        _, whose = np.unique(person[here], return_inverse=True)
        units = np.bincount(whose, weights=units) / np.bincount(whose)
    low, high = _interval(units) if scope in ("person", "cohort") else (nan, nan)
    return Share(float(units.mean()), low, high, windows, people)


def _interval(units: NDArray[np.float64]) -> tuple[float, float]:
    """Percentiles of the mean of units drawn with replacement; NaN for fewer than the minimum cell."""
    if len(units) < MINIMUM_CELL:
        return float("nan"), float("nan")
    chosen = np.random.default_rng(0).integers(0, len(units), (_DRAWS, len(units)))
    low, high = np.percentile(units[chosen].mean(1), [50 * (1 - _LEVEL), 50 * (1 + _LEVEL)])
    return float(low), float(high)
