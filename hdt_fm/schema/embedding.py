"""Embeddings of a whole cohort, cached once, on which heads and probes train in seconds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdt_fm.schema.errors import ShapeError
from hdt_fm.schema.shard import LabelColumn


@dataclass(frozen=True)
class EmbeddingTable:
    """Frozen-encoder outputs, one row a window, sorted by (subject, time).

    Attributes:
        embeddings: (window, modality, width); zeros where the modality is absent.
        projections: (window, modality, dim) of unit length; zeros where absent.
        present: (window, modality).
        fused: (window, width), what the model's fusion makes of the modalities present; None where it has none. It
            holds something of every modality: where some are to be lost, it must be made again of what is left.
        subject: Row of `subjects`.
        group: Integer equal for people who must stay on one side of a split.
        time_s: Start of the window; only differences within a subject mean anything.
        labels: One float a window; NaN where unknown.
        model_digest, data_digest: What made the table; a head refuses a table of another model.
    """

    modalities: tuple[str, ...]
    embeddings: NDArray[np.float32]
    projections: NDArray[np.float32]
    present: NDArray[np.bool_]
    subject: NDArray[np.int64]
    group: NDArray[np.int64]
    time_s: NDArray[np.float64]
    window_id: NDArray[np.int64]
    labels: Mapping[str, NDArray[np.float32]]
    label_columns: tuple[LabelColumn, ...]
    subjects: tuple[str, ...]
    window_s: float
    hop_s: float
    model_digest: str
    data_digest: str
    fused: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        size = len(self)
        for name, array in (("embeddings", self.embeddings), ("projections", self.projections)):
            if array.shape[:2] != (size, len(self.modalities)):
                raise ShapeError(
                    f"`{name}` does not fit the table",
                    expected=f"({size}, {len(self.modalities)}, width)",
                    got=str(array.shape),
                )
        if self.fused is not None and len(self.fused) != size:
            raise ShapeError("`fused` does not fit the table", expected=f"({size}, width)", got=str(self.fused.shape))

    def __len__(self) -> int:
        return int(self.subject.shape[0])

    def over(self, modalities: Sequence[str]) -> "EmbeddingTable":
        """The same windows with the columns of `modalities`; what the table lacks is absent, what is not named is gone,
        and with it `fused`, which was made of it too.

        A head of a model that knows more modalities than this cohort has reads them all.
        """
        if tuple(modalities) == self.modalities:
            return self
        shared = [name for name in modalities if name in self.modalities]
        mine = [self.modalities.index(name) for name in shared]
        place = [list(modalities).index(name) for name in shared]
        wide: dict[str, Any] = {}
        for name in ("embeddings", "projections", "present"):
            array: NDArray = getattr(self, name)
            wide[name] = np.zeros((len(self), len(modalities), *array.shape[2:]), dtype=array.dtype)
            wide[name][:, place] = array[:, mine]
        fused = self.fused if len(shared) == len(self.modalities) else None
        return replace(self, modalities=tuple(modalities), fused=fused, **wide)

    def features(self) -> NDArray[np.float32]:
        """Embeddings side by side, absent ones zero, then presence as 0/1: (window, modality * width + modality)."""
        flat = self.embeddings.reshape(len(self), -1)
        return np.concatenate([flat, self.present.astype(np.float32)], axis=1)
