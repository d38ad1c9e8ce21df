"""How maps are compared and numbers are judged, for all tests of the gate."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from hdt_fm.explain.explanation import MethodMap, Verdict, segment_sums
from hdt_fm.explain.methods import METHODS

# Of the outputs' own spread over the windows: beyond it the model is brittle, and a map cannot be steadier.
OUTPUT_MOVED = 0.25


def likeness(first: Mapping[str, NDArray[np.float32]], second: Mapping[str, NDArray[np.float32]]) -> float:
    """Mean over windows of the signed rank correlation over all samples that some map credits."""
    names = [name for name in first if name in second]
    if not names:
        return 0.0
    flat = [np.concatenate([m[n].reshape(len(m[n]), -1) for n in names], axis=1) for m in (first, second)]
    rows = [(a != 0) | (b != 0) for a, b in zip(*flat, strict=True)]
    return mean_rank(
        [a[r] for a, r in zip(flat[0], rows, strict=True)], [b[r] for b, r in zip(flat[1], rows, strict=True)]
    )


def mean_rank(first: Sequence[NDArray[np.floating]], second: Sequence[NDArray[np.floating]]) -> float:
    """Mean Spearman correlation; a map without any order has none, which counts as 0."""
    found = []
    for a, b in zip(first, second, strict=True):
        flat = len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0
        found.append(0.0 if flat else float(spearmanr(a, b).statistic))
    return float(np.mean(found))


def stretches_alike(first: MethodMap, second: MethodMap, segments: int) -> float:
    """Mean over windows of the correlation of credit by segment (of slopes its size), which large segments decide.

    Ranks of samples would be decided by the many that hardly matter: over three trainings of one sound model those
    agree at 0.15, and this at 0.86 (0.06 where one of the two has random weights).
    """
    rows = zip(_by_segment(first, segments), _by_segment(second, segments), strict=True)
    return float(np.mean([np.corrcoef(a, b)[0, 1] if np.ptp(a) > 0 and np.ptp(b) > 0 else 0.0 for a, b in rows]))


def _by_segment(one: MethodMap, segments: int) -> NDArray[np.float64]:
    signed = METHODS[one.method].signs
    parts = [segment_sums(v if signed else np.abs(v), segments).reshape(len(v), -1) for v in one.values.values()]
    return np.concatenate(parts, axis=1)


def as_good(own: float, random: Sequence[float]) -> float:
    """Share of random draws that do as well as ours, ours counted among them: 1 / (draws + 1) at best."""
    return float(1 + sum(one >= own for one in random)) / (len(random) + 1)


def at_most(value: float, marks: tuple[float, float]) -> Verdict:
    return "pass" if value <= marks[0] else "warn" if value <= marks[1] else "fail"


def at_least(value: float, marks: tuple[float, float]) -> Verdict:
    return "pass" if value >= marks[0] else "warn" if value >= marks[1] else "fail"


def both(first: bool, second: bool) -> Verdict:
    """Pass when both hold, warn when one does."""
    return "pass" if first and second else "warn" if first or second else "fail"


def brittle(moved: float) -> str:
    """A further sentence where it is the output, not only its map, that a small change of the input moves.

    Args:
        moved: As `Exam.moved` tells it.
    """
    if moved <= OUTPUT_MOVED:
        return ""
    return f" The output itself moves by {moved:.2f} of its spread: the model is brittle, not only the map."
