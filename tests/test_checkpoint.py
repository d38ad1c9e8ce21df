"""Door 4: what was saved comes back exactly, and nothing else is accepted."""

import hashlib
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import hdt_fm
from hdt_fm.checkpoint import Model, build_model, load, load_preprocess, model_digest, save_model
from hdt_fm.schema.batch import Batch, Signal
from hdt_fm.schema.errors import CheckpointError, ConfigError, UnknownNameError
from hdt_fm.schema.manifest import ModelConfig, Part, Preprocess
from hdt_fm.schema.preparation import ModalityPreparation, Preparation
from hdt_fm.schema.shard import ModalityColumn

FILES = {"model.safetensors", "config.json", "preprocess.json", "stored_embedding.safetensors", "SHA256SUMS"}


def _columns() -> tuple[ModalityColumn, ...]:
    return (
        ModalityColumn(name="acc", unit="g", channels=3, sampling_rate_hz=16, samples=64, encoding="f32"),
        ModalityColumn(name="eda", unit="uS", channels=1, sampling_rate_hz=4, samples=16, encoding="f32"),
    )


@pytest.fixture
def config() -> ModelConfig:
    return ModelConfig(
        modalities=_columns(),
        encoder=Part(name="patch_transformer", args={"width": 16, "depth": 1, "heads": 2, "patch_points": 8}),
        per_modality={"eda": {"patch_s": 2.0}},
        projection=Part(name="projection", args={"dim": 6}),
        heads={"second": Part(name="projection", args={"modalities": 2, "width": 16, "dim": 5})},
        statistics={"acc": (0.1, 0.5), "eda": (2.0, 1.5)},
        window_s=4.0,
    )


@pytest.fixture
def preprocess() -> Preprocess:
    modalities = {
        "acc": ModalityPreparation(sampling_rate_hz=16, channels=3),
        "eda": ModalityPreparation(sampling_rate_hz=4),
    }
    return Preprocess(preparation=Preparation(window_s=4, hop_s=2, modalities=modalities), modalities=_columns())


@pytest.fixture
def folder(config: ModelConfig, preprocess: Preprocess, tmp_path: Path) -> Path:
    save_model(build_model(config, seed=3), tmp_path / "checkpoint", preprocess=preprocess)
    return tmp_path / "checkpoint"


def _window_batch(seed: int, size: int = 5) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    signals = {
        column.name: Signal(
            torch.randn(size, column.channels, column.samples, generator=generator),
            torch.rand(size, column.samples, generator=generator) > 0.2,
            column.sampling_rate_hz,
        )
        for column in _columns()
    }
    row = torch.arange(size)
    present = torch.ones(size, 2, dtype=torch.bool)
    present[0, 1] = present[3, 0] = False
    return Batch(("acc", "eda"), signals, present, row, row.float(), row).without(present)


def _resum(folder: Path) -> None:
    """Make the sums agree again, so that a test reaches what lies behind them."""
    names = sorted(FILES - {"SHA256SUMS"})
    lines = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    (folder / "SHA256SUMS").write_text("".join(lines))


def _edit_config(folder: Path, **changes: object) -> None:
    record = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**record, **changes}))
    _resum(folder)


def _edit_weights(folder: Path, change) -> None:
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors")
    _resum(folder)


def test_what_was_saved_comes_back_bit_for_bit(config: ModelConfig, preprocess: Preprocess, tmp_path: Path) -> None:
    model = build_model(config, seed=3).eval()
    save_model(model, tmp_path / "here", preprocess=preprocess)
    assert {path.name for path in (tmp_path / "here").iterdir()} == FILES
    loaded = hdt_fm.load(tmp_path / "here")
    assert not loaded.training
    assert model_digest(loaded) == model_digest(model)
    batch = _window_batch(1)
    with torch.no_grad():
        want, got = model.project(model.embed(batch)), loaded.project(loaded.embed(batch))
    assert torch.equal(want.values, got.values)
    assert load_preprocess(tmp_path / "here") == preprocess


def test_saving_leaves_model_and_generator_alone_and_bytes_repeat(
    config: ModelConfig, preprocess: Preprocess, tmp_path: Path
) -> None:
    model = build_model(config, seed=3).train()
    model.projection.eval()
    state = torch.get_rng_state()
    save_model(model, tmp_path / "a", preprocess=preprocess)
    save_model(model, tmp_path / "b", preprocess=preprocess)
    assert model.training
    assert not model.projection.training
    assert torch.equal(torch.get_rng_state(), state)
    for name in FILES:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_fresh_weights_depend_on_the_seed_alone(config: ModelConfig) -> None:
    torch.manual_seed(1)
    first = build_model(config, seed=7)
    torch.manual_seed(2)
    before = torch.get_rng_state()
    assert model_digest(build_model(config, seed=7)) == model_digest(first)
    assert model_digest(build_model(config, seed=8)) != model_digest(first)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("wrong", [{"width": -1}, {"heads": 0}, {"dropout": 2.0}])
def test_sizes_that_no_model_has_are_an_error_of_the_config(config: ModelConfig, wrong: dict[str, Any]) -> None:
    encoder = config.encoder.model_copy(update={"args": {**config.encoder.args, **wrong}})
    with pytest.raises(ConfigError, match="cannot be made of these settings"):
        build_model(config.model_copy(update={"encoder": encoder}))


def test_digest_sees_one_changed_bit_and_can_leave_heads_out(config: ModelConfig) -> None:
    model = build_model(config)
    whole, body = model_digest(model), model_digest(model, heads=False)
    with torch.no_grad():
        next(model.heads.parameters()).view(-1)[0] += 1e-3
    assert model_digest(model) != whole
    assert model_digest(model, heads=False) == body
    with torch.no_grad():
        next(model.encoder.parameters()).view(-1)[0] += 1e-3
    assert model_digest(model, heads=False) != body
    headless = build_model(config.model_copy(update={"heads": {}}))
    assert model_digest(headless, heads=False) == body


def test_without_a_fusion_a_checkpoint_is_what_it_was(folder: Path, config: ModelConfig) -> None:
    """The field is not written, so digests stay, and a folder from before there was one is read."""
    record = json.loads((folder / "config.json").read_text())
    assert "fusion" not in record
    before = {"version", "modalities", "encoder", "per_modality", "projection", "heads", "statistics", "window_s"}
    assert set(record) == before
    assert not [name for name in load_file(folder / "model.safetensors") if "fus" in name]
    assert set(load_file(folder / "stored_embedding.safetensors")) >= {"embeddings", "projections"}
    assert not {"fused", "others"} & set(load_file(folder / "stored_embedding.safetensors"))
    model = load(folder)
    assert model.fusion is None
    with pytest.raises(ConfigError, match="has no fusion"):
        model.fuse(model.embed(_window_batch(1)))


@pytest.mark.parametrize("name", ["mean", "attention"])
def test_a_fusion_comes_back_and_leaves_all_else_as_it_is(
    config: ModelConfig, preprocess: Preprocess, tmp_path: Path, name: str
) -> None:
    plain = build_model(config, seed=3)
    model = build_model(config.model_copy(update={"fusion": Part(name=name)}), seed=3).eval()
    weights = model.state_dict()
    assert all(torch.equal(weights[key], value) for key, value in plain.state_dict().items())
    assert model_digest(model) != model_digest(plain)
    with torch.no_grad():
        for weight in model.fusion.parameters():
            weight.add_(0.1)
    save_model(model, tmp_path / "here", preprocess=preprocess)
    loaded, batch = load(tmp_path / "here"), _window_batch(1)
    assert model_digest(loaded) == model_digest(model)
    with torch.no_grad():
        want, got = (one.others(one.embed(batch)) for one in (model, loaded))
        assert torch.equal(want.values, got.values)
        assert torch.equal(model.fuse(model.embed(batch)), loaded.fuse(loaded.embed(batch)))


def test_another_fusion_of_the_right_shapes_is_found_out(
    config: ModelConfig, preprocess: Preprocess, tmp_path: Path
) -> None:
    model = build_model(config.model_copy(update={"fusion": Part(name="attention")}), seed=3)
    save_model(model, tmp_path / "here", preprocess=preprocess)

    def nudge(weights: dict) -> None:
        weights["fusion.add.bias"] = weights["fusion.add.bias"] + 0.01

    _edit_weights(tmp_path / "here", nudge)
    with pytest.raises(CheckpointError, match="does not reproduce its stored embedding"):
        load(tmp_path / "here")


def test_an_old_checkpoint_may_be_given_a_fusion_that_starts_as_the_mean(folder: Path) -> None:
    old, batch = load(folder), _window_batch(1)
    _edit_config(folder, fusion={"name": "attention"})
    with pytest.raises(CheckpointError, match="missing: fus"):
        load(folder)
    model = load(folder, allow_fresh=("fusion", "fused_projection"))
    with torch.no_grad():
        embeddings = model.embed(batch)
        assert torch.equal(embeddings.values, old.embed(batch).values)
        mean = embeddings.values.sum(1) / embeddings.present.sum(1, keepdim=True)
        torch.testing.assert_close(model.fuse(embeddings), mean)


def test_stored_input_is_noise_with_an_absent_modality_and_a_gap(folder: Path) -> None:
    stored = load_file(folder / "stored_embedding.safetensors")
    present = stored["present"]
    assert 0 < int(present.sum()) < present.numel()
    column, absent = 0, int((~present[:, 0]).nonzero()[0, 0])
    assert not stored["input.acc.observed"][absent].any()
    assert torch.equal(stored["embeddings"][absent, column], torch.zeros(16))
    assert not stored["input.eda.observed"][present[:, 1]].all()
    # Around the training statistics: eda near 2 with a spread near 1.5.
    seen = stored["input.eda.values"][present[:, 1]]
    assert abs(float(seen.mean()) - 2.0) < 0.75
    assert 1.0 < float(seen.std()) < 2.0


def test_an_old_checkpoint_is_replaced_and_anything_else_is_not(
    folder: Path, config: ModelConfig, preprocess: Preprocess, tmp_path: Path
) -> None:
    newer = build_model(config, seed=9)
    save_model(newer, folder, preprocess=preprocess)
    assert model_digest(load(folder)) == model_digest(newer)
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint"}
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "only_copy.txt").write_text("years of work")
    with pytest.raises(CheckpointError, match="would replace something that is not one"):
        save_model(newer, tmp_path / "thesis", preprocess=preprocess)
    assert (tmp_path / "thesis" / "only_copy.txt").read_text() == "years of work"


def test_a_failed_write_leaves_the_old_one(folder: Path, preprocess: Preprocess, monkeypatch) -> None:
    before = model_digest(load(folder))

    def full_disk(model: Model) -> dict:
        raise OSError("no space left on device")

    monkeypatch.setattr(hdt_fm.checkpoint, "stored_embedding", full_disk)
    with pytest.raises(OSError):
        save_model(load(folder), folder, preprocess=preprocess)
    assert model_digest(load(folder)) == before


def test_a_kill_between_the_renames_loses_nothing(folder: Path) -> None:
    before = model_digest(load(folder))
    folder.rename(folder.with_name(f".{folder.name}.old"))
    assert model_digest(load(folder)) == before


def test_a_model_that_left_its_config_is_not_saved(config: ModelConfig, preprocess: Preprocess, tmp_path: Path) -> None:
    model = build_model(config)
    model.heads["third"] = torch.nn.Linear(2, 3)
    with pytest.raises(CheckpointError, match="not the one that its config describes"):
        save_model(model, tmp_path / "x", preprocess=preprocess)
    assert not list(tmp_path.iterdir())


def test_preprocess_of_other_modalities_is_refused(config: ModelConfig, preprocess: Preprocess, tmp_path: Path) -> None:
    other = preprocess.model_copy(update={"modalities": _columns()[:1]})
    with pytest.raises(CheckpointError, match="other modalities"):
        save_model(build_model(config), tmp_path / "x", preprocess=other)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("name", sorted(FILES - {"SHA256SUMS"}))
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=name):
        load(folder)


def test_no_folder_at_all(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint folder"):
        load(tmp_path / "nowhere")


@pytest.mark.parametrize("name", sorted(FILES - {"SHA256SUMS"}))
def test_a_flipped_bit_is_seen(folder: Path, name: str) -> None:
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(bytes(data))
    with pytest.raises(CheckpointError, match=f"SHA256SUMS does not match {name}"):
        load(folder)


@pytest.mark.parametrize("line", ["zz  config.json", "0" * 64 + "  ../../etc/passwd", "0" * 64 + "  /etc/passwd"])
def test_sums_may_not_point_outside(folder: Path, line: str) -> None:
    with (folder / "SHA256SUMS").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(CheckpointError, match="a line that is not a digest and a plain name"):
        load(folder)


def test_sums_must_list_every_file_but_may_be_absent(folder: Path) -> None:
    lines = (folder / "SHA256SUMS").read_text().splitlines(keepends=True)
    (folder / "SHA256SUMS").write_text("".join(line for line in lines if "config.json" not in line))
    with pytest.raises(CheckpointError, match=r"does not list config\.json"):
        load(folder)
    (folder / "SHA256SUMS").unlink()
    load(folder)


def test_a_later_version_says_update(folder: Path) -> None:
    _edit_config(folder, version=2)
    with pytest.raises(CheckpointError, match="written by a later hdt_fm") as caught:
        load(folder)
    assert "pip install -U" in str(caught.value)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"window_s": "four"}, "window_s"),
        ({"window_s": -1.0}, "window_s"),
        ({"statistics": {"acc": [0.0], "eda": [0.0, 1.0]}}, "statistics"),
        ({"encoder": {"name": 5}}, "encoder.name"),
        ({"trainer": {"_target_": "os.system"}}, "trainer"),
        ({"version": "1"}, "version"),
    ],
)
def test_a_wrong_kind_in_the_config_is_named(folder: Path, change: dict, field: str) -> None:
    _edit_config(folder, **change)
    with pytest.raises(CheckpointError, match="does not fit its contract") as caught:
        load(folder)
    assert field in str(caught.value)


@pytest.mark.parametrize("text", ["", "[1, 2]", "{", "[" * 100_000])
def test_config_that_is_no_object(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text)
    _resum(folder)
    with pytest.raises(CheckpointError, match="not a JSON object"):
        load(folder)


@pytest.mark.parametrize("name", ["patch_transfomer", "os.system", "torch.load", "../evil", "__init__"])
def test_only_registered_names_are_built(folder: Path, name: str) -> None:
    _edit_config(folder, encoder={"name": name, "args": {}})
    with pytest.raises(UnknownNameError, match="Unknown encoders part"):
        load(folder)


def test_arguments_are_checked_against_the_signature(folder: Path) -> None:
    _edit_config(folder, encoder={"name": "patch_transformer", "args": {"widths": 16}})
    with pytest.raises(ConfigError, match="did you mean 'width'"):
        load(folder)
    _edit_config(folder, encoder={"name": "patch_transformer", "args": {"width": "wide"}})
    with pytest.raises(CheckpointError, match="cannot be built from its config"):
        load(folder)


def _first(weights: dict, room: str) -> str:
    return sorted(name for name in weights if name.startswith(room))[0]


def _drop(weights: dict) -> None:
    del weights[_first(weights, "encoder.")]


def _add(weights: dict) -> None:
    weights["encoder.backdoor"] = torch.zeros(2)


def _reshape(weights: dict) -> None:
    name = _first(weights, "encoder.")
    weights[name] = torch.zeros(*weights[name].shape, 2)


def _halve(weights: dict) -> None:
    name = _first(weights, "encoder.")
    weights[name] = weights[name].half()


@pytest.mark.parametrize(
    ("change", "words", "matched"),
    [
        (_drop, "1 missing", -1),
        (_add, "1 not of this model: encoder.backdoor", 0),
        (_reshape, "1 of another shape or type", -1),
        (_halve, "F16, not", -1),
    ],
)
def test_tensors_must_fit_exactly(folder: Path, config: ModelConfig, change, words: str, matched: int) -> None:
    total = len(build_model(config).state_dict())
    _edit_weights(folder, change)
    with pytest.raises(CheckpointError, match="The weights do not fit the model") as caught:
        load(folder)
    assert words in str(caught.value)
    assert f"{total + matched} of {total} tensors" in str(caught.value)


def test_heads_may_start_anew_only_when_asked(folder: Path) -> None:
    def lose_head(weights: dict) -> None:
        for name in [name for name in weights if name.startswith("heads.")]:
            del weights[name]

    kept = load(folder).state_dict()
    _edit_weights(folder, lose_head)
    with pytest.raises(CheckpointError, match="do not fit"):
        load(folder)
    with pytest.raises(CheckpointError, match="do not fit"):
        load(folder, allow_fresh=("head",))
    state = load(folder, allow_fresh=("heads",)).state_dict()
    assert all(torch.equal(state[name], kept[name]) for name in kept if not name.startswith("heads."))
    _edit_weights(folder, _drop)
    with pytest.raises(CheckpointError, match="1 missing"):
        load(folder, allow_fresh=("heads",))


def test_other_weights_of_the_right_shapes_are_found_out(folder: Path) -> None:
    def nudge(weights: dict) -> None:
        name = next(name for name in sorted(weights) if name.startswith("encoder.") and name.endswith("leave.weight"))
        weights[name] = weights[name] * 1.001

    _edit_weights(folder, nudge)
    with pytest.raises(CheckpointError, match="does not reproduce its stored embedding"):
        load(folder)


def test_nan_in_the_stored_embedding_is_no_match(folder: Path) -> None:
    stored = load_file(folder / "stored_embedding.safetensors")
    stored["embeddings"][0] = float("nan")
    save_file(stored, folder / "stored_embedding.safetensors")
    _resum(folder)
    with pytest.raises(CheckpointError, match="does not reproduce"):
        load(folder)


class _Bomb:
    def __reduce__(self):
        return (Path.touch, (Path("exploded"),))


def test_a_pickle_is_never_read(folder: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(_Bomb()))
    with pytest.raises(CheckpointError, match="a pickle, which may run code"):
        load(folder)
    (folder / "pytorch_model.bin").rename(folder / "model.safetensors")
    _resum(folder)
    with pytest.raises(CheckpointError, match="damaged or not safetensors"):
        load(folder)
    assert not (tmp_path / "exploded").exists()


def test_truncated_weights_are_refused(folder: Path) -> None:
    data = (folder / "model.safetensors").read_bytes()
    for size in (0, 7, len(data) // 2, len(data) - 1):
        (folder / "model.safetensors").write_bytes(data[:size])
        _resum(folder)
        with pytest.raises(CheckpointError, match="damaged or not safetensors"):
            load(folder)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_loads_onto_a_device(folder: Path) -> None:
    assert load(folder, device="cuda").device.type == "cuda"
