"""Splits by person: every window of a group lies on one side, and the fold remembers which side and of which table."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np
from jaxtyping import Float, Int

from hdt_fm.schema.errors import SplitError


@dataclass(frozen=True)
class Fold:
    """One split of a table's rows.

    Attributes:
        train, test: Row numbers of the table that the folds were made from, ascending.
        rows: How many rows that table has; a fold of a subset is refused on the full table.
        test_groups: The groups that `test` holds; the audit compares them with the table in use.
    """

    train: Int[np.ndarray, " train"]
    test: Int[np.ndarray, " test"]
    rows: int
    test_groups: frozenset[int]


def grouped_folds(
    group: Int[np.ndarray, " row"], k: int, seed: int, stratify: Float[np.ndarray, " row"] | None = None
) -> list[Fold]:
    """Deal the groups into k test sets of nearly equal group count.

    Args:
        group: Integer equal for rows that must stay together.
        k: Number of folds.
        seed: The same seed gives the same folds.
        stratify: Class of each row (NaN where unknown); folds then get near-equal class counts too.

    Raises:
        SplitError: If k < 2 or there are fewer groups than folds.
    """
    names, codes = np.unique(group, return_inverse=True)
    if not 2 <= k <= len(names):
        raise SplitError(
            f"{len(names)} groups cannot be dealt into {k} folds",
            expected=f"2 <= folds <= {len(names)}",
            got=str(k),
            fix="ask for fewer folds, or bring more people",
        )
    order = np.random.default_rng(seed).permutation(len(names))
    if stratify is None:
        parts: Sequence[np.ndarray] = np.array_split(order, k)
    else:
        parts = _balanced_parts(_class_counts(codes, stratify, len(names)), order, k)
    return [_fold(group, codes, names, part) for part in parts]


def leave_one_group_out(group: Int[np.ndarray, " row"]) -> list[Fold]:
    """One fold a group, in ascending order of group.

    Raises:
        SplitError: If there is only one group.
    """
    names, codes = np.unique(group, return_inverse=True)
    if len(names) < 2:
        raise SplitError("One group cannot be left out of itself", expected="at least 2 groups", got=str(len(names)))
    return [_fold(group, codes, names, np.array([code])) for code in range(len(names))]


def stated_fold(group: Int[np.ndarray, " row"], side: Sequence[object]) -> Fold:
    """The one split that a publisher states of each person.

    Args:
        group: Integer equal for rows that must stay together.
        side: Of each row: "train", "test", or anything else for neither.

    Raises:
        SplitError: If a side has nobody, or a group is on both.
    """
    told = np.asarray([str(one) for one in side])
    train, test = np.flatnonzero(told == "train"), np.flatnonzero(told == "test")
    both = np.intersect1d(group[train], group[test])
    if not len(train) or not len(test) or len(both):
        raise SplitError(
            "There is no published split by person",
            expected="people who are stated as train, others as test",
            got=f"{len(np.unique(group[train]))} in train, {len(np.unique(group[test]))} in test, {len(both)} in both",
            fix="folds: a number, or all to leave one person out",
        )
    return Fold(train=train, test=test, rows=len(group), test_groups=frozenset(np.unique(group[test]).tolist()))


def every_split(
    group: Int[np.ndarray, " row"], test_groups: int, *, most: int = 1000, seed: int = 0
) -> tuple[list[Fold], bool]:
    """Each way of leaving out a given number of groups, or a sample of them where there are too many.

    Args:
        group: Integer equal for rows that must stay together.
        test_groups: How many groups each test set holds.
        most: Above this many ways, that many distinct ones are drawn.
        seed: Of the sample.

    Returns:
        The folds, and whether they are all that there are. A group is tested in many of them: score each fold by
        itself and average, do not pool.

    Raises:
        SplitError: If no group would be left on one side, or `most` is less than 1.
    """
    names, codes = np.unique(group, return_inverse=True)
    if not 1 <= test_groups < len(names) or most < 1:
        raise SplitError(
            f"{test_groups} of {len(names)} groups cannot be left out",
            expected=f"1 <= groups in the test set <= {len(names) - 1}, and at least 1 split",
            got=f"{test_groups} groups, at most {most} splits",
            fix="leave fewer groups out, or bring more people",
        )
    ways = comb(len(names), test_groups)
    if ways <= most:
        return [
            _fold(group, codes, names, np.array(part)) for part in combinations(range(len(names)), test_groups)
        ], True
    generator = np.random.default_rng(seed)
    drawn: dict[tuple[int, ...], None] = {}
    while len(drawn) < most:
        drawn[tuple(sorted(generator.permutation(len(names))[:test_groups].tolist()))] = None
    return [_fold(group, codes, names, np.array(part)) for part in drawn], False


def repeated(
    group: Int[np.ndarray, " row"],
    k: int,
    repeats: int,
    seed: int,
    stratify: Float[np.ndarray, " row"] | None = None,
) -> list[list[Fold]]:
    """Several independent grouped splits; each inner list covers every row once."""
    seeds = np.random.SeedSequence(seed).generate_state(repeats)
    return [grouped_folds(group, k, int(one), stratify) for one in seeds]


def inner_folds(group: Int[np.ndarray, " row"], k: int, seed: int) -> list[Fold]:
    """Folds inside the training people, as many as their number allows; none for a lone group."""
    groups = len(np.unique(group))
    return grouped_folds(group, min(k, groups), seed) if groups >= 2 else []


def _fold(
    group: Int[np.ndarray, " row"],
    codes: Int[np.ndarray, " row"],
    names: Int[np.ndarray, " group"],
    part: Int[np.ndarray, " some"],
) -> Fold:
    in_test = np.isin(codes, part)
    return Fold(
        train=np.flatnonzero(~in_test),
        test=np.flatnonzero(in_test),
        rows=len(group),
        test_groups=frozenset(int(names[code]) for code in part),
    )


def _class_counts(
    codes: Int[np.ndarray, " row"], stratify: Float[np.ndarray, " row"], groups: int
) -> Float[np.ndarray, "group class"]:
    """Rows of each class in each group; rows of unknown class are left out."""
    known = np.isfinite(stratify)
    classes, which = np.unique(stratify[known], return_inverse=True)
    counts = np.zeros((groups, max(len(classes), 1)))
    np.add.at(counts, (codes[known], which), 1.0)
    return counts


def _balanced_parts(
    counts: Float[np.ndarray, "group class"], order: Int[np.ndarray, " group"], k: int
) -> Sequence[Int[np.ndarray, " some"]]:
    """Greedy: the most uneven groups first, each to the fold that leaves the class shares most equal."""
    share = counts / np.maximum(counts.sum(axis=0), 1.0)
    queue = order[np.argsort(-share[order].std(axis=1), kind="stable")]
    filled = np.zeros((k, counts.shape[1]))
    parts: list[list[int]] = [[] for _ in range(k)]
    for place, code in enumerate(queue):
        # Fold sizes differ by one group at most, so no fold is left without people.
        room = [fold for fold in range(k) if len(parts[fold]) <= place // k]
        spread = [_spread_with(filled, share[code], fold) for fold in room]
        best = room[int(np.argmin(spread))]
        parts[best].append(int(code))
        filled[best] += share[code]
    return [np.asarray(part, dtype=np.int64) for part in parts]


def _spread_with(filled: Float[np.ndarray, "fold class"], added: Float[np.ndarray, " class"], fold: int) -> float:
    trial = filled.copy()
    trial[fold] += added
    return float(trial.std(axis=0).mean())
