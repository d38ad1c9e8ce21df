"""Sparseness and complexity of a map: described, not judged, since a true map may be either."""

import numpy as np
from numpy.typing import NDArray

from hdt_fm.explain.explanation import MethodMap


def gini(values: NDArray[np.floating]) -> float:
    """Gini index of |credit|: 0 when all samples share alike, near 1 when one has all; 0 for a map of zeros.

    Source: Chalasani et al. 2020, "Concise explanations of neural networks using adversarial training".
    """
    size = np.sort(np.abs(values.ravel().astype(np.float64)))
    if not size.sum():
        return 0.0
    rank = np.arange(1, len(size) + 1)
    return float(((2 * rank - len(size) - 1) * size).sum() / (len(size) * size.sum()))


def entropy(values: NDArray[np.floating]) -> float:
    """Entropy of the shares of |credit| in nats: 0 when one sample has all, log(samples) when all share alike.

    Source: Bhatt et al. 2020, "Evaluating and aggregating feature-based model explanations" (there: complexity).
    """
    size = np.abs(values.ravel().astype(np.float64))
    if not size.sum():
        return 0.0
    share = size[size > 0] / size.sum()
    return float(-(share * np.log(share)).sum())


def described(one: MethodMap) -> tuple[float, float]:
    """Mean over windows of the Gini index, and of the entropy in nats."""
    windows = len(next(iter(one.values.values()), np.zeros((0, 1, 1))))
    flat = [np.concatenate([values[k].ravel() for values in one.values.values()]) for k in range(windows)]
    if not flat:
        return 0.0, 0.0
    return float(np.mean([gini(f) for f in flat])), float(np.mean([entropy(f) for f in flat]))
