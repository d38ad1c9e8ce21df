"""Shares of credit with their intervals: over the windows of one person, over the people of a cohort."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hdt_fm.explain.cohort import cells
from hdt_fm.explain.explanation import Check, Explanation
from hdt_fm.schema.modalities import modality as look_up_modality

# Of people of a cohort, as `cohort.cells` says why; fewer windows or people give no interval either.
MINIMUM_CELL = cells.MINIMUM_CELL
_DRAWS, _LEVEL = 2000, 0.95


@dataclass(frozen=True)
class Share:
    """Mean share of the size of credit.

    Attributes:
        modalities: Whose it is; several where one alone is held by too few people of a cohort to be told of.
        mean: 0 to 1; NaN where nobody holds it, or fewer people of a cohort than may be shown.
        low, high: Its 95 % interval; NaN where it cannot be said.
        windows, people: How many it rests on; `hidden` says that these are too few people to be shown.
    """

    modalities: tuple[str, ...]
    mean: float
    low: float
    high: float
    windows: int
    people: int
    hidden: bool = False

    @property
    def label(self) -> str:
        return " and ".join(look_up_modality(name).label for name in self.modalities)


def modality_shares(explanation: Explanation, method: str, scope: str | None) -> dict[str, Share]:
    """Per modality, over the windows that hold it; each person of a cohort counts once.

    Shares add up to one, so what is left out can be had from the others by arithmetic. A modality that too few people
    of a cohort hold is therefore told together with the next rarest, under both names joined by " and ".
    """
    shares = explanation.shares(method)
    found = {}
    for columns in _columns(explanation, scope):
        names = tuple(explanation.modalities[k] for k in columns)
        here = np.any(explanation.present[:, columns], axis=1)
        found[" and ".join(names)] = _share(names, shares[:, columns].sum(1), here, explanation.person, scope)
    return found


def channel_shares(explanation: Explanation, method: str, scope: str | None) -> dict[tuple[str, int], Share]:
    """Per (modality, channel), as `modality_shares`; of a cohort, only of modalities that are told of alone."""
    alone = {explanation.modalities[columns[0]] for columns in _columns(explanation, scope) if len(columns) == 1}
    sizes = {name: np.abs(values).sum(2, dtype=np.float64) for name, values in explanation.find(method).values.items()}
    if not sizes:
        return {}
    whole = np.concatenate(list(sizes.values()), axis=1).sum(1, keepdims=True)
    out = {}
    for name, size in sizes.items():
        if name not in alone:
            continue
        part = np.divide(size, whole, out=np.zeros_like(size), where=whole > 0)
        here = explanation.present[:, explanation.modalities.index(name)]
        for channel in range(size.shape[1]):
            out[name, channel] = _share((name,), part[:, channel], here, explanation.person, scope)
    return out


def screened(check: Check, explanation: Explanation, scope: str | None) -> Check:
    """A test without the numbers of signals that are not told of alone: concentration looks at channels one by one."""
    together = [columns for columns in _columns(explanation, scope) if len(columns) > 1]
    if check.name != "concentration" or not together:
        return check
    rare = [look_up_modality(explanation.modalities[k]).label for columns in together for k in columns]
    if check.verdict == "pass" and any(label in check.meaning for label in rare):
        words = "The channel that carries most is of a signal that few people hold, so it is not told."
        check = replace(check, value=float("nan"), meaning=words)
    return replace(check, detail={})


def _columns(explanation: Explanation, scope: str | None) -> list[tuple[int, ...]]:
    """Which modalities are told of together, in the order of the data; absent ones stand alone."""
    alone: list[tuple[int, ...]] = [(k,) for k in range(len(explanation.modalities))]
    if scope != "cohort":
        return alone
    people = np.unique(explanation.person)
    held = np.stack([explanation.present[explanation.person == who].any(0) for who in people])
    absent = [columns for columns in alone if not held[:, columns].any()]
    return sorted([*cells.joined_columns(held), *absent])


def _share(
    names: tuple[str, ...],
    values: NDArray[np.float64],
    here: NDArray[np.bool_],
    person: NDArray[np.int64],
    scope: str | None,
) -> Share:
    windows, people = int(here.sum()), len(np.unique(person[here]))
    nan = float("nan")
    if not windows or (scope == "cohort" and people < MINIMUM_CELL):
        return Share(names, nan, nan, nan, windows, people, hidden=windows > 0)
    units = values[here]
    if scope == "cohort":
        _, whose = np.unique(person[here], return_inverse=True)
        units = np.bincount(whose, weights=units) / np.bincount(whose)
    low, high = _interval(units) if scope in ("person", "cohort") else (nan, nan)
    return Share(names, float(units.mean()), low, high, windows, people)


def _interval(units: NDArray[np.float64]) -> tuple[float, float]:
    """Percentiles of the mean of units drawn with replacement; NaN for fewer than the minimum cell."""
    if len(units) < MINIMUM_CELL:
        return float("nan"), float("nan")
    chosen = np.random.default_rng(0).integers(0, len(units), (_DRAWS, len(units)))
    low, high = np.percentile(units[chosen].mean(1), [50 * (1 - _LEVEL), 50 * (1 + _LEVEL)])
    return float(low), float(high)
