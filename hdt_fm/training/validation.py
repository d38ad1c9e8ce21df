"""What a pretraining run is judged by on the way: retrieval between modalities and whether the space collapsed."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from hdt_fm.metrics.collapse import effective_rank
from hdt_fm.metrics.retrieval import recall_at
from hdt_fm.schema.batch import Batch
from hdt_fm.schema.protocols import Embeddings

POOL = 1024


class Pool:
    """Projections of the first `POOL` validation windows."""

    def __init__(self, modalities: Sequence[str]) -> None:
        self.modalities = tuple(modalities)
        self._parts: list[tuple[NDArray, NDArray, NDArray, NDArray]] = []
        self._size = 0

    def add(self, projections: Embeddings, batch: Batch) -> None:
        """Take what still fits in."""
        room = POOL - self._size
        if room > 0:
            tensors = (projections.values.float(), projections.present, batch.subject, batch.time_s)
            values, present, subject, time_s = (tensor[:room].detach().cpu().numpy() for tensor in tensors)
            self._parts.append((values, present, subject, time_s))
            self._size += len(present)

    def scores(self) -> dict[str, float]:
        """`r1/<a>-<b>` (mean of both directions) and its `pool/<a>-<b>`; `effective_rank/<m>`.

        The pool is every window of the pool that holds both, the same person's included. A pair or modality that
        fewer than two windows hold is left out.
        """
        if not self._parts:
            return {}
        values, present, subject, time_s = (np.concatenate(part) for part in zip(*self._parts, strict=True))
        found: dict[str, float] = {}
        for a, b in combinations(range(len(self.modalities)), 2):
            both = present[:, a] & present[:, b]
            if both.sum() >= 2:
                one, other, who, when = values[both, a], values[both, b], subject[both], time_s[both]
                hits = [recall_at(*way, who, when, ks=(1,))["r@1"] for way in ((one, other), (other, one))]
                pair = f"{self.modalities[a]}-{self.modalities[b]}"
                found[f"r1/{pair}"], found[f"pool/{pair}"] = float(np.mean(hits)), float(both.sum())
        for column, name in enumerate(self.modalities):
            here = present[:, column]
            if here.sum() >= 2:
                found[f"effective_rank/{name}"] = effective_rank(values[here, column])
        return found
