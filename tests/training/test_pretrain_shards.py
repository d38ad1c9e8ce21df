"""The same promise with the real stream over real shards, and the real augmentation and modality dropout."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import torch

import hdt_fm
from hdt_fm.checkpoint import build_model, model_digest
from hdt_fm.data.datamodule import ShardDataModule
from hdt_fm.data.masking import drop_modalities
from hdt_fm.data.normalize import input_statistics
from hdt_fm.data.selection import subject_split
from hdt_fm.data.shards import ShardFolder
from hdt_fm.data.views import Augment
from hdt_fm.schema.batch import Batch
from hdt_fm.schema.errors import CheckpointError
from hdt_fm.schema.manifest import ModelConfig, Part, Preprocess


@pytest.fixture(scope="module")
def shards(repo: Path, tmp_path_factory) -> ShardFolder:
    spec = importlib.util.spec_from_file_location("tiny_cohort_of_training", repo / "tests" / "tiny_cohort.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    folder = tmp_path_factory.mktemp("shards") / "tiny"
    module.build(folder)
    return ShardFolder.open(folder)


def _drop(batch: Batch, step: int) -> Batch:
    return drop_modalities(batch, probability=0.3, generator=torch.Generator().manual_seed(step))


def _settings(shards: ShardFolder, batch_size: int = 12) -> dict:
    split = subject_split(shards.manifest, fractions={"train": 0.7, "validation": 0.3}, seed=1)
    config = ModelConfig(
        modalities=shards.header.modalities,
        encoder=Part(name="resnet", args={"width": 8, "depth": 1, "rate_hz": 8.0}),
        projection=Part(name="projection", args={"dim": 4}),
        statistics=input_statistics(shards, split["train"]),
        window_s=shards.header.window_s,
    )
    data = ShardDataModule(
        folder=shards,
        train_subjects=split["train"],
        val_subjects=split["validation"],
        batch_size=batch_size,
        val_windows=20,
        seed=2,
        pool_blocks=2,
    )
    return {
        "model": build_model(config, seed=2),
        "preprocess": Preprocess(preparation=shards.manifest.preparation, modalities=shards.header.modalities),
        "datamodule": data,
        "augment": Augment(4).apply,
        "drop": _drop,
        # 12 windows a step over fewer than 200: the stream passes into its second epoch.
        "steps": 18,
        "checkpoint_every": 5,
        "val_every": 10,
    }


def _break_at(step: int):
    def progress(done: int, total: int, note: str) -> None:
        if done == step:
            raise OSError("the power went out")

    return progress


def test_broken_off_on_shards_ends_the_same(tiny: ModuleType, shards: ShardFolder, tmp_path: Path) -> None:
    want = model_digest(hdt_fm.load(tiny.run(tmp_path / "whole", **_settings(shards)).checkpoint))
    for step in (12, 17):
        with pytest.raises(OSError):
            tiny.run(tmp_path / str(step), progress=_break_at(step), **_settings(shards))
        outcome = tiny.run(tmp_path / str(step), **_settings(shards))
        assert outcome.resumed_from == (step - 1) // 5 * 5
        assert model_digest(hdt_fm.load(outcome.checkpoint)) == want


def test_another_batch_size_is_refused(tiny: ModuleType, shards: ShardFolder, tmp_path: Path) -> None:
    with pytest.raises(OSError):
        tiny.run(tmp_path, progress=_break_at(7), **_settings(shards))
    with pytest.raises(CheckpointError, match="batch_size differs"):
        tiny.run(tmp_path, **_settings(shards, batch_size=6))
