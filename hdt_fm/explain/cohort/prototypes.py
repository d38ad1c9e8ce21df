"""Typical patterns of credit: windows grouped around medoids, each group told as a mean over enough people."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from hdt_fm.explain.cohort.cells import enough
from hdt_fm.explain.cohort.shares import over_windows

Array = NDArray[np.float64]
MOST_GROUPS = 4
# Below it no structure has been found (Kaufman and Rousseeuw 1990, table 4 of chapter 2): one pattern is told of then.
CLEAR = 0.25
_MOST_WINDOWS = 1000
_STARTS = 4


@dataclass(frozen=True)
class Prototype:
    """One pattern.

    Attributes:
        pattern: (column, stretch) mean share of the size of credit; each person counts once.
        windows, people: How many make the pattern.
        medoid: Row of the window that is nearest to all others of the pattern; in no file.
    """

    pattern: Array
    windows: int
    people: int
    medoid: int


@dataclass(frozen=True)
class Prototypes:
    """Patterns, most people first.

    Attributes:
        silhouette: Mean silhouette of the division, before groups of few people were joined; NaN for one pattern.
        of: (window,) place of each window's pattern.
    """

    found: tuple[Prototype, ...]
    silhouette: float
    of: NDArray[np.int64]


def prototypes(patterns: Array, held: NDArray[np.bool_], person: NDArray[np.integer], *, seed: int = 0) -> Prototypes:
    """Divide windows by pattern into two to four groups, or none where no division is clear.

    Args:
        patterns: (window, column, stretch) shares that add up to 1 over a window, or all 0.
        held: (window, column) what a window holds.
        person: (window,) whose it is.
        seed: Of the starts, and of which windows find the medoids where there are more than a thousand.

    Returns:
        Patterns that rest on enough people in every column that they hold; others are joined with the nearest.
    """
    flat = patterns.reshape(len(patterns), -1)
    rng = np.random.default_rng(seed)
    some = np.sort(rng.permutation(len(flat))[:_MOST_WINDOWS])
    # Half the sum of differences of shares: what part of the credit lies elsewhere, 0 to 1.
    apart = cdist(flat[some], flat[some], "cityblock") / 2
    divisions = [_k_medoids(apart, k, rng) for k in range(2, min(MOST_GROUPS, len(some) - 1) + 1)]
    scores = [_silhouette(apart, medoids) for medoids in divisions]
    best = int(np.argmax(scores)) if scores else -1
    clear = best >= 0 and scores[best] >= CLEAR
    medoids = some[divisions[best]] if clear else some[[int(apart.sum(1).argmin())]]
    of = cdist(flat, flat[medoids], "cityblock").argmin(1)
    medoids, of = _enough_people(flat, medoids, of, held, person)
    found = [
        Prototype(
            over_windows(patterns[of == k], person[of == k]).mean(0),
            int((of == k).sum()),
            len(np.unique(person[of == k])),
            int(medoid),
        )
        for k, medoid in enumerate(medoids)
    ]
    order = sorted(range(len(found)), key=lambda k: (-found[k].people, -found[k].windows))
    place = np.argsort(order)
    return Prototypes(tuple(found[k] for k in order), scores[best] if clear else float("nan"), place[of])


def _k_medoids(apart: Array, k: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Places of k medoids: the best of a few starts, each improved until nothing changes."""
    best, least = np.zeros(0, dtype=np.int64), np.inf
    for _ in range(_STARTS):
        medoids = _spread_out(apart, k, rng)
        for _ in range(100):
            of = apart[:, medoids].argmin(1)
            fresh = np.array(
                [
                    np.flatnonzero(of == j)[apart[np.ix_(of == j, of == j)].sum(1).argmin()] if (of == j).any() else m
                    for j, m in enumerate(medoids)
                ]
            )
            if (fresh == medoids).all():
                break
            medoids = fresh
        cost = float(apart[:, medoids].min(1).sum())
        if cost < least:
            best, least = medoids, cost
    return best


def _spread_out(apart: Array, k: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Starts drawn with the square of the distance to those that are there, as k-means++ does."""
    chosen = [int(rng.integers(len(apart)))]
    while len(chosen) < k:
        weight = apart[:, chosen].min(1) ** 2
        weight = weight / weight.sum() if weight.sum() > 0 else np.full(len(apart), 1 / len(apart))
        chosen.append(int(rng.choice(len(apart), p=weight)))
    return np.array(chosen)


def _silhouette(apart: Array, medoids: NDArray[np.int64]) -> float:
    """Mean over windows of (b - a) / max(a, b), 0 for a window that is alone (Rousseeuw 1987)."""
    of = apart[:, medoids].argmin(1)
    names = np.unique(of)
    if len(names) < 2:
        return -1.0
    sums = np.stack([apart[:, of == name].sum(1) for name in names], axis=1)
    sizes = np.array([(of == name).sum() for name in names])
    own = np.searchsorted(names, of)
    rows = np.arange(len(of))
    inside = sums[rows, own] / np.maximum(sizes[own] - 1, 1)
    means = sums / sizes
    means[rows, own] = np.inf
    outside = means.min(1)
    larger = np.maximum(inside, outside)
    value = np.divide(outside - inside, larger, out=np.zeros(len(of)), where=(larger > 0) & (sizes[own] > 1))
    return float(value.mean())


def _enough_people(
    flat: Array, medoids: NDArray[np.int64], of: NDArray[np.int64], held: NDArray[np.bool_], person: NDArray[np.integer]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Join a pattern of few people with that of the nearest medoid until none is left."""
    of = of.copy()
    kept = sorted(set(of.tolist()))

    def few(k: int) -> bool:
        return not shown_people(held[of == k], person[of == k])

    while len(kept) > 1 and any(few(k) for k in kept):
        one = min((k for k in kept if few(k)), key=lambda k: int((of == k).sum()))
        others = [k for k in kept if k != one]
        near = cdist(flat[medoids[[one]]], flat[medoids[others]], "cityblock")[0].argmin()
        of[of == one] = others[int(near)]
        kept.remove(one)
    return medoids[kept], np.searchsorted(kept, of)


def shown_people(held: NDArray[np.bool_], person: NDArray[np.integer]) -> bool:
    """Whether some windows are of enough people, and of enough or none in every column."""
    by_person = np.stack([np.append(held[person == who].any(0), True) for who in np.unique(person)])
    return enough(by_person)
