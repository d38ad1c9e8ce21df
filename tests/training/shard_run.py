"""A pretraining run over real shards that writes down which windows each step saw; run as a process of its own.

python shard_run.py SHARDS RUN_DIR STEPS KILL_AT_STEP (0: never), one process or, as torchrun sets it, one of several
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any

import tiny_run
import torch
from torch import nn

from hdt_fm.checkpoint import build_model
from hdt_fm.data.datamodule import ShardDataModule
from hdt_fm.data.normalize import input_statistics
from hdt_fm.data.shards import ShardFolder
from hdt_fm.losses.info_nce import InfoNce
from hdt_fm.schema.batch import Batch
from hdt_fm.schema.manifest import ModelConfig, Part, Preprocess
from hdt_fm.schema.protocols import Encoded, LossReport
from hdt_fm.training.distributed import gather
from hdt_fm.training.pretrain import PretrainOutcome

BATCH, CHECKPOINT_EVERY = 12, 5


class OverAll(nn.Module):
    """A loss that sees the rows of every process."""

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, encoded: Encoded) -> LossReport:
        return self.loss(gather(encoded) if self.training else encoded)


class Diary:
    """A change that changes nothing, and one line a step: the step, and the ids of the windows it was given."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self, batch: Batch, step: int) -> Batch:
        with self.path.open("a") as file:
            file.write(f"{step} {' '.join(map(str, batch.window_id.tolist()))}\n")
        return batch


def read_diary(paths: list[Path]) -> dict[int, list[int]]:
    """Ids by step, the slices of several processes one after another; a step made twice counts as made last."""
    steps: dict[int, list[int]] = {}
    for number, path in enumerate(paths):
        own = {int(line.split()[0]): [int(word) for word in line.split()[1:]] for line in path.read_text().splitlines()}
        for step, ids in own.items():
            steps[step] = (steps[step] if number else []) + ids
    return steps


def run(shards: Path, run_dir: Path, *, steps: int, **changes: Any) -> PretrainOutcome:
    """One run; the diary of this process is `seen-RANK.txt` in the run folder."""
    folder = ShardFolder.open(shards)
    everyone = torch.arange(len(folder.manifest.subjects)).numpy()
    config = ModelConfig(
        modalities=folder.header.modalities,
        encoder=Part(name="resnet", args={"width": 8, "depth": 1, "rate_hz": 8.0}),
        projection=Part(name="projection", args={"dim": 4}),
        statistics=input_statistics(folder, everyone),
        window_s=folder.header.window_s,
    )
    run_dir.mkdir(parents=True, exist_ok=True)
    settings: dict[str, Any] = {
        "model": build_model(config, seed=2),
        "loss": OverAll(InfoNce(exclude_within_s=5.0)),
        "preprocess": Preprocess(preparation=folder.manifest.preparation, modalities=folder.header.modalities),
        "datamodule": ShardDataModule(folder=folder, batch_size=BATCH, seed=2, pool_blocks=2),
        "augment": None,
        "drop": Diary(run_dir / f"seen-{os.environ.get('RANK', '0')}.txt"),
        "steps": steps,
        "warmup_steps": 1,
        "checkpoint_every": CHECKPOINT_EVERY,
        "val_every": 0,
    }
    return tiny_run.run(run_dir, **{**settings, **changes})


def main(shards: Path, run_dir: Path, steps: int, kill_at: int) -> None:
    """Run as this process."""
    torch.set_num_threads(1)

    def progress(done: int, total: int, note: str) -> None:
        if done == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    world = int(os.environ.get("WORLD_SIZE", "1"))
    more = {"devices": world, "strategy": "ddp_find_unused_parameters_true"} if world > 1 else {}
    run(shards, run_dir, steps=steps, progress=progress, **more)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
