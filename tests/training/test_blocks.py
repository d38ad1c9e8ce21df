"""Blocks that are recomputed give the same run, bit for bit, and hold less; compiled ones the same within rounding."""

import json
import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import hdt_fm
from hdt_fm.checkpoint import Model, build_model, model_digest
from hdt_fm.layers.attention import TransformerBlock
from hdt_fm.losses.leave_one_out import LeaveOneOut
from hdt_fm.schema.errors import CheckpointError, ConfigError
from hdt_fm.schema.manifest import Part
from hdt_fm.training import blocks
from hdt_fm.training.blocks import blocks_of, changed_blocks
from hdt_fm.training.caching import encode_in_pieces
from hdt_fm.training.logs import read_metrics
from hdt_fm.training.module import encoding

HERE = Path(__file__).parent
SIZE = 23
FUSED = "patch_transformer, fused"
PARTS = {
    "patch_transformer": {"width": 8, "depth": 2, "heads": 2, "patch_points": 4, "dropout": 0.5},
    "irregular": {"width": 8, "depth": 2, "heads": 2, "slots": 2, "dropout": 0.5},
    "resnet": {"width": 16, "depth": 2, "rate_hz": 8.0},
}
# What a compiled block may change in float32.
CLOSE = 1e-5


def _model(tiny: ModuleType, name: str = "patch_transformer", **more: Any) -> Model:
    encoder = name.partition(",")[0]
    changes = {"encoder": Part(name=encoder, args={**PARTS[encoder], **more})}
    if name == FUSED:
        changes["fusion"] = Part(name="attention", args={"heads": 2, "dropout": 0.5})
    return build_model(tiny.tiny_model().config.model_copy(update=changes), seed=3).train()


def _gradients(tiny: ModuleType, model: Model, name: str = "", piece: int | None = None) -> dict[str, Tensor | None]:
    """Of a contrast under dropout; with the states of the generator before the way back and after it."""
    loss = LeaveOneOut(others="fused" if name == FUSED else "mean")
    batch, encode, learned = tiny.tiny_batch(0, SIZE), encoding(model, loss), tuple(model.parameters())
    model.zero_grad()
    torch.manual_seed(3)
    encoded = encode_in_pieces(encode, batch, piece=piece, parameters=learned) if piece else encode(batch)
    value = loss(encoded).value
    there = torch.get_rng_state()
    value.backward()
    found = {key: None if weight.grad is None else weight.grad.clone() for key, weight in model.named_parameters()}
    return {"loss": value.detach(), "there": there, "back": torch.get_rng_state(), **found}


def _equal(one: dict[str, Tensor | None], other: dict[str, Tensor | None]) -> bool:
    assert one.keys() == other.keys()
    assert sum(value is not None for value in one.values()) > 20
    return all(torch.equal(one[name], other[name]) if one[name] is not None else other[name] is None for name in one)


@pytest.mark.parametrize("piece", [None, 5])
@pytest.mark.parametrize("name", [*PARTS, FUSED])
def test_recomputed_blocks_give_the_same_gradients_bit_for_bit(tiny: ModuleType, name: str, piece: int | None) -> None:
    model = _model(tiny, name)
    names, want = list(model.state_dict()), _gradients(tiny, model, name, piece)
    calls: list[nn.Module] = []
    hooks = [block.register_forward_hook(lambda block, given, made: calls.append(block)) for block in blocks_of(model)]
    assert len(hooks) == 3 * 2 + (name == FUSED)
    with changed_blocks(model, recompute=True, compiled=False):
        assert list(model.state_dict()) == names
        assert _equal(_gradients(tiny, model, name, piece), want)
    assert set(calls) == set(blocks_of(model))
    assert not [part for part in model.modules() if "forward" in vars(part)]
    assert _equal(_gradients(tiny, model, name, piece), want)


def test_other_draws_on_the_way_back_would_be_seen(tiny: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    model = _model(tiny)
    want = _gradients(tiny, model)
    monkeypatch.setattr(blocks, "checkpoint", partial(checkpoint, preserve_rng_state=False))
    with changed_blocks(model, recompute=True, compiled=False):
        assert not _equal(_gradients(tiny, model), want)


def _held(model: Model, run: Callable[[], Any]) -> int:
    """Bytes that autograd keeps for the way back, weights aside; each piece of memory once."""
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    found: dict[int, tuple[int, Tensor]] = {}

    def keep(tensor: Tensor) -> Tensor:
        memory = tensor.untyped_storage()
        if memory.data_ptr() not in weights:
            found[memory.data_ptr()] = (memory.nbytes(), tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        run()
    return sum(size for size, _ in found.values())


def test_a_recomputed_block_holds_its_input_and_nothing_else(tiny: ModuleType) -> None:
    windows = tiny.tiny_batch(0, SIZE)
    signal = windows.signals["acc"]
    held: dict[tuple[int, bool], int] = {}
    for depth in (1, 5):
        model = _model(tiny, depth=depth, width=16)
        encoder = model.encoder.encoders["acc"]
        for recompute in (False, True):
            with changed_blocks(model, recompute=recompute, compiled=False):
                held[depth, recompute] = _held(
                    model, partial(encoder, signal.values, signal.observed, signal.sampling_rate_hz)
                )
    # Windows, tokens of a second each, components, bytes of a float32.
    of_input = SIZE * 4 * 16 * 4
    assert (held[5, True] - held[1, True]) / 4 == of_input
    assert (held[5, False] - held[1, False]) / 4 > 12 * of_input


def _rows(folder: Path) -> list[tuple[int, str, float]]:
    return [row for row in read_metrics(folder / "metrics.csv") if row[1] != "train/windows_per_s"]


@pytest.mark.parametrize("more", [{}, {"piece": 4}, {"precision": "bf16-mixed"}])
def test_a_run_with_recomputed_blocks_is_the_run_without(tiny: ModuleType, tmp_path: Path, more: dict) -> None:
    settings = {"steps": 7, "checkpoint_every": 3, "val_every": 4, **more}
    folders = {recompute: tmp_path / str(recompute) for recompute in (False, True)}
    for recompute, folder in folders.items():
        tiny.run(folder, activation_checkpointing=recompute, **settings)
    assert _rows(folders[True]) == _rows(folders[False])
    states = [
        torch.load(folder / "checkpoints" / "step-00000007.ckpt", weights_only=True) for folder in folders.values()
    ]
    assert states[0]["state_dict"].keys() == states[1]["state_dict"].keys()
    assert states[0]["hdt_fm_run"] == states[1]["hdt_fm_run"]
    digests = {model_digest(hdt_fm.load(folder / "checkpoint")) for folder in folders.values()}
    assert len(digests) == 1


def test_a_run_may_go_on_with_recomputed_blocks(tiny: ModuleType, tmp_path: Path) -> None:
    def out_of_memory(done: int, total: int, note: str) -> None:
        if done == 7:
            raise MemoryError

    tiny.run(tmp_path / "whole")
    with pytest.raises(MemoryError):
        tiny.run(tmp_path / "broken", progress=out_of_memory)
    assert tiny.run(tmp_path / "broken", activation_checkpointing=True).resumed_from == 4
    assert _rows(tmp_path / "broken") == _rows(tmp_path / "whole")
    first, second = (hdt_fm.load(tmp_path / name / "checkpoint") for name in ("broken", "whole"))
    assert model_digest(first) == model_digest(second)


@pytest.mark.parametrize("setting", ["activation_checkpointing", "compile"])
def test_a_model_without_blocks_is_refused(tiny: ModuleType, tmp_path: Path, setting: str) -> None:
    with pytest.raises(ConfigError, match="no blocks") as caught:
        tiny.run(tmp_path, model=tiny.tiny_model(depth=0), **{setting: True})
    assert f"training.{setting}" in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_without_a_compiler_nothing_is_begun(tiny: ModuleType, tmp_path: Path) -> None:
    began: list[int] = []
    with (
        torch._inductor.config.patch({"cpp.cxx": ("no-such-compiler",)}),
        pytest.raises(ConfigError, match="no compiler") as caught,
    ):
        tiny.run(tmp_path, compile=True, begin=lambda: began.append(1))
    assert all(word in str(caught.value) for word in ("g++", "CXX", "training.compile=false"))
    assert not began
    assert not list(tmp_path.iterdir())


class _Plain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([nn.Linear(3, 3)])


def test_a_block_that_cannot_be_compiled_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(graph: Any, inputs: Any) -> Any:
        raise ValueError("the compiler went home")

    monkeypatch.setattr(blocks, "_require_compiler", lambda: None)
    monkeypatch.setattr(blocks, "BACKEND", broken)
    model = _Plain()
    with (
        changed_blocks(model, recompute=False, compiled=True),
        pytest.raises(ConfigError, match="cannot be compiled") as caught,
    ):
        model.blocks[0](torch.ones(2, 3))
    assert "Linear" in str(caught.value)
    assert "went home" in str(caught.value)
    assert "forward" not in vars(model.blocks[0])


def _measured(warm: ModuleType, folder: Path, what: str) -> dict[str, Any]:
    shared = {
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(HERE.parents[1]),
        "TORCHINDUCTOR_CACHE_DIR": str(folder / "cache"),
    }
    # Its pool of compiling processes, which `warm` forbids, costs more than one small block.
    done = warm.run([str(HERE / "compiled_run.py"), str(folder), what], env={**os.environ, **shared}, timeout=420)
    assert done.returncode == 0, done.stderr
    return json.loads((folder / f"{what}.json").read_text())


@pytest.fixture(scope="module")
def captured(warm: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a process with compiled blocks found; its runs lie in `folder`."""
    if shutil.which(os.environ.get("CXX", "g++")) is None:
        pytest.skip("no C++ compiler: compiled blocks are refused")
    folder = tmp_path_factory.mktemp("compiled")
    return {**_measured(warm, folder, "captured"), "folder": folder}


@pytest.mark.slow
def test_captured_blocks_are_the_blocks_and_few_forms_serve_all_batches(captured: dict) -> None:
    found = captured["blocks"]
    assert found["far"] <= CLOSE
    # A form with all patches seen, one with some; as many again without a gradient, for the first pass in pieces.
    assert 1 <= found["forms"][0] <= 2
    assert found["forms"][-1] <= 6
    # Twelve sizes have met all forms: another six make none.
    assert found["forms"][17] == found["forms"][11]
    assert found["in validation"] == 0
    assert found["names"]
    assert found["left"] == []


@pytest.mark.slow
def test_a_compiled_run_resumes_to_the_same_end_and_loads_anywhere(
    tiny: ModuleType, captured: dict, tmp_path: Path
) -> None:
    assert captured["run"]["resumed from"] == 2
    assert captured["run"]["alike"]
    assert captured["run"]["forms"] >= 1
    # This process does not compile.
    model = hdt_fm.load(captured["folder"] / "whole" / "checkpoint")
    assert list(model.state_dict()) == list(tiny.tiny_model().state_dict())
    settings = {"steps": 6, "checkpoint_every": 2, "val_every": 3, "warmup_steps": 1}
    with pytest.raises(CheckpointError, match="compile True"):
        tiny.run(captured["folder"] / "whole", **settings)
    last = captured["folder"] / "whole" / "checkpoints" / "step-00000006.ckpt"
    assert tiny.run(tmp_path / "on", resume=last, **{**settings, "steps": 8}).resumed_from == 6
    tiny.run(tmp_path / "plain", **settings)
    with pytest.raises(CheckpointError, match="compile None"):
        tiny.run(tmp_path / "plain", compile=True, **settings)


@pytest.mark.slow
def test_the_real_compiler_agrees_within_rounding(warm: ModuleType, tmp_path: Path) -> None:
    if shutil.which(os.environ.get("CXX", "g++")) is None:
        pytest.skip("no C++ compiler: compiled blocks are refused")
    found = _measured(warm, tmp_path, "inductor")
    assert 0 < found["far"] <= CLOSE
    assert 0.2 < found["kept"] < 0.8
    # Gradient caching encodes without a gradient first: both passes must drop the same.
    assert found["same without a gradient"]
    assert found["same twice"]
    assert found["forms"] == 2


def test_blocks_are_found_where_parts_are_stacked(tiny: ModuleType) -> None:
    found = blocks_of(_model(tiny, FUSED))
    assert len(found) == 7
    assert {type(block) for block in found} == {TransformerBlock}
