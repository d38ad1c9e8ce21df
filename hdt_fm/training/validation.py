"""What a pretraining run is judged by on the way: retrieval between modalities and whether the space collapsed."""

import math
from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from hdt_fm.metrics.collapse import alignment, effective_rank, uniformity
from hdt_fm.metrics.retrieval import recall_at
from hdt_fm.schema.batch import Batch
from hdt_fm.schema.modalities import STATIC
from hdt_fm.schema.protocols import Embeddings

POOL = 1024
# Uniformity takes rows x rows memory and time; its mean over pairs of rows needs no more.
UNIFORMITY_ROWS = 512
# A modality whose windows fill fewer directions than two lie on a line: it can tell one thing of a window, if any.
COLLAPSED_RANK = 2.0
# Below so many windows a small rank says nothing: n points fill n - 1 directions at most.
COLLAPSE_WINDOWS = 32


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
        """Of pairs `r1/<a>-<b>` (mean of both directions), its `pool/<a>-<b>` and `alignment/<a>-<b>`; of modalities
        `effective_rank/<m>` and `uniformity/<m>` (of the first `UNIFORMITY_ROWS` windows).

        The pool is every window of the pool that holds both, the same person's included. A pair or modality that
        fewer than two windows hold is left out, and so is `static`: equal in all windows of a person, it finds no
        window among them, and few people fill few directions.
        """
        if not self._parts:
            return {}
        values, present, subject, time_s = (np.concatenate(part) for part in zip(*self._parts, strict=True))
        found: dict[str, float] = {}
        signals = [column for column, name in enumerate(self.modalities) if name != STATIC]
        for a, b in combinations(signals, 2):
            both = present[:, a] & present[:, b]
            if both.sum() >= 2:
                one, other, who, when = values[both, a], values[both, b], subject[both], time_s[both]
                hits = [recall_at(*way, who, when, ks=(1,))["r@1"] for way in ((one, other), (other, one))]
                pair = f"{self.modalities[a]}-{self.modalities[b]}"
                found[f"r1/{pair}"], found[f"pool/{pair}"] = float(np.mean(hits)), float(both.sum())
                found[f"alignment/{pair}"] = alignment(one, other)
        for column in signals:
            here, name = present[:, column], self.modalities[column]
            if here.sum() >= 2:
                found[f"effective_rank/{name}"] = effective_rank(values[here, column])
                found[f"uniformity/{name}"] = uniformity(values[here, column][:UNIFORMITY_ROWS])
        return found

    def collapsed(self, scores: Mapping[str, float]) -> dict[str, float]:
        """Effective rank of modalities that have collapsed, among those with `COLLAPSE_WINDOWS` windows or more.

        Args:
            scores: What `scores` said.
        """
        held = sum((present.sum(0) for _, present, _, _ in self._parts), np.zeros(len(self.modalities), dtype=int))
        ranks = {name: scores.get(f"effective_rank/{name}", math.inf) for name in self.modalities}
        enough = dict(zip(self.modalities, held >= COLLAPSE_WINDOWS, strict=True))
        return {name: rank for name, rank in ranks.items() if enough[name] and rank < COLLAPSED_RANK}
