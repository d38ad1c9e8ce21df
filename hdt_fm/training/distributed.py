"""Rows of all processes for a loss that must see the whole batch, with the gradient of one process.

Each process encodes its slice of the batch, gathers the others' rows and computes the whole loss. MUST: a loss over
gathered rows is the same on every process, so it draws nothing from generators that differ between them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor, distributed

from hdt_fm.schema.batch import Batch, Signal
from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.shard import ModalityColumn
from hdt_fm.training.rows import PARTS, Record, combine, tensors_of

# Strategy of `pretrain` in which processes share the weights out (`sharding.py`).
SHARDED = "sharded"


def processes() -> int:
    """How many train together."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


@dataclass(frozen=True)
class Launch:
    """How many processes there are, as `pretrain` and Lightning's Trainer want it said."""

    devices: int
    num_nodes: int
    strategy: str


def launched(environment: Mapping[str, str], *, sharded: bool = False) -> Launch:
    """What torchrun (or srun with the same variables) has started; one process where it has not.

    Args:
        sharded: Several processes share the weights out; one has nobody to share them with.

    Raises:
        ConfigError: If the processes are not spread evenly over the nodes.
    """
    world = int(environment.get("WORLD_SIZE", "1"))
    local = int(environment.get("LOCAL_WORLD_SIZE", "1"))
    if world % local:
        raise ConfigError(
            "The processes are not spread evenly over the nodes",
            where="torchrun --nproc-per-node",
            expected="the same number on each node",
            got=f"{world} processes, {local} on this node",
        )
    # A modality may lack in one process's windows and not in another's: then its weights go unused there.
    of_several = SHARDED if sharded else "ddp_find_unused_parameters_true"
    return Launch(local, world // local, of_several if world > 1 else "auto")


def gather_rows(rows: Shaped[Tensor, "row ..."], counts: Sequence[int] | None = None) -> Shaped[Tensor, "all ..."]:
    """Rows of every process in the order of ranks, which is the order of the global batch.

    The gradient is that of one process with the whole batch once DDP has averaged over processes: since each process
    computes the same whole loss, it already holds the whole gradient of its own rows, which is handed on times the
    number of processes. So the backward pass communicates nothing, and no process can wait there for another.

    Args:
        counts: Rows of each process; asked for when not given.
    """
    if processes() == 1:
        return rows
    return _GatherRows.apply(rows, tuple(counts or row_counts(len(rows), rows.device)))


def row_counts(rows: int, device: torch.device | str) -> list[int]:
    """Rows of each process, in the order of ranks."""
    mine = torch.tensor([rows], device=device)
    counts = [torch.empty_like(mine) for _ in range(processes())]
    distributed.all_gather(counts, mine)
    return [int(count) for count in counts]


def gather(record: Record, columns: Sequence[ModalityColumn] = ()) -> Record:
    """A record of rows with the rows of every process: embeddings, projections, and the batches of an `Encoded`.

    Args:
        columns: Signals that batches keep, with their shapes, since one process may hold none of a modality that
            another has. Without them batches come back without signals: enough for a contrast, and far less to send.
    """
    if processes() == 1:
        return record
    first = tensors_of(record)[0]
    counts = row_counts(len(first), first.device)
    # `seen` and `whole` are often one batch.
    known: dict[int, Batch] = {}

    def batch_of_all(some: list[Batch]) -> Batch:
        if id(some[0]) not in known:
            known[id(some[0])] = _gather_batch(some[0], counts, columns)
        return known[id(some[0])]

    return combine([record], lambda some: gather_rows(some[0], counts), batch_of_all)


def _gather_batch(batch: Batch, counts: Sequence[int], columns: Sequence[ModalityColumn]) -> Batch:
    parts: dict[str, Any] = {name: getattr(batch, name) for name in PARTS}
    parts["signals"] = {column.name: batch.signals.get(column.name) or absent(batch, column) for column in columns}
    return replace(batch, **combine([parts], lambda some: gather_rows(some[0], counts), lambda some: some[0]))


def absent(batch: Batch, column: ModalityColumn) -> Signal:
    """A modality that no window of the batch holds."""
    like = batch.present
    values = torch.zeros(len(batch), column.channels, column.samples, device=like.device)
    observed = torch.zeros(len(batch), column.samples, dtype=torch.bool, device=like.device)
    return Signal(values, observed, column.sampling_rate_hz)


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, counts: tuple[int, ...]) -> Tensor:
        rank = distributed.get_rank()
        ctx.mine = slice(sum(counts[:rank]), sum(counts[: rank + 1]))
        # Slices of a batch may differ in size, and collectives need equal shapes: short ones are filled up.
        sent = rows.new_zeros(max(counts), *rows.shape[1:], dtype=torch.uint8 if rows.dtype == torch.bool else None)
        sent[: len(rows)] = rows
        received = [torch.empty_like(sent) for _ in counts]
        distributed.all_gather(received, sent)
        return torch.cat([part[:count] for part, count in zip(received, counts, strict=True)]).to(rows.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient[ctx.mine] * distributed.get_world_size(), None
