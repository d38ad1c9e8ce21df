"""One embedding of a window from those of its modalities, beside the plain mean of them."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float

from hdt_fm.evaluation.standardise import side_by_side
from hdt_fm.schema.embedding import EmbeddingTable

FUSED = "encoder, fused"
MEAN = "encoder, mean of modalities"
# What a model's fusion makes of the modalities present: (names, embeddings, present) -> one embedding a window. It is
# called again wherever some are lost or left out: an embedding made of all of them would still tell of what is gone.
Fuse = Callable[[Sequence[str], np.ndarray, np.ndarray], np.ndarray]


def mean_of(
    modalities: Sequence[str],
    embeddings: Float[np.ndarray, "row modality width"],
    present: Bool[np.ndarray, "row modality"],
) -> Float[np.ndarray, "row width"]:
    """The mean of those present, which a fusion begins as; zeros where there is none."""
    kept = np.where(present[..., None], embeddings, 0.0)
    return kept.sum(axis=1) / np.maximum(present.sum(axis=1, keepdims=True), 1)


def with_mean(fuse: Sequence[Fuse] | None) -> Mapping[str, Sequence[Fuse]]:
    """Ways of making one embedding, by name: ours and the mean beside it; none where the encoder has no fusion."""
    return {FUSED: fuse, MEAN: [mean_of]} if fuse else {}


def by_fold(tables: Sequence[EmbeddingTable], fuse: Sequence[Fuse]) -> list[tuple[EmbeddingTable, Fuse]]:
    """Each table with the fusion of the model that made it; one fusion serves all."""
    return list(zip(tables, list(fuse) * len(tables) if len(fuse) == 1 else fuse, strict=True))


def fused_values(
    modalities: Sequence[str],
    embeddings: Float[np.ndarray, "row modality width"],
    present: Bool[np.ndarray, "row modality"],
    fuse: Fuse,
) -> Float[np.ndarray, "row width"]:
    """The fused embeddings; NaN where no modality is present."""
    values = np.asarray(fuse(modalities, embeddings, present), dtype=np.float64)
    return np.where(present.any(axis=1, keepdims=True), values, np.nan)


def fused_features(table: EmbeddingTable, fuse: Fuse) -> Float[np.ndarray, "row feature"]:
    """The fused embedding, then the presence of each modality where that varies."""
    varies = table.present.any(axis=0) & ~table.present.all(axis=0)
    values = fused_values(table.modalities, table.embeddings, table.present, fuse)
    return side_by_side(values, table.present[:, varies].astype(np.float64))
