"""One process of two, started by test_distributed.py: does its share of each case and writes what came of it.

python one_of_two.py CASE OUTPUT_FOLDER, with RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT set as torchrun sets them
"""

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import tiny_run as tiny
import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from hdt_fm.checkpoint import build_model
from hdt_fm.ops.contrastive import contrastive_loss
from hdt_fm.ops.leave_one_out import leave_one_out_loss
from hdt_fm.schema.batch import Batch
from hdt_fm.schema.manifest import Part
from hdt_fm.schema.protocols import Embeddings, Encoded
from hdt_fm.training.caching import encode_in_pieces
from hdt_fm.training.distributed import gather, gather_rows
from hdt_fm.training.rows import cut

# Ragged: 5 windows here, 4 there; 9 in all.
EDGES = (0, 5, 9)


class Whole(nn.Module):
    """Model and contrast in one module, as Lightning wraps them."""

    def __init__(self, *, piece: int = 0, gathers: bool = True, fused: bool = False) -> None:
        super().__init__()
        self.model = (fusing() if fused else tiny.tiny_model(dropout=0.0)).train()
        self.fused = fused
        self.log_scale = nn.Parameter(torch.tensor(2.0))
        self.piece, self.gathers = piece, gathers

    def encode(self, batch: Batch) -> dict[str, Any]:
        """What the loss is given."""
        embeddings = self.model.embed(batch)
        others = {"others": self.model.others(embeddings)} if self.fused else {}
        return {"projections": self.model.project(embeddings), "seen": batch, **others}

    def forward(self, batch: Batch) -> Tensor:
        learned = tuple(self.model.parameters())
        if self.piece:
            said = encode_in_pieces(self.encode, batch, piece=self.piece, parameters=learned)
        else:
            said = self.encode(batch)
        said = gather(said) if self.gathers else said
        projections: Embeddings = said["projections"]
        asked = {"others": said["others"].values.transpose(0, 1)} if self.fused else {}
        return (leave_one_out_loss if self.fused else contrastive_loss)(
            projections.values.transpose(0, 1),
            projections.present,
            logit_scale=self.log_scale.exp(),
            subject=said["seen"].subject,
            time_s=said["seen"].time_s,
            exclude_within_s=60.0,
            **asked,
        ).loss


def fusing() -> nn.Module:
    """A model with a fusion that is no mean any more."""
    plain = tiny.tiny_model(dropout=0.0).config
    model = build_model(plain.model_copy(update={"fusion": Part(name="attention")}), seed=5)
    nn.init.normal_(model.fusion.add.weight, std=0.3, generator=torch.Generator().manual_seed(1))
    return model


def whole_batch(case: str) -> Batch:
    """The batch of both processes; in `lacking`, the second process has no skin temperature and nobody movement."""
    batch = tiny.tiny_batch(3)
    if case != "lacking":
        return batch
    keep = torch.ones_like(batch.present)
    keep[EDGES[1] :, 2] = False
    keep[:, 0] = False
    return batch.without(keep)


def gradients(module: nn.Module, batch: Batch) -> dict[str, Any]:
    """Loss and every gradient; None where a parameter was not used."""
    value = module(batch)
    value.backward()
    inner = module.module if isinstance(module, DistributedDataParallel) else module
    return {"loss": value.detach(), **{name: parameter.grad for name, parameter in inner.named_parameters()}}


def of_whole(case: str, rank: int) -> dict[str, Any]:
    """One step of DDP on this process's slice."""
    cached = case.endswith("cached")
    module = Whole(piece=2 if cached else 0, gathers=case != "not gathered", fused=case.startswith("fused"))
    # In pieces, no modality counts as unused, so DDP need not look for any.
    wrapped = DistributedDataParallel(module, find_unused_parameters=not cached)
    return gradients(wrapped, cut(whole_batch(case), EDGES[rank], EDGES[rank + 1]))


def of_rows(rank: int) -> dict[str, Any]:
    """Rows of several types, ragged; one process has none."""
    found: dict[str, Any] = {}
    for kind in (torch.float32, torch.bfloat16, torch.int64, torch.bool):
        mine = (torch.arange(6).reshape(3, 2) + 10 * rank).to(kind)[: 3 - rank]
        found[str(kind)] = gather_rows(mine)
    found["one has none"] = gather_rows(torch.arange(4.0)[: 4 * rank])
    leaf = torch.full((2 + rank,), 1.0 + rank, requires_grad=True)
    (gather_rows(leaf) * torch.arange(5.0)).sum().backward()
    found["gradient"] = leaf.grad
    return found


def of_signals(rank: int) -> dict[str, Any]:
    """An `Encoded` whose batch has no skin temperature here at all, not even as zeros, on the second process."""
    batch = cut(whole_batch("lacking"), EDGES[rank], EDGES[rank + 1])
    if rank:
        batch = replace(batch, signals={name: signal for name, signal in batch.signals.items() if name != "temp"})
    rows = Embeddings(torch.zeros(len(batch), 3, 2), batch.present)
    every = gather(Encoded(rows, rows, batch, batch), tiny.COLUMNS)
    temp = every.whole.signals["temp"]
    found = {"temp": temp.values, "temp observed": temp.observed, "eda": every.whole.signals["eda"].values}
    return {**found, "window_id": every.seen.window_id, "once": every.seen is every.whole}


def main(case: str, folder: Path) -> None:
    """Run one case as this process."""
    torch.set_num_threads(1)
    rank = int(os.environ["RANK"])
    distributed.init_process_group("gloo")
    cases: dict[str, Callable[[], Any]] = {"rows": lambda: of_rows(rank), "signals": lambda: of_signals(rank)}
    for name in case.split(","):
        torch.save(cases.get(name, lambda name=name: of_whole(name, rank))(), folder / f"{name}-{rank}.pt")
    distributed.barrier()
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
