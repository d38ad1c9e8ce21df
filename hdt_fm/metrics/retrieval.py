"""Finding a window's partner in another modality, with the pool and what was left out of it stated."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hdt_fm.metrics._rows import rows
from hdt_fm.schema.errors import ShapeError

BLOCK = 1024


@dataclass(frozen=True)
class Ranks:
    """For each query: how many candidates beat the true match, tie with it, and stand in its pool (match included)."""

    greater: NDArray[np.int64]
    ties: NDArray[np.int64]
    pool: NDArray[np.int64]

    def hit(self, k: int) -> NDArray[np.float64]:
        """Chance that the match is among the first k when ties are broken at random; 0 or 1 without ties."""
        return np.clip((k - self.greater) / (self.ties + 1), 0.0, 1.0)

    def chance(self, k: int) -> NDArray[np.float64]:
        """The same for a ranking at random."""
        return np.minimum(1.0, k / self.pool)

    @property
    def rank(self) -> NDArray[np.float64]:
        """Expected rank, 1 for the best."""
        return 1 + self.greater + self.ties / 2


def _unit(values: NDArray) -> NDArray:
    length = np.linalg.norm(values, axis=1, keepdims=True)
    return values / np.where(length > 0, length, 1.0)


def ranks(
    query: ArrayLike,
    key: ArrayLike,
    subject: ArrayLike,
    time_s: ArrayLike,
    *,
    exclude_within_s: float | None = None,
    exclude_same_subject: bool = False,
    pool: int | None = None,
    seed: int = 0,
) -> Ranks:
    """Rank row i of `key` among all rows of `key` by cosine with row i of `query`.

    Args:
        exclude_within_s: Other windows of the same person at most so far away leave the pool.
        exclude_same_subject: All other windows of the same person leave the pool.
        pool: Size of the pool, match included: the others are drawn at random for each query. None, or more
            than there are: all.
        seed: Of that draw.

    Raises:
        ShapeError: If arrays do not fit, or `pool` is below 2.
    """
    (queries, keys, subjects, times), _ = rows(query, key, subject, time_s)
    if queries.shape != keys.shape or queries.ndim != 2 or (pool is not None and pool < 2):
        raise ShapeError(
            "Retrieval cannot be scored",
            expected="query and key of one shape (row, dim), pool of at least 2",
            got=f"query {queries.shape}, key {keys.shape}, pool {pool}",
        )
    queries, keys = _unit(queries.astype(np.float64)), _unit(keys.astype(np.float64))
    counts = []
    for start in range(0, len(queries), BLOCK):
        block = slice(start, start + BLOCK)
        similarity = queries[block] @ keys.T
        here = np.arange(len(similarity))
        match = similarity[here, here + start][:, None]
        same = subjects[block, None] == subjects[None]
        allowed = np.ones_like(same)
        if exclude_same_subject:
            allowed &= ~same
        elif exclude_within_s is not None:
            allowed &= ~(same & (np.abs(times[block, None] - times[None]) <= exclude_within_s))
        allowed[here, here + start] = False
        # A product summed in another order may differ in its last digits: that is a tie.
        near = np.abs(similarity - match) <= 1e-12
        counts.append(((allowed & (similarity > match) & ~near).sum(1), (allowed & near).sum(1), allowed.sum(1)))
    greater, ties, others = (np.concatenate(part).astype(np.int64) for part in zip(*counts, strict=True))
    if pool is not None:
        greater, ties, others = _drawn(greater, ties, others, pool - 1, np.random.default_rng(seed))
    return Ranks(greater, ties, others + 1)


def _drawn(
    greater: NDArray, ties: NDArray, others: NDArray, size: int, generator: np.random.Generator
) -> tuple[NDArray, NDArray, NDArray]:
    """How many of each kind a pool holds that is drawn without replacement: hypergeometric, no list needed."""
    drawn = np.minimum(others, size)
    more = generator.hypergeometric(greater, others - greater, drawn)
    equal = generator.hypergeometric(ties, others - greater - ties, drawn - more)
    return more, equal, drawn


def recall_at(
    query: ArrayLike,
    key: ArrayLike,
    subject: ArrayLike,
    time_s: ArrayLike,
    *,
    ks: Sequence[int] = (1, 5, 10),
    exclude_within_s: float | None = None,
    exclude_same_subject: bool = False,
    pool: int | None = None,
    seed: int = 0,
) -> dict[str, float]:
    """Share of queries whose match is among the first k, with pool, chance level and median rank.

    Arguments as in `ranks`.

    Returns:
        `r@k` and `chance@k` for each k, `pool` (mean size, match included), `median_rank`, `queries`.
    """
    found = ranks(
        query,
        key,
        subject,
        time_s,
        exclude_within_s=exclude_within_s,
        exclude_same_subject=exclude_same_subject,
        pool=pool,
        seed=seed,
    )
    scores = {f"r@{k}": float(found.hit(k).mean()) for k in ks}
    chances = {f"chance@{k}": float(found.chance(k).mean()) for k in ks}
    extent = {"pool": float(found.pool.mean()), "median_rank": float(np.median(found.rank))}
    return {**scores, **chances, **extent, "queries": float(len(found.rank))}
