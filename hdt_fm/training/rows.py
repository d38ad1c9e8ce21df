"""Walks through what a model says of a batch, whatever record that is: rows join, and rows of processes join."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from hdt_fm.schema.batch import Batch
from hdt_fm.schema.errors import ShapeError

Record = TypeVar("Record")
# Fields of a Batch that have a row for each window.
PARTS = ("signals", "present", "subject", "time_s", "window_id", "labels")


def combine(
    records: Sequence[Record],
    tensors: Callable[[list[Tensor]], Tensor],
    batches: Callable[[list[Batch]], Batch],
) -> Record:
    """One record from several of one form: each tensor by `tensors`, each Batch by `batches`, the rest as the first.

    Args:
        records: Frozen dataclasses of tensors (first axis: rows), batches, mappings and further dataclasses; plain
            values must not differ from one record to the next.
        tensors, batches: Called in the order of the fields, which is the same for every record of a form.
    """
    first: Any = records[0]
    if isinstance(first, Tensor):
        return tensors(list(records))  # type: ignore[arg-type, return-value]
    if isinstance(first, Batch):
        return batches(list(records))  # type: ignore[arg-type, return-value]
    if isinstance(first, Mapping):
        return {key: combine([record[key] for record in records], tensors, batches) for key in first}  # type: ignore
    if is_dataclass(first) and not isinstance(first, type):
        names = [field.name for field in fields(first)]
        parts = {name: combine([getattr(record, name) for record in records], tensors, batches) for name in names}
        return replace(first, **parts)  # type: ignore[return-value]
    return first


def outputs_of(record: object) -> list[Tensor]:
    """The floating tensors outside a Batch, in order: what gradients flow through."""
    return [tensor for tensor in tensors_of(record) if tensor.is_floating_point()]


def tensors_of(record: object) -> list[Tensor]:
    """All tensors outside a Batch, in order."""
    found: list[Tensor] = []

    def keep(some: list[Tensor]) -> Tensor:
        found.append(some[0])
        return some[0]

    combine([record], keep, lambda some: some[0])
    return found


def with_outputs(record: Record, outputs: Sequence[Tensor]) -> Record:
    """The same record with other tensors in the place of `outputs_of(record)`."""
    left = iter(outputs)
    return combine([record], lambda some: next(left) if some[0].is_floating_point() else some[0], lambda some: some[0])


def join_batches(batches: Sequence[Batch]) -> Batch:
    """Windows of one batch after those of another.

    Raises:
        ShapeError: If one lacks a signal or label that another has.
    """
    first = batches[0]
    for batch in batches:
        if batch.signals.keys() != first.signals.keys() or batch.labels.keys() != first.labels.keys():
            raise ShapeError("Batches with different signals or labels cannot be joined")
    parts = {name: combine([_parts(batch)[name] for batch in batches], torch.cat, join_batches) for name in PARTS}
    return replace(first, **parts)


def cut(batch: Batch, start: int, stop: int) -> Batch:
    """Windows `start` to `stop`, without a copy."""
    parts = combine([_parts(batch)], lambda some: some[0][start:stop], join_batches)
    return replace(batch, **parts)


def _parts(batch: Batch) -> dict[str, Any]:
    return {name: getattr(batch, name) for name in PARTS}
