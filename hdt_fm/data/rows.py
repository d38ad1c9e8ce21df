"""Rows of many blocks into one array, in any order, with one copy and no work per row in Python."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hdt_fm.data.shard_file import ShardFile

Member = tuple[ShardFile, int]
UNKNOWN = -1
# What numpy takes for the bytes of one array, repeated ones counted.
MOST_BYTES = 2**62
# A block has fewer rows than 2 ** 31, so the last of one is never followed by the first of the next.
_ROW_BITS = 32


@dataclass(frozen=True)
class RowPlan:
    """Which row of which block each window of a batch is. Made by `RowPlan.of`.

    Attributes:
        block, row: For each window.
        runs: (block, windows, rows) of each stretch where the windows lie in stored order; empty where they do not,
            since many short stretches cost more than rows taken one by one.
    """

    block: NDArray[np.int64]
    row: NDArray[np.int64]
    runs: tuple[tuple[int, slice, slice], ...]

    @classmethod
    def of(cls, block: NDArray[np.int64], row: NDArray[np.int64]) -> "RowPlan":
        """The plan for windows in `row` of `block`."""
        # One number a window, which rises by one within a stretch and nowhere else.
        place = (block << _ROW_BITS) + row
        breaks = (place[1:] - place[:-1] != 1).nonzero()[0]
        if not len(row) or 8 * (len(breaks) + 1) > max(len(row), 8):
            return cls(block, row, ())
        edges = [0, *(breaks + 1).tolist(), len(row)]
        runs = tuple(
            (int(block[first]), slice(first, last), slice(int(row[first]), int(row[first]) + last - first))
            for first, last in pairwise(edges)
        )
        return cls(block, row, runs)


class BlockRows:
    """One member of every block of a folder, as rows.

    Args:
        members: Of each block its shard and the member's number there, None where the block lacks it: then its rows
            are zeros.
        row_shape, dtype: Of a row.
    """

    def __init__(self, members: Sequence[Member | None], row_shape: tuple[int, ...], dtype: np.dtype) -> None:
        self.members, self.row_shape, self.dtype = members, row_shape, np.dtype(dtype)
        self.held = np.array([one is not None for one in members], dtype=np.bool_)
        self._zero = np.zeros(row_shape, dtype)
        self._most = max((int(one[0].members[one[1]]["shape"][0]) for one in members if one is not None), default=1)
        self._step = np.where(self.held, self._zero.size, 0)
        self._all_held = bool(self.held.all())
        # What may move (unpacked, fetched) is looked up for each batch and never kept here.
        self._reach = self._reach_of(np.where(self.held, UNKNOWN, _address_of(self._zero)))

    def __reduce__(self) -> tuple[type["BlockRows"], tuple[object, ...]]:
        # Addresses are of this process.
        return BlockRows, (self.members, self.row_shape, self.dtype)

    def take(self, plan: RowPlan, out: Tensor) -> None:
        """Copy the rows of a plan to `out` (window, ...), which is contiguous and of this dtype."""
        if not plan.runs:
            self._take_by_address(plan, out)
            return
        target = out.numpy()
        for block, places, rows in plan.runs:
            array = self.array(block)
            target[places] = 0 if array is None else array[rows]

    def array(self, block: int) -> NDArray | None:
        """All rows of a block."""
        member = self.members[block]
        return None if member is None else member[0].array(member[1])

    def _take_by_address(self, plan: RowPlan, out: Tensor) -> None:
        """One `index_select` over a view whose row i begins i elements after the lowest address; its rows overlap.

        numpy gathers from one array only, so that rows of several blocks in mixed order would be copied twice. Nothing
        is read but rows of arrays that are held while this runs.
        """
        if not len(plan.row):
            return
        reach, held = self._reach, None
        index = reach.start[plan.block]
        if index.min() < 0:
            reach, held = self._reach_further(plan.block[index < 0])
            index = reach.start[plan.block]
        if reach.everything is None:
            self._take_block_by_block(plan, out.numpy())
            return
        index += plan.row * (self._zero.size if self._all_held else self._step[plan.block])
        torch.index_select(reach.everything, 0, torch.from_numpy(index), out=out)
        del held

    def _take_block_by_block(self, plan: RowPlan, target: NDArray) -> None:
        for block in np.unique(plan.block).tolist():
            array, places = self.array(block), np.flatnonzero(plan.block == block)
            target[places] = 0 if array is None else array[plan.row[places]]

    def _reach_further(self, block: NDArray[np.int64]) -> tuple["_Reach", list[NDArray]]:
        """Also to these blocks; and what must be held while it is used."""
        address, held = self._reach.address.copy(), []
        for number in np.unique(block).tolist():
            array = self.array(number)
            assert array is not None
            assert array.shape[1:] == self.row_shape
            assert array.dtype == self.dtype
            assert array.flags.c_contiguous
            held.append(array)
            address[number] = _address_of(array)
        lasting = address.copy()
        for number in np.unique(block).tolist():
            if not self._lasts(number):
                lasting[number] = UNKNOWN
        if (lasting != self._reach.address).any():
            self._reach = self._reach_of(lasting)
        return self._reach_of(address), held

    def _reach_of(self, address: NDArray[np.int64]) -> "_Reach":
        known = address[address != UNKNOWN]
        first = int(known.min()) if len(known) else _address_of(self._zero)
        start = np.where(address == UNKNOWN, UNKNOWN, (address - first) // self.dtype.itemsize)
        # Past the first row of the furthest block come the rows of that block.
        count = int(start.max(initial=0)) + self._most * self._zero.size
        if count * self._zero.nbytes > MOST_BYTES:
            return _Reach(address, start, None)
        strides = (self.dtype.itemsize, *self._zero.strides)
        memory = _Memory(first, (count, *self.row_shape), strides, self.dtype.str)
        return _Reach(address, start, torch.from_numpy(np.asarray(memory)))

    def _lasts(self, block: int) -> bool:
        """Whether the block's rows lie in a map that is never closed."""
        member = self.members[block]
        return member is not None and member[0].tar.lasting and not member[0].members[member[1]]["codec"]


@dataclass(frozen=True)
class _Reach:
    """Where the first row of each block lies, as an address and as a place in a view of all of them.

    Attributes:
        everything: None where blocks of long rows lie so far apart that such a view cannot be described.
    """

    address: NDArray[np.int64]
    start: NDArray[np.int64]
    everything: Tensor | None


def _address_of(array: NDArray) -> int:
    return int(array.__array_interface__["data"][0])


class _Memory:
    """A stretch of this process's memory as numpy's array interface describes it; nothing is copied or owned."""

    def __init__(self, address: int, shape: tuple[int, ...], strides: tuple[int, ...], dtype: str) -> None:
        # Not marked read-only, which torch would warn of; nothing writes to it.
        self.__array_interface__ = {
            "version": 3,
            "data": (address, False),
            "shape": shape,
            "strides": strides,
            "typestr": dtype,
        }
