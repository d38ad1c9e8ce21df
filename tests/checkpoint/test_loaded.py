"""How much of a model came out of its file is said, and never rounded up; what it may ask for is bounded."""

import logging
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import hdt_fm
from hdt_fm.checkpoint import Loaded, build_model, save_model
from hdt_fm.checkpoint.bounds import bounded, check_asked
from hdt_fm.schema.errors import CheckpointError
from hdt_fm.schema.manifest import ModelConfig, Part, Preprocess
from hdt_fm.schema.preparation import ModalityPreparation, Preparation
from hdt_fm.schema.shard import ModalityColumn

COLUMN = ModalityColumn(name="eda", unit="uS", channels=1, sampling_rate_hz=4, samples=16, encoding="f32")
CONFIG = ModelConfig(
    modalities=(COLUMN,),
    encoder=Part(name="patch_transformer", args={"width": 8, "depth": 1, "heads": 2, "patch_s": 2.0}),
    projection=Part(name="projection", args={"dim": 3}),
    heads={"second": Part(name="projection", args={"modalities": 1, "width": 8, "dim": 5})},
    statistics={"eda": (2.0, 1.5)},
    window_s=4.0,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    prepared = {"eda": ModalityPreparation(sampling_rate_hz=4)}
    preprocess = Preprocess(preparation=Preparation(window_s=4, hop_s=2, modalities=prepared), modalities=(COLUMN,))
    save_model(build_model(CONFIG), tmp_path / "checkpoint", preprocess=preprocess)
    (tmp_path / "checkpoint" / "SHA256SUMS").unlink()
    return tmp_path / "checkpoint"


def test_all_of_it(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="hdt_fm.checkpoint"):
        loaded = hdt_fm.load(folder).loaded
    assert loaded == Loaded(loaded.total, loaded.total)
    assert loaded.share == 1.0
    assert f"{loaded.total} of {loaded.total} tensors (100 %) matched" in caplog.text
    assert build_model(CONFIG).loaded is None


def test_less_is_refused_or_said_by_name(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    weights = load_file(folder / "model.safetensors")
    heads = [name for name in weights if name.startswith("heads.")]
    kept = {name: value for name, value in weights.items() if name not in heads} | {"heads.third.w": torch.zeros(1)}
    save_file(kept, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=f"{len(weights) - len(heads)} of {len(weights)} tensors"):
        hdt_fm.load(folder)
    for parts in (("encoder",), ("projection", "fusion"), ("",), ("head",)):
        with pytest.raises(CheckpointError, match="do not fit"):
            hdt_fm.load(folder, allow_fresh=parts)
    loaded = hdt_fm.load(folder, allow_fresh=("heads",)).loaded
    assert set(loaded.fresh) == set(heads)
    assert (loaded.matched, loaded.left_out) == (len(weights) - len(heads), 1)
    assert 0 < loaded.share < 1
    assert "fresh: heads.second" in caplog.text
    assert "1 of the file left out" in caplog.text


def test_one_of_a_thousand_missing_is_not_a_hundred_per_cent() -> None:
    assert "(99 %)" in str(Loaded(999, 1000, fresh=("a.weight",)))


def test_weights_past_the_bound_are_refused_while_they_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hdt_fm.checkpoint.bounds.MAX_LACKING", 0)
    with bounded(20, "x"):
        torch.nn.Linear(3, 2)
    with pytest.raises(CheckpointError, match="more weights"), bounded(10, "x"):
        torch.nn.Linear(3, 2)
    # The hooks are gone.
    torch.nn.Linear(300, 200)


def test_a_lack_of_memory_is_told_as_one_and_other_errors_pass() -> None:
    with pytest.raises(CheckpointError, match="more memory than there is"), bounded(10, "x"):
        raise MemoryError
    with pytest.raises(RuntimeError, match="something else"), bounded(10, "x"):
        raise RuntimeError("something else")


def test_settings_are_bounded_in_depth_and_number() -> None:
    check_asked(CONFIG, "config.json")
    for args in ({"a": [0] * 200_000}, {"a": [[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]}):
        wrong = CONFIG.model_copy(update={"encoder": Part(name="patch_transformer", args=args)})
        with pytest.raises(CheckpointError, match="more than its weights can be"):
            check_asked(wrong, "config.json")
