"""A decision tree whose every leaf rests on five people or more, and whose thresholds are round numbers."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float, Int

from hdt_fm.explain.distil.moments import NEAR
from hdt_fm.explain.distil.named import MIN_PEOPLE, digits_of, people_folds, people_of

MOST_DEPTH = 4
FEWEST_WINDOWS = 10
INNER_FOLDS = 3
# Candidates for a threshold are so many quantiles; a split must explain this share of the whole spread.
QUANTILES = 31
WORTH = 0.005

Values = Float[np.ndarray, "window feature"]


@dataclass(frozen=True)
class Split:
    """`feature` above `threshold` goes to the second branch; a threshold of infinity asks only who lacks the feature.

    Attributes:
        lacking_above: Where windows go that lack the feature.
        was_lacking: Whether any did in training; else they go with the many.
    """

    feature: int
    threshold: float
    lacking_above: bool
    was_lacking: bool

    def above(self, values: Values) -> Bool[np.ndarray, " window"]:
        column = values[:, self.feature]
        known = np.isfinite(column)
        return np.where(known, np.where(known, column, 0.0) > self.threshold, self.lacking_above)


@dataclass(frozen=True)
class Node:
    """Mean output of the training windows that came here, how many they are and of how many people."""

    value: float
    windows: int
    people: int
    split: Split | None = None
    branches: tuple["Node", ...] = ()

    def cut(self, depth: int) -> "Node":
        """The same tree with `depth` questions in a row at the most."""
        if depth == 0 or self.split is None:
            return replace(self, split=None, branches=())
        return replace(self, branches=tuple(one.cut(depth - 1) for one in self.branches))

    def leaves(self) -> Iterator["Node"]:
        for one in self.branches:
            yield from one.leaves()
        if not self.branches:
            yield self

    @property
    def depth(self) -> int:
        return 1 + max(one.depth for one in self.branches) if self.branches else 0


@dataclass(frozen=True)
class Tree:
    """The student; `base` is the mean over its training windows."""

    root: Node

    @property
    def base(self) -> float:
        return self.root.value

    def parts(self, values: Values) -> Float[np.ndarray, "window feature"]:
        """What each feature's answers on the way down add to the base (Saabas 2014)."""
        parts = np.zeros(values.shape)
        for way, rows in self.walk(values):
            for before, after in pairwise(way):
                if before.split is not None:
                    parts[rows, before.split.feature] += after.value - before.value
        return parts

    def predict(self, values: Values) -> Float[np.ndarray, " window"]:
        """The student's answer."""
        out = np.full(len(values), np.nan)
        for way, rows in self.walk(values):
            out[rows] = way[-1].value
        return out

    def walk(self, values: Values) -> Iterator[tuple[tuple[Node, ...], Int[np.ndarray, " some"]]]:
        """The way to each leaf, the leaf last, and the windows that end there."""
        waiting: list[tuple[tuple[Node, ...], Int[np.ndarray, " some"]]] = [((self.root,), np.arange(len(values)))]
        while waiting:
            way, rows = waiting.pop()
            split = way[-1].split
            if split is None:
                yield way, rows
                continue
            above = split.above(values[rows])
            for branch, here in zip(way[-1].branches, (~above, above), strict=True):
                waiting.append(((*way, branch), rows[here]))


def fit_tree(
    values: Values,
    output: Float[np.ndarray, " window"],
    subject: Int[np.ndarray, " window"],
    *,
    most: int = MOST_DEPTH,
    seed: int = 0,
) -> Tree:
    """Depth by inner folds over people, the shallowest that is near the best; then grown on everybody.

    Args:
        most: Questions in a row at the most. A depth of 0 comes back where no question helps on people left out.
    """
    order = np.argsort(subject, kind="stable")
    binned = _Binned.of(values[order])
    y, person = output[order].astype(np.float64), subject[order]
    inner = people_folds(person, INNER_FOLDS, seed)
    errors = np.zeros(most + 1)
    for fold in range(int(inner.max()) + 1):
        asked = inner == fold
        root = _grown(binned, y, person, np.flatnonzero(~asked), most)
        for depth in range(most + 1):
            errors[depth] += np.square(Tree(root.cut(depth)).predict(values[order][asked]) - y[asked]).sum()
    depth = int(np.flatnonzero(errors <= NEAR * errors.min())[0])
    return Tree(_grown(binned, y, person, np.arange(len(y)), depth))


@dataclass(frozen=True)
class _Binned:
    """How many thresholds each value lies above (window, feature), one more than there are where it is missing."""

    codes: Int[np.ndarray, "window feature"]
    thresholds: tuple[Float[np.ndarray, " _"], ...]
    most: int

    @classmethod
    def of(cls, values: Values) -> "_Binned":
        thresholds, columns = [], []
        for column in values.T:
            known = np.isfinite(column)
            found = np.quantile(column[known], np.linspace(0, 1, QUANTILES + 2)[1:-1]) if known.any() else np.zeros(0)
            places = np.unique(np.round(found, digits_of(column)))
            thresholds.append(places)
            columns.append(np.where(known, np.searchsorted(places, np.where(known, column, 0.0)), -1))
        most = max((len(one) for one in thresholds), default=0)
        codes = np.stack(columns, axis=1)
        return cls(np.where(codes < 0, most + 1, codes).astype(np.int64), tuple(thresholds), most)


def _grown(
    binned: _Binned,
    y: Float[np.ndarray, " window"],
    person: Int[np.ndarray, " window"],
    rows: Int[np.ndarray, " some"],
    depth: int,
) -> Node:
    """Grow from these windows (sorted by person)."""
    least = WORTH * float(np.square(y[rows] - y[rows].mean()).sum())

    def grow(rows: Int[np.ndarray, " some"], left: int) -> Node:
        node = Node(float(y[rows].mean()), len(rows), people_of(person, rows))
        found = _best(binned, y[rows], person[rows], rows, least) if left else None
        if found is None:
            return node
        split, above = found
        return replace(node, split=split, branches=(grow(rows[~above], left - 1), grow(rows[above], left - 1)))

    return grow(rows, depth)


def _best(
    binned: _Binned,
    y: Float[np.ndarray, " some"],
    person: Int[np.ndarray, " some"],
    rows: Int[np.ndarray, " some"],
    least: float,
) -> tuple[Split, Bool[np.ndarray, " some"]] | None:
    """The question that explains most, among those with enough people and windows on both sides."""
    codes, most = binned.codes[rows], binned.most
    features, bins = codes.shape[1], most + 2
    flat = (codes + bins * np.arange(features)).ravel()
    centred = y - y.mean()
    count = np.bincount(flat, minlength=features * bins).reshape(features, bins).astype(np.float64)
    total = np.bincount(flat, np.repeat(centred, features), features * bins).reshape(features, bins)
    lacking, lacked = count[:, -1:], total[:, -1:]
    # Column k: known values of code k or less go below. The last one holds them all: it asks who lacks the feature.
    below, under = count[:, :-1].cumsum(axis=1), total[:, :-1].cumsum(axis=1)
    beyond, over = below[:, -1:] - below, under[:, -1:] - under
    enough = _enough_people(codes, person, bins)
    gains = []
    for side in (0, 1):
        low, high = below + lacking * (side == 0), beyond + lacking * (side == 1)
        gain = (under + lacked * (side == 0)) ** 2 / np.maximum(low, 1)
        gain += (over + lacked * (side == 1)) ** 2 / np.maximum(high, 1)
        gains.append(np.where(enough & (low >= FEWEST_WINDOWS) & (high >= FEWEST_WINDOWS), gain, -np.inf))
    both = np.stack(gains)
    # All known below and all lacking below is no question.
    both[0, :, -1] = -np.inf
    if not both.max() > least:
        return None
    side, feature, place = (int(one) for one in np.unravel_index(both.argmax(), both.shape))
    some = bool(lacking[feature, 0] > 0)
    goes_above = bool(side) if some else bool(beyond[feature, place] > below[feature, place])
    places = binned.thresholds[feature]
    threshold = float(places[place]) if place < len(places) else float("inf")
    above = np.where(codes[:, feature] == most + 1, goes_above, codes[:, feature] > place)
    return Split(feature, threshold, goes_above, some), above


def _enough_people(
    codes: Int[np.ndarray, "some feature"], person: Int[np.ndarray, " some"], bins: int
) -> Bool[np.ndarray, "feature place"]:
    """Where both sides have five people by known values alone; in the last place, by who lacks the feature."""
    starts = np.flatnonzero(np.diff(person, prepend=person[0] - 1))
    known = codes < bins - 1
    lowest = np.minimum.reduceat(codes, starts, axis=0)
    highest = np.maximum.reduceat(np.where(known, codes, -1), starts, axis=0)
    ladder = np.arange(bins - 1)[:, None, None]
    reach_low, reach_high = (lowest <= ladder).sum(axis=1), (highest > ladder).sum(axis=1)
    lacking = np.maximum.reduceat(~known, starts, axis=0).sum(axis=0)
    reach_high[-1] = lacking
    return ((reach_low >= MIN_PEOPLE) & (reach_high >= MIN_PEOPLE)).T
