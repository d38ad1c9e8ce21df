"""Windows of one modality out of the blocks of a folder, into memory that is given."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Bool
from numpy.typing import NDArray
from torch import Tensor

from hdt_fm.data.rows import BlockRows, RowPlan
from hdt_fm.data.shard_file import ShardFile
from hdt_fm.data.slots import Room, padded
from hdt_fm.schema.batch import Signal
from hdt_fm.schema.coded import CodedSignal
from hdt_fm.schema.shard import ModalityColumn

NOTHING = np.empty(0, dtype=np.int64)
Here = NDArray[np.bool_] | None


def room_bytes(columns: Sequence[ModalityColumn], windows: int) -> int:
    """Memory that suffices for any `windows` windows: values, masks, and codes on their way to values."""
    total = 0
    for column in columns:
        samples = column.channels * column.samples
        total += padded(4 * windows * samples) + padded(windows * column.samples)
        total += padded(windows * -(-column.samples // 8))
        total += padded(2 * windows * samples) if column.encoding == "i16" else 0
    return total


class ModalityRows:
    """One modality of all blocks of a folder.

    Args:
        blocks: Of each block its shard, and its members by name.
    """

    def __init__(self, column: ModalityColumn, blocks: Sequence[tuple[ShardFile, Mapping[str, int]]]) -> None:
        def members(name: str) -> list[tuple[ShardFile, int] | None]:
            return [(shard, names[name]) if name in names else None for shard, names in blocks]

        self.column = column
        dtype = np.dtype("<i2" if column.encoding == "i16" else "<f4")
        self.values = BlockRows(members(column.name), (column.channels, column.samples), dtype)
        packed = members(f"{column.name}_observed")
        self.masks = BlockRows(packed, (-(-column.samples // 8),), np.dtype("u1"))
        self._any_mask = bool(self.masks.held.any())
        # Of the batch before, nearly always of the same size; stride 0, so nobody can write into it.
        self._all = torch.ones(1, 1, dtype=torch.bool).expand(2, column.samples)

    def signal(self, plan: RowPlan, here: Here, room: Room) -> Signal:
        """The windows of a plan as values in their canonical unit.

        Args:
            here: Which of them hold the modality; None if all do.
        """
        column = self.column
        values = room.tensor((len(plan.row), column.channels, column.samples), torch.float32)
        if column.encoding == "i16":
            self._decode(plan, values, room)
        else:
            self.values.take(plan, values)
        observed, partly = self._observed(plan, here, room)
        if len(partly):
            # Code 0 is not value 0: what was not observed is zero again only after this.
            rows = torch.from_numpy(partly)
            values[rows] = torch.where(observed[rows][:, None], values[rows], 0.0)
        return Signal(values, observed, column.sampling_rate_hz)

    def codes(self, plan: RowPlan, here: Here, room: Room) -> CodedSignal:
        """The windows of a plan as they are stored, where that is int16. See `signal`."""
        column = self.column
        codes = room.tensor((len(plan.row), column.channels, column.samples), torch.int16)
        self.values.take(plan, codes)
        observed, partly = self._observed(plan, here, room)
        return CodedSignal(codes, observed, column.sampling_rate_hz, column.lsb, column.offset, not len(partly))

    def _decode(self, plan: RowPlan, values: Tensor, room: Room) -> None:
        target, lsb = values.numpy(), np.float32(self.column.lsb)
        for block, places, rows in plan.runs:
            array = self.values.array(block)
            if array is None:
                target[places] = 0
            else:
                np.multiply(array[rows], lsb, out=target[places])
        if not plan.runs:
            codes = room.tensor(values.shape, torch.int16)
            self.values.take(plan, codes)
            np.multiply(codes.numpy(), lsb, out=target)
        if self.column.offset:
            target += np.float32(self.column.offset)

    def _observed(self, plan: RowPlan, here: Here, room: Room) -> tuple[Bool[Tensor, "batch time"], NDArray[np.int64]]:
        """The mask, and the windows that were not wholly observed.

        Nearly every block is without a gap and has no mask: then one column says all, spread over time without a copy.
        """
        windows, samples = len(plan.row), self.column.samples
        if not self._any_mask or not (masked := self.masks.held[plan.block]).any():
            if here is None:
                whole = self._all
                if whole.shape[0] != windows:
                    self._all = whole = whole[:1, :1].expand(windows, samples)
                return whole, NOTHING
            return torch.from_numpy(here.copy())[:, None].expand(-1, samples), np.flatnonzero(~here)
        bits = room.tensor((windows, -(-samples // 8)), torch.uint8)
        self.masks.take(plan, bits)
        seen = np.unpackbits(bits.numpy(), axis=1, count=samples).view(np.bool_)
        seen[~masked] = True
        observed = room.tensor((windows, samples), torch.bool)
        np.logical_and(seen, True if here is None else here[:, None], out=observed.numpy())
        return observed, np.flatnonzero(~observed.numpy().all(axis=1))
