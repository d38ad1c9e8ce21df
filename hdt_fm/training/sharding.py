"""Weights shared out: each process keeps a part of every block, and is sent the rest while the block runs (FSDP2).

Parts that are `Stacked` are cut, block by block; what is left, heads and loss, is small and stays whole everywhere.
MUST: every process runs the same parts in the same order, since a part that runs waits for all of them.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from pytorch_lightning.strategies import DDPStrategy
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer

from hdt_fm.schema.batch import Batch
from hdt_fm.schema.protocols import Stacked
from hdt_fm.schema.shard import ModalityColumn
from hdt_fm.training.distributed import absent
from hdt_fm.training.rows import Record, combine, cut, join_batches


class Sharded(DDPStrategy):
    """The processes of DDP, but weights and what the optimizer knows of them are cut instead of copied.

    A checkpoint is the file that one process would write: whole tensors, put together on each process, written by the
    first. So a run goes on with any number of processes, with cut weights or without.

    Attributes:
        whole: State of the Lightning module, on the CPU: as it began, then as at the last checkpoint.
    """

    whole: dict[str, Tensor]

    def _setup_model(self, model: nn.Module) -> Any:
        # A closed-form start may come out differently on two machines; parts of two solutions are none.
        for tensor in model.state_dict().values():
            distributed.broadcast(tensor, 0)
        self.whole = _whole(model.state_dict())
        shard(model, self.root_device.type)
        return model

    def _register_ddp_hooks(self) -> None:
        """There is no DDP around the module."""

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """Whole tensors; every process MUST ask."""
        assert self.lightning_module is not None
        self.whole = _whole(self.lightning_module.state_dict())
        return self.whole

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        """Whole tensors; every process MUST ask."""
        said: dict[str, Any] = super().optimizer_state(optimizer)
        return {**said, "state": {number: _whole(known) for number, known in said["state"].items()}}

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        """Give each process its part."""
        for optimizer, said in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            weights = [weight for group in optimizer.param_groups for weight in group["params"]]
            state = {
                number: {name: _part_of(value, weights[number]) for name, value in known.items()}
                for number, known in said["state"].items()
            }
            optimizer.load_state_dict({**said, "state": state})

    def teardown(self) -> None:
        """Weights stay on their device: those of the others could not follow to the CPU."""
        assert self.cluster_environment is not None
        assert self.accelerator is not None
        self.cluster_environment.teardown()
        self.precision_plugin.teardown()
        self.accelerator.teardown()


def shard(model: nn.Module, device: str) -> None:
    """Cut the weights of every part that is `Stacked`, in place."""
    mesh = init_device_mesh(device, (distributed.get_world_size(),))
    for part in [part for part in model.modules() if isinstance(part, Stacked)]:
        for block in part.blocks:
            fully_shard(block, mesh=mesh)
        fully_shard(part, mesh=mesh)


@torch.no_grad()
def clip_shared(parameters: Iterable[nn.Parameter], limit: float) -> Tensor:
    """As `clip_grad_norm_`, over all processes; gradients of whole weights become their mean over processes first, as
    those of cut ones are. Every process MUST hold gradients of the same weights."""
    gradients = [weight.grad for weight in parameters if weight.grad is not None]
    parts = [one.to_local() for one in gradients if isinstance(one, DTensor)]
    alike = [one for one in gradients if not isinstance(one, DTensor)]
    _take_mean(alike)
    square = _square(parts, gradients[0].device)
    distributed.all_reduce(square)
    norm = (square + _square(alike, square.device)).sqrt()
    torch._foreach_mul_([*parts, *alike], (limit / (norm + 1e-6)).clamp(max=1.0))
    return norm


def held_anywhere(batch: Batch, columns: Sequence[ModalityColumn]) -> tuple[ModalityColumn, ...]:
    """The modalities that a window of some process holds in this step; every process MUST ask."""
    here = batch.over([column.name for column in columns]).present.any(0).to(torch.uint8)
    distributed.all_reduce(here, distributed.ReduceOp.MAX)
    return tuple(column for column, held in zip(columns, here.tolist(), strict=True) if held)


def encode_all(encode: Callable[[Batch], Record], batch: Batch, columns: Sequence[ModalityColumn]) -> Record:
    """`encode(batch)`, in which every one of `columns` is encoded: where the batch lacks one, a window that holds them
    all, and nothing observed, stands in, and is cut off again. So its weights get gradients of exactly zero.

    Args:
        encode: Rows in, a record of rows out (see `rows.combine`); each row MUST depend on its own window alone.
    """
    if all(column.name in batch.signals and bool(batch.column(column.name).any()) for column in columns):
        return encode(batch)
    missing = {column.name: absent(batch, column) for column in columns if column.name not in batch.signals}
    filled = replace(batch, signals={**batch.signals, **missing})
    longer = join_batches([filled, _stand_in(cut(filled, 0, 1), columns)])
    record = encode(longer)
    return combine([record], lambda some: some[0][: len(batch)], lambda some: _first(some[0], longer, batch))


def _stand_in(one: Batch, columns: Sequence[ModalityColumn]) -> Batch:
    present = torch.zeros_like(one.present)
    for column in columns:
        present[:, one.modalities.index(column.name)] = True
    signals = {
        name: replace(signal, values=torch.zeros_like(signal.values), observed=torch.zeros_like(signal.observed))
        for name, signal in one.signals.items()
    }
    return replace(one, signals=signals, present=present)


def _first(some: Batch, longer: Batch, batch: Batch) -> Batch:
    return batch if some is longer else cut(some, 0, len(batch))


def _whole(state: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _put_together(value) for name, value in state.items()}


def _put_together(value: Any) -> Any:
    if not isinstance(value, Tensor):
        return value
    return (value.full_tensor() if isinstance(value, DTensor) else value).detach().cpu().clone()


def _part_of(value: Any, weight: nn.Parameter) -> Any:
    if not (isinstance(weight, DTensor) and isinstance(value, Tensor) and value.shape == weight.shape):
        return value
    # Each process has read the whole file, so nothing is sent.
    return distribute_tensor(value.to(weight.device), weight.device_mesh, weight.placements, src_data_rank=None)


def _take_mean(gradients: Sequence[Tensor]) -> None:
    if gradients:
        flat = torch.cat([one.flatten() for one in gradients])
        distributed.all_reduce(flat)
        flat /= distributed.get_world_size()
        for one, mean in zip(gradients, flat.split([one.numel() for one in gradients]), strict=True):
            one.copy_(mean.view_as(one))


def _square(tensors: Sequence[Tensor], device: torch.device) -> Tensor:
    """Sum of the squares of all numbers, in float32."""
    norms = [torch.linalg.vector_norm(one, dtype=torch.float32) for one in tensors]
    return torch.stack(norms).square().sum() if norms else torch.zeros((), device=device)
