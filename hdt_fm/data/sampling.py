"""The order of windows in training: a pure function of (seed, epoch, position)."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hdt_fm.schema.errors import ShardError
from hdt_fm.schema.permutation import keyed_permutation


class ShardOrder:
    """Blocks in a seeded order, pooled by a few, windows mixed within a pool.

    Nothing is stored between calls but two small caches, so any process can make any stretch of any epoch.

    Args:
        blocks: Positions of the chosen windows in each block; empty blocks are passed over.
        seed: Of the whole run.
        pool_blocks: Blocks mixed together; more mixes better and touches more files per batch.

    Raises:
        ShardError: If there is no window at all.
    """

    def __init__(self, blocks: Sequence[NDArray[np.int64]], seed: int, pool_blocks: int = 8) -> None:
        self._blocks = [np.asarray(block, dtype=np.int64) for block in blocks if len(block)]
        if not self._blocks:
            raise ShardError("There is no window to draw from", fix="choose subjects that have windows")
        self.seed, self.pool_blocks = seed, pool_blocks
        self._sizes = np.array([len(block) for block in self._blocks])
        self._epoch = lru_cache(maxsize=2)(self._make_epoch)
        self._pool = lru_cache(maxsize=2)(self._make_pool)

    def __len__(self) -> int:
        """Windows in an epoch."""
        return int(self._sizes.sum())

    def positions(self, epoch: int, start: int, count: int) -> NDArray[np.int64]:
        """Positions of `count` windows from place `start` of `epoch` on, running into later epochs where needed."""
        epoch, start = epoch + start // len(self), start % len(self)
        parts: list[NDArray[np.int64]] = []
        while count > 0:
            _, ends = self._epoch(epoch)
            pool = int(np.searchsorted(ends, start, side="right"))
            first = int(ends[pool - 1]) if pool else 0
            part = self._pool(epoch, pool)[start - first :][:count]
            parts.append(part)
            start, count = start + len(part), count - len(part)
            if start == len(self):
                epoch, start = epoch + 1, 0
        return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)

    def _make_epoch(self, epoch: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Order of the blocks, and the place where each pool ends."""
        order = keyed_permutation(len(self._blocks), self.seed, epoch)
        starts = np.arange(0, len(order), self.pool_blocks)
        return order, np.cumsum(np.add.reduceat(self._sizes[order], starts))

    def _make_pool(self, epoch: int, pool: int) -> NDArray[np.int64]:
        order, _ = self._epoch(epoch)
        chosen = order[pool * self.pool_blocks : (pool + 1) * self.pool_blocks]
        windows = np.concatenate([self._blocks[block] for block in chosen])
        # Part 0 is the order of the blocks.
        return windows[keyed_permutation(len(windows), self.seed, epoch, pool + 1)]
