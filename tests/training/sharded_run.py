"""Runs whose weights are shared out by two processes, started by test_sharding.py; one process runs the same whole.

python sharded_run.py SHARDS FOLDER CASE,CASE..., with the variables that torchrun sets
"""

import os
import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import shard_run
import torch
from torch import nn
from torch._dynamo.utils import counters

from hdt_fm.checkpoint import build_model
from hdt_fm.data.datamodule import ShardDataModule
from hdt_fm.data.normalize import input_statistics
from hdt_fm.data.selection import subject_split
from hdt_fm.data.shards import ShardFolder
from hdt_fm.losses.leave_one_out import LeaveOneOut
from hdt_fm.schema.batch import Batch
from hdt_fm.schema.manifest import ModelConfig, Part
from hdt_fm.training import blocks, sharding
from hdt_fm.training.distributed import launched
from hdt_fm.training.pretrain import PretrainOutcome

STEPS, STOP_AT, BATCH = 6, 5, shard_run.BATCH
ENCODER = {"width": 16, "depth": 2, "heads": 2, "patch_points": 4, "slots": 4}
# Weights decay, gradients are clipped and a validation lies between, in every case.
SETTINGS: dict[str, Any] = {"steps": STEPS, "checkpoint_every": 2, "val_every": 4, "clip_norm": 0.5}
CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "all": {
        "fusion": Part(name="attention", args={"heads": 2}),
        "loss": LeaveOneOut(others="fused", exclude_within_s=5.0),
        "piece": 2,
        "fused": True,
        "activation_checkpointing": True,
    },
    "half": {
        "encoder": Part(name="resnet", args={"width": 16, "depth": 2, "rate_hz": 8.0}),
        "precision": "bf16-mixed",
        "piece": 3,
    },
}

COMPILED = "half" if shutil.which(os.environ.get("CXX", "g++")) else ""


def lack(batch: Batch, place: int) -> Batch:
    """By turns: nothing is hidden; one modality from the second half of the windows of all processes, which is all
    that the second of two processes has; another from every window but the first; a third from everyone."""
    step, rank = divmod(place, shard_run.WORLD)
    row = torch.arange(len(batch)) + rank * len(batch)
    keep = torch.ones_like(batch.present)
    if step % 4 == 1:
        keep[row >= BATCH // 2, 1] = False
    if step % 4 == 2:
        keep[row > 0, 0] = False
    if step % 4 == 3:
        keep[:, 2] = False
    return batch.without(keep)


def model_of(folder: ShardFolder, train: np.ndarray, case: dict[str, Any]) -> nn.Module:
    """A model without dropout, which would draw other masks in two processes than in one."""
    config = ModelConfig(
        modalities=folder.header.modalities,
        encoder=case.get("encoder", Part(name="patch_transformer", args=ENCODER)),
        projection=Part(name="projection", args={"dim": 6}),
        fusion=case.get("fusion"),
        statistics=input_statistics(folder, train),
        window_s=folder.header.window_s,
    )
    return build_model(config, seed=2)


def run(shards: Path, run_dir: Path, name: str, **changes: Any) -> PretrainOutcome:
    """One case in this process, or as one of those that were started."""
    folder, case = ShardFolder.open(shards), CASES[name]
    split = subject_split(folder.manifest, fractions={"train": 0.7, "validation": 0.3}, seed=1)
    model = model_of(folder, split["train"], case)
    if shard_run.RANK:
        # Another start here must not matter: the first process's holds.
        nn.init.constant_(model.projection.parts[0].weight, 0.5)
        nn.init.constant_(model.encoder.encoders["ppg"].readout.weight, 0.5)
    data = ShardDataModule(
        folder=folder,
        train_subjects=split["train"],
        val_subjects=split["validation"],
        batch_size=BATCH,
        val_windows=20,
        seed=2,
        pool_blocks=2,
    )
    own = {key: value for key, value in case.items() if key not in ("encoder", "fusion")}
    settings = {**SETTINGS, **own, "model": model, "datamodule": data, "drop": lack}
    return shard_run.run(shards, run_dir, **{**settings, **changes})


def at(step: int, act: Callable[[], None]) -> Callable[[int, int, str], None]:
    """Do something after a step."""

    def progress(done: int, total: int, note: str) -> None:
        if done == step:
            act()

    return progress


def main(shards: Path, folder: Path, names: list[str]) -> None:
    """Run cases one after another as this process, and write how much of the blocks it held."""
    torch.set_num_threads(1)
    blocks.BACKEND = "eager"
    more = {**asdict(launched(os.environ, sharded=True))}
    held: dict[str, Any] = {}
    shard = sharding.shard

    def watched(model: nn.Module, device: str) -> None:
        before = sum(weight.numel() for weight in model.parameters())
        shard(model, device)
        own = [getattr(weight, "to_local", lambda weight=weight: weight)().numel() for weight in model.parameters()]
        held.update(share=sum(own) / before)

    sharding.shard = watched
    for name in names:
        held.clear()
        if name == "stopped":
            outcome = run(
                shards,
                folder / name,
                "plain",
                # Progress is told on the first process alone; the other hears of it.
                progress=at(STOP_AT, lambda: os.kill(os.getpid(), signal.SIGTERM)),
                **more,
            )
            held.update(stopped=outcome.stopped_by, steps=outcome.steps, checkpoint=outcome.checkpoint is not None)
            outcome = run(shards, folder / name, "plain", **more)
        elif name == "goes on":
            # The test left a checkpoint of one process here.
            outcome = run(shards, folder / name, "plain", **more)
        else:
            # One of them with blocks that are captured as a compiler would have them.
            outcome = run(shards, folder / name, name, compile=name == COMPILED, **more)
        held.update(resumed=outcome.resumed_from, finished=outcome.finished)
        torch.save(dict(held), folder / f"{name}-{shard_run.RANK}.pt")
    # A run that is done does nothing again.
    assert (counters["stats"]["unique_graphs"] > 0) == (COMPILED in names)
    outcome = run(shards, folder / names[0], names[0], **more)
    assert outcome.finished
    assert outcome.windows == 0


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3].split(","))
