"""A tree in words: the conditions of a leaf, and the whole as nested lines."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from hdt_fm.explain.distil.named import NamedFeatures, digits_of, told
from hdt_fm.explain.distil.tree import Node, Split

EVERYWHERE, OR_LACKING = "everywhere", ", or not known"


def question(split: Split, above: bool, named: NamedFeatures) -> str:
    """One side of a split, as `PPG: heart rate above 92 per minute`."""
    feature, comes = named.features[split.feature], above == split.lacking_above
    if not np.isfinite(split.threshold):
        return f"{feature.words} {'not known' if comes else 'known'}"
    number = told(split.threshold, digits_of(named.values[:, split.feature]), feature.unit)
    lacking = OR_LACKING if comes and split.was_lacking else ""
    return f"{feature.words} {'above' if above else 'at most'} {number}{lacking}"


def conditions(way: tuple[Node, ...], named: NamedFeatures) -> tuple[str, ...]:
    """What holds in the last node of a way; two bounds of one feature are told as a range."""
    asked: dict[tuple[int, bool, bool], Split] = {}
    for before, after in pairwise(way):
        split = before.split
        assert split is not None
        # A second "above" on the same feature is the narrower one: it was asked within the first.
        asked[split.feature, bool(np.isfinite(split.threshold)), after is before.branches[1]] = split
    found = []
    for (feature, bound, above), split in asked.items():
        other = asked.get((feature, bound, not above)) if bound else None
        if other is None:
            found.append(question(split, above, named))
        elif above:
            found.append(_range(split, other, named))
    return tuple(found)


def _range(low: Split, high: Split, named: NamedFeatures) -> str:
    feature, digits = named.features[low.feature], digits_of(named.values[:, low.feature])
    comes = low.lacking_above and not high.lacking_above and (low.was_lacking or high.was_lacking)
    ends = f"{told(low.threshold, digits)} to {told(high.threshold, digits, feature.unit)}"
    return f"{feature.words} {ends}{OR_LACKING if comes else ''}"


def lines(node: Node, named: NamedFeatures, unit: str, digits: int, depth: int = 0) -> Iterator[str]:
    """The tree as nested lines; two blanks a level."""
    indent = "  " * depth
    if node.split is None:
        if depth == 0:
            yield f"{EVERYWHERE}: {leaf(node, unit, digits)}"
        return
    for above, branch in zip((False, True), node.branches, strict=True):
        end = f": {leaf(branch, unit, digits)}" if branch.split is None else ""
        yield f"{indent}{question(node.split, above, named)}{end}"
        yield from lines(branch, named, unit, digits, depth + 1)


def leaf(node: Node, unit: str, digits: int) -> str:
    """What the tree says in a leaf, and on how much it rests."""
    return f"{told(node.value, digits, unit)} ({node.windows} windows of {node.people} people)"
