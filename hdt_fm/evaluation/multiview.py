"""Linear multiview CCA: what cross-modal retrieval can do without a network, fitted in closed form.

Each modality's features are whitened (with a ridge); the directions are the leading eigenvectors of the
correlations *between* modalities, so that any number of modalities shares one space (Kettenring 1971, SUMCOR
relaxed to one constraint; with two modalities it is canonical correlation analysis).
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float, Int

from hdt_fm.schema.errors import ConfigError

DIM = 48
RIDGE = 0.3
# Features further out than this are artefacts; one of them would turn every direction.
CLIP = 5.0
RANK_FLOOR = 1e-6


def multiview_cca(
    features: Mapping[str, Float[np.ndarray, "row _"]],
    present: Bool[np.ndarray, "row modality"],
    train: Int[np.ndarray, " train"],
    *,
    dim: int = DIM,
    ridge: float = RIDGE,
) -> Float[np.ndarray, "row modality dim"]:
    """Fit on `train` rows; project all rows to unit length, zeros where the modality is absent.

    Args:
        features: One table a modality, in the order of the columns of `present`; NaN counts as the mean.
        ridge: Added to the variance along each principal direction of the standardised features.

    Raises:
        ConfigError: If no two modalities are present together in the training rows.
    """
    views = [_whitened(table, present[:, column], train, ridge) for column, table in enumerate(features.values())]
    edges = np.cumsum([0, *(view.shape[1] for view in views)])
    between = np.zeros((edges[-1], edges[-1]))
    for i, first in enumerate(views):
        for j, second in enumerate(views[:i]):
            both = train[present[train, i] & present[train, j]]
            if len(both):
                block = first[both].T @ second[both] / len(both)
                between[edges[i] : edges[i + 1], edges[j] : edges[j + 1]] = block
                between[edges[j] : edges[j + 1], edges[i] : edges[i + 1]] = block.T
    if not between.any():
        raise ConfigError("No two modalities are present together", where="multiview CCA", expected="training windows")
    values, vectors = np.linalg.eigh(between)
    weight = np.sqrt(np.clip(values[::-1][:dim], 0, None))
    found = np.zeros((len(present), len(views), dim), dtype=np.float32)
    for column, view in enumerate(views):
        raw = view @ vectors[edges[column] : edges[column + 1], ::-1][:, :dim] * weight
        length = np.linalg.norm(raw, axis=1, keepdims=True)
        unit = raw / np.where(length > 0, length, 1.0)
        found[present[:, column], column, : unit.shape[1]] = unit[present[:, column]]
    return found


def _whitened(table: np.ndarray, present: np.ndarray, train: np.ndarray, ridge: float) -> Float[np.ndarray, "row _"]:
    """Standardised by the training rows that hold the modality, then turned to equal variance (but for the ridge)."""
    rows = train[present[train]]
    if not len(rows):
        return np.zeros((len(table), 0))
    known = table[rows]
    with np.errstate(invalid="ignore"):
        count = np.maximum((~np.isnan(known)).sum(axis=0), 1)
        center = np.nansum(known, axis=0) / count
        scale = np.sqrt(np.nansum((known - center) ** 2, axis=0) / count)
    scaled = np.clip(np.nan_to_num((table - center) / np.where(scale > 0, scale, np.inf)), -CLIP, CLIP)
    variance, axes = np.linalg.eigh(scaled[rows].T @ scaled[rows] / len(rows))
    kept = variance > RANK_FLOOR * max(float(variance.max(initial=0.0)), RANK_FLOOR)
    return scaled @ (axes[:, kept] / np.sqrt(variance[kept] + ridge))
