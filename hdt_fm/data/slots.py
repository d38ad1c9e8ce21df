"""A ring of buffers for batches: lent out, and taken back when nobody holds a tensor of the batch any more."""

import logging
import math
import weakref
from collections import deque
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

ALIGNMENT = 64
Memory = NDArray[np.uint8]
_log = logging.getLogger(__name__)


def padded(count: int) -> int:
    """Bytes that `count` bytes take in a slot."""
    return -(-count // ALIGNMENT) * ALIGNMENT


class Fresh:
    """New memory for each tensor: what a batch is gathered into where no slot is lent."""

    def tensor(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """An array whose values are not set."""
        return torch.empty(tuple(shape), dtype=dtype)


class Slot:
    """Tensors one after the other in one stretch of memory; what does not fit gets new memory.

    Args:
        memory: Kept alive by each tensor that is made here.
    """

    def __init__(self, memory: Memory) -> None:
        self._flat, self._end = torch.from_numpy(memory), 0
        self._views: dict[torch.dtype, Tensor] = {}

    def tensor(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """An array whose values are not set."""
        start, size = self._end, math.prod(shape) * dtype.itemsize
        if start + size > self._flat.shape[0]:
            return torch.empty(tuple(shape), dtype=dtype)
        self._end = start + padded(size)
        return self.at(start, shape, dtype)

    def at(self, start: int, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """The tensor that begins at a byte."""
        if dtype not in self._views:
            self._views[dtype] = self._flat.view(dtype)
        shape = tuple(shape)
        return self._views[dtype].as_strided(shape, _strides(shape), start // dtype.itemsize)

    def place_of(self, tensor: Tensor) -> int | None:
        """The byte at which a contiguous tensor begins; None where it lies elsewhere."""
        start = tensor.data_ptr() - self._flat.data_ptr()
        inside = 0 <= start <= self._flat.shape[0] - tensor.nbytes and tensor.is_contiguous()
        return start if inside else None


@cache
def _strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Of contiguous memory; a run meets few shapes."""
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


Room = Fresh | Slot


class SlotRing:
    """Memory for `slots` batches, made when first needed.

    A lease ends when the last tensor over its memory is gone, views and `numpy()` included; then the slot is lent
    again. When all are lent, a batch gets memory of its own and one warning says so: nothing is ever overwritten
    that somebody holds. The newest slot to come back is lent first, since it is still in the processor's cache.

    Threads may lease at once, and leases may end on any thread or inside a garbage collection: there is no lock
    that a fork or a finaliser could find taken.

    Args:
        slot_bytes: Of one batch.
        pin: Page-locked memory, for copies to a GPU beside its work; a slot is lent again only after the work that
            was queued on the current stream when its lease ended.
    """

    def __init__(self, slot_bytes: int, slots: int, *, pin: bool = False) -> None:
        self.slot_bytes, self.slots, self.pin = padded(slot_bytes), slots, pin
        # None is a slot that was not made yet; the second of a pair is the event that it waits for.
        self._free: deque[tuple[Memory, Any] | None] = deque([None] * slots)
        self._warned = False

    def lease(self) -> Memory:
        """Memory of `slot_bytes`, the caller's until the array and all tensors over it are gone."""
        try:
            free = self._free.pop()
        except IndexError:
            self._warn()
            return np.empty(self.slot_bytes, dtype=np.uint8)
        if free is None:
            memory = self._new()
        else:
            memory, copied = free
            if copied is not None:
                copied.synchronize()
        lent = memory[:]
        weakref.finalize(lent, self._take_back, memory).atexit = False
        return lent

    def __getstate__(self) -> dict[str, Any]:
        # Memory does not travel; the ring of another process begins empty.
        return self.__dict__ | {"_free": deque([None] * self.slots)}

    def _take_back(self, memory: Memory) -> None:
        copied = None
        if self.pin:
            copied = torch.cuda.Event()
            copied.record()
        self._free.append((memory, copied))

    def _new(self) -> Memory:
        if self.pin:
            return torch.empty(self.slot_bytes, dtype=torch.uint8, pin_memory=True).numpy()
        return np.empty(self.slot_bytes, dtype=np.uint8)

    def _warn(self) -> None:
        if not self._warned:
            self._warned = True
            warn_of_copies(self.slots)


def warn_of_copies(slots: int) -> None:
    """Say that batches are held for longer than there are buffers."""
    _log.warning(
        "All %d batch buffers are held; further batches get memory of their own. "
        "Drop batches that are done with, or raise `slots`.",
        slots,
    )
