"""A pretraining run that takes a second, used by the tests here and, for a real kill, run as a process of its own.

python tiny_run.py RUN_DIR KILL_AT_STEP
"""

import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import LightningDataModule
from torch.utils.data import DataLoader, IterableDataset

from hdt_fm.checkpoint import Model, build_model
from hdt_fm.losses.info_nce import InfoNce
from hdt_fm.schema.batch import Batch, Signal
from hdt_fm.schema.manifest import ModelConfig, Part, Preprocess
from hdt_fm.schema.preparation import ModalityPreparation, Preparation
from hdt_fm.schema.shard import ModalityColumn
from hdt_fm.training.pretrain import PretrainOutcome, pretrain

STEPS, CHECKPOINT_EVERY, VAL_EVERY, BATCH = 14, 4, 6, 9
COLUMNS = (
    ModalityColumn(name="acc", unit="g", channels=3, sampling_rate_hz=8, samples=32, encoding="f32"),
    ModalityColumn(name="eda", unit="uS", channels=1, sampling_rate_hz=4, samples=16, encoding="f32"),
    ModalityColumn(name="temp", unit="celsius", channels=1, sampling_rate_hz=2, samples=8, encoding="f32"),
)
NAMES = tuple(column.name for column in COLUMNS)


def tiny_model(seed: int = 5, **encoder: Any) -> Model:
    """About a thousand weights a modality, with dropout so that draws matter."""
    args = {"width": 8, "depth": 1, "heads": 2, "patch_points": 4, "dropout": 0.1, **encoder}
    config = ModelConfig(
        modalities=COLUMNS,
        encoder=Part(name="patch_transformer", args=args),
        projection=Part(name="projection", args={"dim": 5}),
        statistics=dict.fromkeys(NAMES, (0.0, 1.0)),
        window_s=4.0,
    )
    return build_model(config, seed=seed)


def tiny_preprocess() -> Preprocess:
    """The signal contract of the tiny model."""
    modalities = {
        column.name: ModalityPreparation(sampling_rate_hz=column.sampling_rate_hz, channels=column.channels)
        for column in COLUMNS
    }
    return Preprocess(preparation=Preparation(window_s=4, hop_s=4, modalities=modalities), modalities=COLUMNS)


def tiny_batch(number: int, size: int = BATCH) -> Batch:
    """Batch `number`: one hidden frequency a window drives all modalities; some are absent."""
    generator = torch.Generator().manual_seed(1000 + number)
    hidden = torch.rand(size, generator=generator) * 0.5 + 0.1
    present = torch.rand(size, len(COLUMNS), generator=generator) > 0.2
    present[:, 0] |= ~present.any(1)
    signals = {}
    for column in COLUMNS:
        time = torch.arange(column.samples) / column.sampling_rate_hz
        wave = torch.sin(2 * torch.pi * hidden[:, None] * time)[:, None].repeat(1, column.channels, 1)
        noise = 0.1 * torch.randn(wave.shape, generator=generator)
        observed = torch.rand(size, column.samples, generator=generator) > 0.05
        signals[column.name] = Signal(wave + noise, observed, column.sampling_rate_hz)
    window_id = number * size + torch.arange(size)
    subject = window_id % 4
    labels = {"calm": (hidden > 0.35).float()}
    return Batch(NAMES, signals, present, subject, window_id.float() * 100, window_id, labels).without(present)


class _Endless(IterableDataset):
    def __init__(self, start: int, poisoned: int | None) -> None:
        self.start, self.poisoned = start, poisoned

    def __iter__(self) -> Iterator[Batch]:
        number = self.start
        while True:
            batch = tiny_batch(number)
            if number == self.poisoned:
                eda = batch.signals["eda"]
                values = torch.where(eda.observed[:, None], torch.nan, eda.values)
                batch = replace(batch, signals={**batch.signals, "eda": replace(eda, values=values)})
            yield batch
            number += 1


class TinyData(LightningDataModule):
    """Batches by number; the state is the number of batches consumed, which is not the number fetched ahead."""

    def __init__(self, poisoned: int | None = None) -> None:
        super().__init__()
        self.start, self.poisoned = 0, poisoned

    def train_dataloader(self) -> DataLoader:
        return DataLoader(_Endless(self.start, self.poisoned), batch_size=None)

    def val_dataloader(self) -> DataLoader:
        return DataLoader([tiny_batch(10_000 + k, size=7) for k in range(2)], batch_size=None)

    def state_dict(self) -> dict[str, int]:
        assert self.trainer is not None
        return {"consumed": self.trainer.global_step}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.start = state["consumed"]


def drop(batch: Batch, step: int) -> Batch:
    """Hide each modality of a window with a chance of 0.2; pure in the step."""
    generator = torch.Generator().manual_seed(77 + step)
    return batch.without(torch.rand(batch.present.shape, generator=generator) > 0.2)


def augment(batch: Batch, step: int) -> Batch:
    """Scale the amplitude; pure in the step."""
    factor = 0.5 + torch.rand((), generator=torch.Generator().manual_seed(99 + step))
    signals = {name: replace(signal, values=signal.values * factor) for name, signal in batch.signals.items()}
    return replace(batch, signals=signals)


def run(run_dir: Path, **changes: Any) -> PretrainOutcome:
    """One tiny run with any setting changed."""
    settings: dict[str, Any] = {
        "model": tiny_model(),
        "loss": InfoNce(exclude_within_s=60.0),
        "datamodule": TinyData(),
        "preprocess": tiny_preprocess(),
        "steps": STEPS,
        "learning_rate": 1e-2,
        "warmup_steps": 3,
        "checkpoint_every": CHECKPOINT_EVERY,
        "val_every": VAL_EVERY,
        "log_every": 1,
        "drop": drop,
        "augment": augment,
        "accelerator": "cpu",
        "say": lambda line: None,
    }
    return pretrain(run_dir=run_dir, **{**settings, **changes})


def _kill_at(step: int) -> Any:
    def progress(done: int, total: int, note: str) -> None:
        if done == step:
            os.kill(os.getpid(), signal.SIGKILL)

    return progress


if __name__ == "__main__":
    run(Path(sys.argv[1]), progress=_kill_at(int(sys.argv[2])))
