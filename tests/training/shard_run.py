"""A pretraining run over real shards that writes down which windows each step saw; run as a process of its own.

python shard_run.py SHARDS RUN_DIR STEPS KILL_AT_STEP (0: never) [PIECE], one process or, as torchrun sets it, one of
several; with PIECE (0: all at once) it is `run_hidden`, a loss that reads signals and draws
"""

import os
import signal
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import tiny_run
import torch

from hdt_fm.checkpoint import build_model
from hdt_fm.data.datamodule import ShardDataModule
from hdt_fm.data.normalize import input_statistics
from hdt_fm.data.shards import ShardFolder
from hdt_fm.losses.info_nce import InfoNce
from hdt_fm.losses.mix import Mix
from hdt_fm.schema.batch import Batch
from hdt_fm.schema.manifest import ModelConfig, Part, Preprocess
from hdt_fm.schema.protocols import Encoded, LossReport
from hdt_fm.training.distributed import launched
from hdt_fm.training.pretrain import PretrainOutcome

BATCH, CHECKPOINT_EVERY = 12, 5


WORLD, RANK = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))


class Drawing(Mix):
    """A loss that draws a number at each training step, writes it down, and makes no use of it."""

    def __init__(self, path: Path, **terms: Any) -> None:
        super().__init__(terms=terms)
        self._path = path

    def forward(self, encoded: Encoded) -> LossReport:
        with self._path.open("a") as file:
            file.write(f"{float(torch.rand(()))} {len(encoded.seen)}\n")
        return super().forward(encoded)


class Diary:
    """A change that changes nothing, and one line a step: the step, and the ids of the windows it was given."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self, batch: Batch, place: int) -> Batch:
        step, rank = divmod(place, WORLD)
        assert rank == RANK
        with self.path.open("a") as file:
            file.write(f"{step} {' '.join(map(str, batch.window_id.tolist()))}\n")
        return batch


def hide(batch: Batch, place: int) -> Batch:
    """Hide the first third of every other window and a modality of every third: of the windows, whoever has them."""
    keep = torch.ones_like(batch.present)
    keep[:, 0] = batch.window_id % 3 != 0
    batch = batch.without(keep)
    signals = {}
    for name, one in batch.signals.items():
        early = torch.arange(one.values.shape[-1]) < one.values.shape[-1] // 3
        observed = one.observed & ~(early & (batch.window_id % 2 == 0)[:, None])
        values = torch.where(observed[:, None], one.values, torch.zeros_like(one.values))
        signals[name] = replace(one, values=values, observed=observed)
    return replace(batch, signals=signals)


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
        "loss": InfoNce(exclude_within_s=5.0),
        "preprocess": Preprocess(preparation=folder.manifest.preparation, modalities=folder.header.modalities),
        "datamodule": ShardDataModule(folder=folder, batch_size=BATCH, seed=2, pool_blocks=2),
        "augment": None,
        "drop": Diary(run_dir / f"seen-{RANK}.txt"),
        "steps": steps,
        "warmup_steps": 1,
        "checkpoint_every": CHECKPOINT_EVERY,
        "val_every": 0,
    }
    return tiny_run.run(run_dir, **{**settings, **changes})


def run_hidden(shards: Path, run_dir: Path, *, steps: int, piece: int | None, **changes: Any) -> PretrainOutcome:
    """A run that reconstructs what is hidden, beside a contrast."""
    run_dir.mkdir(parents=True, exist_ok=True)
    folder = ShardFolder.open(shards)
    loss = Drawing(
        run_dir / f"draws-{RANK}.txt",
        info_nce={"exclude_within_s": 5.0},
        masked_patches={"weight": 0.5, "patch_s": 0.5, "bands": 2, "hidden_width": 6},
    )
    loss.shape(folder.header.modalities, 8, 3)
    return run(shards, run_dir, steps=steps, loss=loss, drop=hide, piece=piece, **changes)


def main(shards: Path, run_dir: Path, steps: int, kill_at: int, piece: int | None = None) -> None:
    """Run as this process."""
    torch.set_num_threads(1)

    def progress(done: int, total: int, note: str) -> None:
        if done == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    more = {"progress": progress, **asdict(launched(os.environ))}
    if piece is None:
        run(shards, run_dir, steps=steps, **more)
    else:
        run_hidden(shards, run_dir, steps=steps, piece=piece or None, **more)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:]))
