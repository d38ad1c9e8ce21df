"""Feature matrices and their scaling: fitted on training people, with a record of whom it saw."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Num

from hdt_fm.evaluation.audit import FittedOn
from hdt_fm.schema.embedding import EmbeddingTable
from hdt_fm.schema.errors import ShapeError

Features = Float[np.ndarray, "row feature"]


@dataclass(frozen=True)
class Standardise:
    """Centre and scale of each feature; a missing value becomes the training mean."""

    center: Float[np.ndarray, " feature"]
    scale: Float[np.ndarray, " feature"]
    fitted_on: FittedOn

    @classmethod
    def fit(cls, features: Num[np.ndarray, "row feature"], group: Int[np.ndarray, " row"]) -> "Standardise":
        """Mean and standard deviation over the known values; a constant or never known feature gets scale 1."""
        known = np.isfinite(features)
        count = np.maximum(known.sum(axis=0), 1)
        center = np.where(known, features, 0.0).sum(axis=0) / count
        spread = np.sqrt(np.where(known, (features - center) ** 2, 0.0).sum(axis=0) / count)
        constant = spread <= 1e-12 * np.maximum(np.abs(center), 1.0)
        return cls(center.astype(np.float64), np.where(constant, 1.0, spread), FittedOn.of(group))

    def __call__(self, features: Num[np.ndarray, "row feature"]) -> Features:
        """Scaled features without gaps, float64."""
        scaled = (features - self.center) / self.scale
        return np.where(np.isfinite(scaled), scaled, 0.0)


def embedding_features(table: EmbeddingTable) -> Features:
    """Embeddings side by side, NaN where a modality is absent, then its presence where that varies."""
    values = table.embeddings.astype(np.float64)
    values[~table.present] = np.nan
    varies = table.present.any(axis=0) & ~table.present.all(axis=0)
    return np.concatenate([values.reshape(len(table), -1), table.present[:, varies].astype(np.float64)], axis=1)


def side_by_side(*features: Num[np.ndarray, "row _"]) -> Features:
    """Two or more feature matrices of the same windows as one."""
    return np.concatenate([np.asarray(one, dtype=np.float64) for one in features], axis=1)


def scaled_per_person(features: Num[np.ndarray, "row feature"], subject: Int[np.ndarray, " row"]) -> Features:
    """Each person's features by that person's own mean and deviation over the whole session.

    Transductive: it uses a test person's later windows (never their labels), so it cannot run live.
    """
    out = np.full(features.shape, np.nan)
    for person in np.unique(subject):
        rows = np.flatnonzero(subject == person)
        own = Standardise.fit(features[rows], subject[rows])
        out[rows] = (features[rows] - own.center) / own.scale
    return out


def recent_mean(
    features: Num[np.ndarray, "row feature"],
    subject: Int[np.ndarray, " row"],
    time_s: Float[np.ndarray, " row"],
    *,
    minutes: float,
) -> Features:
    """Mean over the person's windows that start within the last minutes, this one included; causal, NaN if unknown."""
    out = np.full(features.shape, np.nan)
    for person in np.unique(subject):
        rows = np.flatnonzero(subject == person)
        rows = rows[np.argsort(time_s[rows], kind="stable")]
        known = np.isfinite(features[rows])
        total = np.cumsum(np.where(known, features[rows], 0.0), axis=0)
        count = np.cumsum(known, axis=0)
        # Windows before the stretch; a hair of a second, so that rounding of times does not add one.
        before = np.searchsorted(time_s[rows], time_s[rows] - minutes * 60 + 1e-6)
        early = before > 0
        for sums in (total, count):
            sums[early] -= sums[before[early] - 1]
        out[rows] = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return out


def minus_own_start(
    features: Num[np.ndarray, "row feature"],
    subject: Int[np.ndarray, " row"],
    time_s: Float[np.ndarray, " row"],
    *,
    minutes: float,
    window_s: float,
) -> Features:
    """Features minus the person's mean over the windows that end within the first minutes; unlabelled, causal."""
    out = np.full(features.shape, np.nan)
    for person in np.unique(subject):
        rows = np.flatnonzero(subject == person)
        since = time_s[rows] - time_s[rows].min()
        start = features[rows[since + window_s <= minutes * 60]]
        known = np.isfinite(start)
        mean = np.where(known, start, 0.0).sum(axis=0) / np.where(known.any(axis=0), known.sum(axis=0), np.nan)
        out[rows] = features[rows] - mean
    return out


def after_own_start(
    subject: Int[np.ndarray, " row"], time_s: Float[np.ndarray, " row"], *, minutes: float
) -> Bool[np.ndarray, " row"]:
    """Which windows start after the person's first minutes, and so may be scored."""
    keep = np.zeros(len(subject), dtype=np.bool_)
    for person in np.unique(subject):
        rows = np.flatnonzero(subject == person)
        keep[rows] = time_s[rows] - time_s[rows].min() >= minutes * 60
    return keep


def check_same_windows(table: EmbeddingTable, others: Sequence[EmbeddingTable], *, where: str) -> None:
    """Refuse tables that do not hold the same windows in the same order.

    Raises:
        ShapeError: If a table has other windows, or the same ones in another order.
    """
    for other in others:
        same = len(other) == len(table) and bool(np.array_equal(other.window_id, table.window_id))
        if not same or other.subjects != table.subjects or not np.array_equal(other.subject, table.subject):
            raise ShapeError(
                "Two embedding tables do not hold the same windows",
                expected=f"the {len(table)} windows of the main table, in its order",
                got=f"{len(other)} windows",
                where=where,
                fix="embed the same shard folder with both models",
            )
