"""What every Result says of how it was made."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hdt_fm.evaluation.folds import Fold
from hdt_fm.evaluation.targets import Target
from hdt_fm.schema.embedding import EmbeddingTable


def protocol_record(
    table: EmbeddingTable,
    target: Target,
    folds: Sequence[Fold],
    *,
    checks: Mapping[str, str],
    draws: int,
    seed: int,
) -> dict[str, Any]:
    """The part of a protocol that classification, regression and forecasting share; plain JSON values."""
    return {
        "label": target.name,
        "folds": len(folds),
        "split": f"{len(folds)} folds, people disjoint",
        "people": len(np.unique(table.group[target.scored])),
        "windows": int(target.scored.sum()),
        "window_s": table.window_s,
        "audit": dict(checks),
        "intervals": f"95 % percentile, {draws} resamples of people, paired across models",
        "seed": seed,
        "modalities": list(table.modalities),
        "model_digest": table.model_digest,
        "data_digest": table.data_digest,
    }
