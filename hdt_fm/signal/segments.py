"""Segments: the stretches of a recording without a gap. Every other step here works on one of them at a time."""

import numpy as np
from jaxtyping import Bool


def runs(observed: Bool[np.ndarray, " time"]) -> list[tuple[int, int]]:
    """Half-open (start, stop) of each stretch of True, in order."""
    padded = np.zeros(len(observed) + 2, dtype=np.int8)
    padded[1:-1] = observed
    edges = np.flatnonzero(np.diff(padded))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))
