"""How maps are compared and numbers are judged, for all tests of the gate."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from hdt_fm.explain.explanation import Verdict


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


def at_most(value: float, marks: tuple[float, float]) -> Verdict:
    return "pass" if value <= marks[0] else "warn" if value <= marks[1] else "fail"


def at_least(value: float, marks: tuple[float, float]) -> Verdict:
    return "pass" if value >= marks[0] else "warn" if value >= marks[1] else "fail"
