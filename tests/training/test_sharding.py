"""Two processes that share the weights out end where one process does, and either goes on where the other stopped."""

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, distributed, nn

import hdt_fm
from hdt_fm.schema.batch import Batch
from hdt_fm.training.caching import encode_in_pieces
from hdt_fm.training.distributed import SHARDED, Launch, launched
from hdt_fm.training.logs import read_metrics
from hdt_fm.training.optim import ByKind, adamw_cosine
from hdt_fm.training.sharding import encode_all

HERE = Path(__file__).parent
COMPARED = ("plain", "all", "half")
needs_gloo = pytest.mark.skipif(
    not (distributed.is_available() and distributed.is_gloo_available()), reason="torch was built without gloo"
)


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def runs(tiny: ModuleType, warm: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each case by one process in `one-CASE` and by two in `CASE`; one start of two processes for all."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("sharded")
    _load(HERE.parent / "tiny_cohort.py").build(folder / "shards")
    _load(HERE / "shard_run.py")
    worker = _load(HERE / "sharded_run.py")
    for name in COMPARED:
        worker.run(folder / "shards", folder / f"one-{name}", name)

    def die() -> None:
        raise OSError("the power went out")

    with pytest.raises(OSError, match="power"):
        worker.run(folder / "shards", folder / "goes on", "plain", progress=worker.at(3, die))
    cases = ",".join([*COMPARED, "stopped", "goes on"])
    warm.several(HERE / "sharded_run.py", str(folder / "shards"), str(folder), cases)
    return folder


def _said(runs: Path, name: str) -> list[dict[str, Any]]:
    return [torch.load(runs / f"{name}-{rank}.pt", weights_only=True) for rank in range(2)]


def _rows(folder: Path) -> list[tuple[int, str, float]]:
    return [row for row in read_metrics(folder / "metrics.csv") if row[1] != "train/windows_per_s"]


def _assert_ends_alike(got_folder: Path, want_folder: Path) -> None:
    """Numbers and weights of two runs are equal within rounding, which grows with the steps."""
    want, got = _rows(want_folder), _rows(got_folder)
    assert [row[:2] for row in got] == [row[:2] for row in want]
    assert {row[1].split("/")[0] for row in want} == {"train", "val"}
    assert [row[2] for row in got] == pytest.approx([row[2] for row in want], rel=1e-3, abs=1e-4)
    weights, others = (hdt_fm.load(path / "checkpoint").state_dict() for path in (got_folder, want_folder))
    for name, value in others.items():
        # AdamW divides by the gradient's size, so rounding counts most where a gradient is near zero.
        assert float((weights[name] - value).abs().max()) <= 2e-3 * float(value.abs().max()) + 1e-4, name


@needs_gloo
@pytest.mark.slow
@pytest.mark.parametrize("name", COMPARED)
def test_two_processes_with_half_of_the_weights_each_train_as_one(runs: Path, name: str) -> None:
    _assert_ends_alike(runs / name, runs / f"one-{name}")
    for said in _said(runs, name):
        assert said["finished"]
        assert said["resumed"] is None
        # A half of what is cut; what stays whole here is the projection.
        assert 0.5 <= said["share"] < 0.55
    # In its first step both had the same weights: nothing but the order of sums differs.
    first = [{row[1]: row[2] for row in _rows(runs / one) if row[0] == 1} for one in (name, f"one-{name}")]
    assert first[0] == pytest.approx(first[1], rel=1e-5)


@needs_gloo
@pytest.mark.slow
def test_its_checkpoints_are_those_of_one_process(runs: Path) -> None:
    for name in COMPARED:
        paths = [sorted((runs / one / "checkpoints").iterdir()) for one in (name, f"one-{name}")]
        assert [path.name for path in paths[0]] == [path.name for path in paths[1]]
        got, want = (torch.load(some[-1], weights_only=True) for some in paths)
        assert _forms(got) == _forms(want)
        first = want["optimizer_states"][0]["state"][0]["exp_avg"]
        assert float((got["optimizer_states"][0]["state"][0]["exp_avg"] - first).abs().max()) <= 1e-3 * float(
            first.abs().max()
        )


def _forms(value: Any) -> Any:
    """What a checkpoint holds, without the numbers; one of the runs has compiled blocks."""
    if isinstance(value, Tensor):
        assert type(value) is Tensor
        return value.dtype, tuple(value.shape)
    if isinstance(value, dict):
        return {key: _forms(item) for key, item in value.items() if key != "compile"}
    if isinstance(value, list | tuple):
        return [_forms(item) for item in value]
    return type(value)


@needs_gloo
@pytest.mark.slow
def test_a_signal_to_one_process_stops_both_and_they_go_on_to_the_same_end(runs: Path) -> None:
    said = _said(runs, "stopped")
    assert [one["stopped"] for one in said] == ["SIGTERM", "another process"]
    for one in said:
        assert (one["steps"], one["checkpoint"], one["resumed"], one["finished"]) == (5, False, 5, True)
    assert _rows(runs / "stopped") == _rows(runs / "plain")
    states = [hdt_fm.load(runs / name / "checkpoint").state_dict() for name in ("stopped", "plain")]
    assert all(torch.equal(states[0][name], value) for name, value in states[1].items())


@needs_gloo
@pytest.mark.slow
def test_either_goes_on_from_the_checkpoint_of_the_other(runs: Path, tmp_path: Path) -> None:
    assert [one["resumed"] for one in _said(runs, "goes on")] == [2, 2]
    _assert_ends_alike(runs / "goes on", runs / "one-plain")
    (tmp_path / "back").mkdir()
    (tmp_path / "back" / "metrics.csv").write_bytes((runs / "all" / "metrics.csv").read_bytes())
    start = sorted((runs / "all" / "checkpoints").iterdir())[0]
    worker = sys.modules["sharded_run"]
    # Two processes took four steps; one takes the last two.
    outcome = worker.run(runs / "shards", tmp_path / "back", "all", resume=start)
    assert (outcome.resumed_from, outcome.finished) == (4, True)
    _assert_ends_alike(tmp_path / "back", runs / "one-all")


def _gradients(model: nn.Module, values: Tensor) -> dict[str, Tensor | None]:
    weights = dict(model.named_parameters())
    found = torch.autograd.grad(values.square().sum(), tuple(weights.values()), allow_unused=True)
    return dict(zip(weights, found, strict=True))


@pytest.mark.parametrize("gone", ["zeros", "missing"])
@pytest.mark.parametrize("encoder", ["patch_transformer", "irregular", "resnet"])
def test_what_stands_in_has_gradients_of_zero_and_changes_nothing(tiny: ModuleType, encoder: str, gone: str) -> None:
    args = {"resnet": {"width": 16, "rate_hz": 8.0}}.get(encoder, {"width": 16, "heads": 2, "slots": 2})
    config = tiny.tiny_model().config
    model = hdt_fm.checkpoint.build_model(
        config.model_copy(update={"encoder": config.encoder.model_copy(update={"name": encoder, "args": args})})
    )
    keep = torch.ones(7, 3, dtype=torch.bool)
    keep[:, 1:] = False
    batch = tiny.tiny_batch(0, 7).without(keep)
    if gone == "missing":
        batch = replace(batch, signals={"acc": batch.signals["acc"]})
    seen: list[Batch] = []

    def encode(some: Batch) -> dict[str, Any]:
        seen.append(some)
        return {"values": model.project(model.embed(some)).values, "seen": some, "others": None}

    got, want = encode_all(encode, batch, (tiny.COLUMNS[0], tiny.COLUMNS[2])), encode(batch)
    assert [len(one) for one in seen] == [8, 7]
    assert got["seen"] is batch
    torch.testing.assert_close(got["values"], want["values"])
    mine, before = _gradients(model, got["values"]), _gradients(model, want["values"])
    temp = {name: grad for name, grad in mine.items() if name.startswith("encoder.encoders.temp.")}
    assert len(temp) > 5
    assert all(grad is not None and not grad.any() for grad in temp.values())
    # Nobody holds the other one, so no weight of it moves: not even by decay.
    assert all(grad is None for name, grad in mine.items() if name.startswith("encoder.encoders.eda."))
    for name, grad in before.items():
        if grad is not None:
            torch.testing.assert_close(mine[name], grad, rtol=1e-4, atol=1e-5)


def test_nothing_stands_in_where_all_is_there(tiny: ModuleType) -> None:
    batch = tiny.tiny_batch(0)
    assert encode_all(lambda some: {"seen": some}, batch, tiny.COLUMNS)["seen"] is batch


def test_pieces_may_add_to_gradients_themselves(tiny: ModuleType) -> None:
    model, batch = tiny.tiny_model(dropout=0.5).train(), tiny.tiny_batch(0, 23)
    found = []
    for parameters in (tuple(model.parameters()), None):
        model.zero_grad()
        torch.manual_seed(1)
        said = encode_in_pieces(lambda part: {"of": model.embed(part)}, batch, piece=5, parameters=parameters)
        said["of"].values.square().sum().backward()
        found.append({name: weight.grad for name, weight in model.named_parameters()})
    assert sum(grad is not None for grad in found[0].values()) > 20
    for name, grad in found[0].items():
        assert (found[1][name] is None) == (grad is None)
        if grad is not None:
            torch.testing.assert_close(found[1][name], grad)


def test_a_step_in_two_turns_is_the_step() -> None:
    layers = {kind: nn.Linear(3, 5) for kind in (ByKind, torch.optim.AdamW)}
    layers[ByKind].load_state_dict(layers[torch.optim.AdamW].state_dict())
    given = torch.randn(4, 3)
    for kind, layer in layers.items():
        optimizer = kind(layer.parameters(), lr=0.1)

        def closure(layer: nn.Module = layer, optimizer: Any = optimizer) -> Tensor:
            optimizer.zero_grad()
            loss = layer(given).square().sum()
            loss.backward()
            return loss

        losses = [float(optimizer.step(closure).detach()) for _ in range(3)]
        assert losses[2] < losses[0]
        assert optimizer.param_groups[0]["params"][0] is layer.weight
    assert torch.equal(layers[ByKind].weight, layers[torch.optim.AdamW].weight)
    settings = {"steps": 2, "learning_rate": 0.1, "weight_decay": 0.0, "warmup_steps": 0}
    assert type(adamw_cosine(nn.Linear(2, 3), **settings)[0]) is torch.optim.AdamW


def test_one_process_has_nobody_to_share_with() -> None:
    assert launched({}, sharded=True) == Launch(1, 1, "auto")
    assert launched({"WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4"}, sharded=True) == Launch(4, 2, SHARDED)
