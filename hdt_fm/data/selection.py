"""Which people, and so which windows. People of one group never part."""

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from hdt_fm.data.shards import ShardFolder
from hdt_fm.schema.errors import SplitError
from hdt_fm.schema.shard import ShardManifest


def subject_split(
    manifest: ShardManifest, *, fractions: Mapping[str, float], seed: int
) -> dict[str, NDArray[np.int64]]:
    """Divide the people of a shard folder into named parts.

    Args:
        fractions: Share of groups per part; shares add up to 1.
        seed: Another seed, another division.

    Returns:
        Rows of the manifest's subject table per part, rising. People without windows are in no part.

    Raises:
        SplitError: If the shares do not add up to 1, or a part would be empty.
    """
    shares = np.array(list(fractions.values()), dtype=np.float64)
    if not len(shares) or (shares <= 0).any() or abs(shares.sum() - 1) > 1e-6:
        raise SplitError("Shares of a split must be positive and add up to 1", got=str(dict(fractions)))
    people = [(row, subject.group) for row, subject in enumerate(manifest.subjects) if subject.windows]
    groups = _shuffled({group for _, group in people}, seed)
    edges = np.rint(np.cumsum(shares) * len(groups)).astype(int)
    parts = np.searchsorted(edges, np.arange(len(groups)), side="right")
    part_of = dict(zip(groups, parts, strict=True))
    rows = {
        name: np.array([row for row, group in people if part_of[group] == part], dtype=np.int64)
        for part, name in enumerate(fractions)
    }
    for name, chosen in rows.items():
        if not len(chosen):
            raise SplitError(
                f"Part {name!r} of the split would be empty",
                got=f"{len(groups)} groups of people, shares {dict(fractions)}",
                fix="give it a larger share or use more people",
            )
    return rows


def fold_subjects(groups: Sequence[str | int] | NDArray, k: int, seed: int) -> list[NDArray[np.int64]]:
    """Who is held out in each of k folds; with k = number of groups, leave one group out.

    Args:
        groups: Group of each person.
        k: Folds; their sizes in groups differ by one at most.

    Returns:
        Per fold the held-out indices into `groups`, rising; together each index once.

    Raises:
        SplitError: If k is below 2 or above the number of groups.
    """
    names = [str(group) for group in groups]
    order = _shuffled(set(names), seed)
    if not 2 <= k <= len(order):
        raise SplitError(
            "People cannot be divided into that many folds",
            expected=f"2 to {len(order)} folds, the number of groups",
            got=str(k),
        )
    fold_of = {group: place % k for place, group in enumerate(order)}
    return [np.array([row for row, name in enumerate(names) if fold_of[name] == fold]) for fold in range(k)]


def positions_of(folder: ShardFolder, subject_rows: NDArray[np.integer]) -> NDArray[np.int64]:
    """Positions of all windows of the given people, rising."""
    return np.flatnonzero(np.isin(folder.subject_rows, subject_rows))


def _shuffled(groups: set[str], seed: int) -> list[str]:
    """Groups in a seeded order that does not depend on the order they came in."""
    return sorted(groups, key=lambda group: hashlib.sha256(f"{seed}\x1f{group}".encode()).digest())
