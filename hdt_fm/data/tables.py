"""A batch as a table of what lies where in a slot: how a batch crosses from one process to another without its data."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from hdt_fm.data.slots import Slot
from hdt_fm.schema.batch import Batch, Signal
from hdt_fm.schema.coded import CodedBatch, CodedSignal
from hdt_fm.schema.errors import ConfigError

AnyBatch = Batch | CodedBatch
# Up to this size a tensor is copied out of its slot: who keeps ids does not keep the signals' memory.
COPIED_BYTES = 16384
_PARTS = (Batch, Signal, CodedBatch, CodedSignal)


@dataclass(frozen=True)
class _Lies:
    """Where a tensor lies in its slot; `spread` is the last axis where it repeats one column."""

    start: int
    shape: tuple[int, ...]
    dtype: torch.dtype
    spread: int | None = None


def lay_out(part: Any, slot: Slot) -> Any:
    """The table of a batch; tensors that lie elsewhere are copied into the slot.

    Raises:
        ConfigError: If they do not fit.
    """
    if isinstance(part, Tensor):
        return _lay(part, slot)
    if isinstance(part, _PARTS):
        return type(part), {field.name: lay_out(getattr(part, field.name), slot) for field in fields(part)}
    if isinstance(part, Mapping):
        return {name: lay_out(one, slot) for name, one in part.items()}
    return part


def read_out(table: Any, slot: Slot) -> Any:
    """The batch of a table, over the slot's memory."""
    if isinstance(table, _Lies):
        tensor = slot.at(table.start, table.shape, table.dtype)
        tensor = tensor.clone() if tensor.nbytes <= COPIED_BYTES else tensor
        return tensor if table.spread is None else tensor.expand(*table.shape[:-1], table.spread)
    if isinstance(table, dict):
        return {name: read_out(one, slot) for name, one in table.items()}
    if isinstance(table, tuple) and table and table[0] in _PARTS:
        return table[0](**{name: read_out(one, slot) for name, one in table[1].items()})
    return table


def _lay(tensor: Tensor, slot: Slot) -> _Lies:
    if tensor.ndim == 2 and tensor.shape[1] > 1 and tensor.stride(1) == 0:
        column = _lay(tensor[:, :1], slot)
        return _Lies(column.start, column.shape, column.dtype, tensor.shape[1])
    start = slot.place_of(tensor)
    if start is None:
        there = slot.tensor(tensor.shape, tensor.dtype)
        start = slot.place_of(there)
        if start is None:
            raise ConfigError(
                "A transform made a batch that is larger than a buffer",
                where="workers",
                expected="at most twice the bytes of the batch that it was given",
                fix="make it smaller, or use threads",
            )
        there.copy_(tensor)
    return _Lies(start, tuple(tensor.shape), tensor.dtype)
