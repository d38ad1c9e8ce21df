"""Has the space collapsed? A loss can fall while all windows move to one point or one line."""

import numpy as np
from numpy.typing import ArrayLike

from hdt_fm.metrics._rows import rows


def effective_rank(embeddings: ArrayLike) -> float:
    """Exponential of the entropy of the centred singular values: 1 for a line, dim for a ball, 0 for a point.

    Source: Roy and Vetterli 2007, of the matrix minus its mean row.
    """
    (values,), _ = rows(embeddings)
    centred = values.astype(np.float64) - values.mean(0, dtype=np.float64)
    singular = np.linalg.svd(centred, compute_uv=False)
    # Rounding leaves a constant matrix with dust instead of zeros.
    if singular.sum() <= 1e-9 * max(1.0, float(np.abs(values).max())) * len(values):
        return 0.0
    share = singular / singular.sum()
    share = share[share > 0]
    return float(np.exp(-(share * np.log(share)).sum()))


def alignment(anchor: ArrayLike, positive: ArrayLike) -> float:
    """Mean squared distance of partners of unit length: 0 when equal, 2 when unrelated.

    Source: Wang and Isola 2020, alpha = 2.
    """
    (ones, others), _ = rows(anchor, positive)
    return float(((ones - others) ** 2).sum(1).mean())


def uniformity(embeddings: ArrayLike, *, sharpness: float = 2.0) -> float:
    """Log of the mean Gaussian kernel between different rows: 0 when all are one point, lower when spread.

    Source: Wang and Isola 2020, t = 2. Rows of unit length; takes (rows x rows) memory.
    """
    (values,), _ = rows(embeddings)
    if len(values) < 2:
        return float("nan")
    points = values.astype(np.float64)
    length = (points**2).sum(1)
    distance = np.maximum(length[:, None] + length[None] - 2 * points @ points.T, 0.0)
    upper = distance[np.triu_indices(len(points), 1)]
    return float(np.log(np.exp(-sharpness * upper).mean()))
