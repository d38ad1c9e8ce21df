"""Linear multiview CCA: what cross-modal retrieval can do without a network, fitted in closed form."""

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from hdt_fm.ops.multiview import shared_directions

DIM = 48
RIDGE = 0.3
# Features further out than this are artefacts; one of them would turn every direction.
CLIP = 5.0


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
    views = [_standardised(table, present[:, column], train) for column, table in enumerate(features.values())]
    directions = shared_directions(
        [torch.from_numpy(view[train]) for view in views], torch.from_numpy(present[train]), dim=dim, ridge=ridge
    )
    found = np.zeros((len(present), len(views), dim), dtype=np.float32)
    for column, (view, weight) in enumerate(zip(views, directions, strict=True)):
        raw = view @ weight.numpy()
        length = np.linalg.norm(raw, axis=1, keepdims=True)
        found[:, column] = np.where(present[:, column, None], raw / np.where(length > 0, length, 1.0), 0.0)
    return found


def _standardised(table: np.ndarray, present: np.ndarray, train: np.ndarray) -> Float[np.ndarray, "row _"]:
    """By the training rows that hold the modality; 0 where unknown."""
    known = table[train[present[train]]]
    with np.errstate(invalid="ignore"):
        count = np.maximum((~np.isnan(known)).sum(axis=0), 1)
        center = np.nansum(known, axis=0) / count
        scale = np.sqrt(np.nansum((known - center) ** 2, axis=0) / count)
        return np.clip(np.nan_to_num((table - center) / np.where(scale > 0, scale, np.inf)), -CLIP, CLIP)
