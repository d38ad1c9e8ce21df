"""Mean shares of people, and how they differ: between subgroups, and from the people whom the model learned from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hdt_fm.explain.aggregate.over_people import mean_over, nan_mean
from hdt_fm.explain.cohort.cells import MINIMUM_CELL, Fact
from hdt_fm.explain.explanation import Explanation
from hdt_fm.metrics.bootstrap import LEVEL

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ShareOf:
    """Mean share over people with its 95 % interval."""

    column: str
    mean: float
    low: float
    high: float
    people: int


@dataclass(frozen=True)
class Gap:
    """How far two sets of people differ in a share.

    Attributes:
        what, which: Of which difference: the fact, and the group that is set against all others.
        value, low, high: Mean of the group less mean of the others, with its 95 % interval.
        p: Share of random divisions of the same people that differ as much, two-sided; `p_holm`: after Holm's
            correction for the number of gaps.
    """

    what: str
    which: str
    column: str
    value: float
    low: float
    high: float
    p: float
    people: int
    others: int
    p_holm: float = float("nan")


def shares_of_people(explanation: Explanation, *, method: str | None = None) -> dict[str, Array]:
    """Per modality (person,) mean share over the windows that hold it; NaN for people who never do."""
    shares = explanation.shares(method or explanation.maps[0].method)
    units = over_windows(np.where(explanation.present, shares, np.nan), explanation.person)
    return {name: units[:, column] for column, name in enumerate(explanation.modalities)}


def over_windows(rows: NDArray[np.floating], person: NDArray[np.integer]) -> Array:
    """(person, ...) means over each person's windows, of what is known."""
    return np.stack([nan_mean(rows[person == who]) for who in np.unique(person)])


def joined(shares: Mapping[str, Array], names: Sequence[str]) -> Array:
    """Sum of some modalities' shares; NaN where none of them is held."""
    stack = np.stack([shares[name] for name in names if name in shares] or [np.full(1, np.nan)])
    return np.where(np.isfinite(stack).any(0), np.nansum(stack, axis=0), np.nan)


def means(units: Array, columns: Sequence[str], *, draws: int, seed: int) -> tuple[ShareOf, ...]:
    """Of each column of (person, column) that somebody holds."""
    found = mean_over(units, draws=draws, seed=seed)
    return tuple(
        ShareOf(name, float(found.value[k]), float(found.low[k]), float(found.high[k]), int(found.count[k]))
        for k, name in enumerate(columns)
        if found.count[k]
    )


def gaps_of(
    facts: Sequence[Fact], units: Array, columns: Sequence[str], *, draws: int, shuffles: int, seed: int
) -> tuple[Gap, ...]:
    """Each shown group against all other people, in each column; of two groups one gap, since the other is its mirror.

    The others are people too: a gap is left out where fewer of them hold the column than may be shown.
    """
    found = []
    for fact in facts:
        for group in fact.groups[: 1 if len(fact.groups) == 2 else None]:
            for k, column in enumerate(columns):
                known = np.isfinite(units[:, k])
                one, other = units[known & group.members, k], units[known & ~group.members, k]
                if min(len(one), len(other)) >= MINIMUM_CELL:
                    names = fact.name, group.name, column
                    found.append(gap(one, other, *names, draws=draws, shuffles=shuffles, seed=seed))
    return holm(found)


def gap(one: Array, other: Array, what: str, which: str, column: str, *, draws: int, shuffles: int, seed: int) -> Gap:
    """Difference of two sets of people; people are drawn within each set for the interval, and divided anew for p."""
    rng = np.random.default_rng(seed)
    drawn = [some[rng.integers(0, len(some), (draws, len(some)))].mean(1) for some in (one, other)]
    low, high = np.percentile(drawn[0] - drawn[1], [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
    value = float(one.mean() - other.mean())
    both = np.concatenate([one, other])
    mixed = rng.permuted(np.tile(both, (shuffles, 1)), axis=1)
    chance = mixed[:, : len(one)].mean(1) - mixed[:, len(one) :].mean(1)
    # Sums in another order differ by rounding, and a division that is as uneven must count.
    hits = int((np.abs(chance) >= abs(value) * (1 - 1e-9)).sum())
    p = (1 + hits) / (1 + shuffles)
    return Gap(what, which, column, value, float(low), float(high), p, len(one), len(other))


def holm(gaps: Sequence[Gap]) -> tuple[Gap, ...]:
    """With p-values corrected for how many they are, by Holm 1979: valid however the gaps hang together."""
    order = np.argsort([one.p for one in gaps], kind="stable")
    corrected = np.ones(len(gaps))
    so_far = 0.0
    for place, k in enumerate(order):
        so_far = max(so_far, min(1.0, gaps[k].p * (len(gaps) - place)))
        corrected[k] = so_far
    return tuple(replace(one, p_holm=float(p)) for one, p in zip(gaps, corrected, strict=True))


def drift_from(
    training: Mapping[str, Array],
    units: Array,
    columns: Mapping[str, Sequence[str]],
    *,
    draws: int,
    shuffles: int,
    seed: int,
) -> tuple[Gap, ...]:
    """These people against those whom the model learned from, in each column that enough of both hold.

    Args:
        training: Per modality (person,), as `shares_of_people` of their own explanation.
        columns: Name of each column of `units` with its modalities.
    """
    found = []
    for k, (column, names) in enumerate(columns.items()):
        one, other = units[:, k], joined(training, names)
        one, other = one[np.isfinite(one)], other[np.isfinite(other)]
        if min(len(one), len(other)) >= MINIMUM_CELL:
            found.append(gap(one, other, "training", "these people", column, draws=draws, shuffles=shuffles, seed=seed))
    return holm(found)
