"""Two processes with half of the batch each take the step of one process with the whole."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import distributed

import hdt_fm
from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.protocols import Embeddings
from hdt_fm.training.distributed import Launch, gather, gather_rows, launched, processes
from hdt_fm.training.logs import read_metrics

HERE = Path(__file__).parent
CASES = ("rows", "signals", "plain", "cached", "lacking", "not gathered", "fused", "fused cached")
CLOSE = 1e-5
needs_gloo = pytest.mark.skipif(
    not (distributed.is_available() and distributed.is_gloo_available()), reason="torch was built without gloo"
)


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def worker(tiny: ModuleType) -> ModuleType:
    return _load(HERE / "one_of_two.py")


@pytest.fixture(scope="module")
def of_two(warm: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict]]:
    """What each of two processes got, by case; one start for all cases."""
    folder = tmp_path_factory.mktemp("two")
    warm.several(HERE / "one_of_two.py", ",".join(CASES), str(folder))
    return {case: [torch.load(folder / f"{case}-{rank}.pt") for rank in range(2)] for case in CASES}


def _far(got: dict, want: dict) -> list[str]:
    """Names of what differs by more than the order of float32 sums; a parameter nobody used has None or zeros."""
    assert got.keys() == want.keys()
    names = []
    for name, value in want.items():
        one = torch.zeros(()) if got[name] is None else got[name]
        other = torch.zeros(()) if value is None else value
        if float((one - other).abs().max()) > CLOSE * float(other.abs().max()) + 1e-7:
            names.append(name)
    return names


@needs_gloo
@pytest.mark.parametrize("case", ["plain", "cached", "lacking", "fused", "fused cached"])
def test_two_processes_have_the_gradients_of_one(worker: ModuleType, of_two: dict, case: str) -> None:
    want = worker.gradients(worker.Whole(gathers=False, fused=case.startswith("fused")), worker.whole_batch(case))
    assert sum(value is not None and bool(value.abs().sum() > 0) for value in want.values()) > 20
    assert want["log_scale"].abs() > 1e-3
    for got in of_two[case]:
        assert _far(got, want) == []
    first, second = of_two[case]
    assert all(torch.equal(first[name], second[name]) for name in first if first[name] is not None)


@needs_gloo
def test_without_gathering_it_is_another_loss(worker: ModuleType, of_two: dict) -> None:
    want = worker.gradients(worker.Whole(gathers=False), worker.whole_batch("plain"))
    assert len(_far(of_two["not gathered"][0], want)) > 20


@needs_gloo
def test_rows_come_in_the_order_of_ranks_whatever_their_number(of_two: dict) -> None:
    want = torch.tensor([[0, 1], [2, 3], [4, 5], [10, 11], [12, 13]])
    for rank, found in enumerate(of_two["rows"]):
        for kind in (torch.float32, torch.bfloat16, torch.int64, torch.bool):
            assert torch.equal(found[str(kind)], want.to(kind))
        assert torch.equal(found["one has none"], torch.arange(4.0))
        # Times two: DDP halves it.
        assert torch.equal(found["gradient"], torch.tensor([[0.0, 2.0], [4.0, 6.0, 8.0]][rank]))


@needs_gloo
@pytest.mark.slow
def test_a_run_killed_on_one_process_ends_on_two_as_if_unbroken(
    tiny: ModuleType, warm: ModuleType, tmp_path: Path
) -> None:
    _load(HERE.parent / "tiny_cohort.py").build(tmp_path / "shards")
    shard_run = _load(HERE / "shard_run.py")
    steps, one, two = 12, tmp_path / "one", tmp_path / "two"
    shard_run.run(tmp_path / "shards", one, steps=steps)

    def die(done: int, total: int, note: str) -> None:
        if done == 7:
            raise OSError("the power went out")

    with pytest.raises(OSError, match="power"):
        shard_run.run(tmp_path / "shards", two, steps=steps, progress=die)
    before = shard_run.read_diary([two / "seen-0.txt"])
    (two / "seen-0.txt").unlink()
    warm.several(HERE / "shard_run.py", str(tmp_path / "shards"), str(two), str(steps), "0")
    after = shard_run.read_diary([two / "seen-0.txt", two / "seen-1.txt"])
    # Two processes go on at the checkpoint's step 5, each with its half of what one process would see.
    assert sorted(after) == list(range(5, steps))
    assert {step: ids for step, ids in before.items() if step < 5} | after == shard_run.read_diary([one / "seen-0.txt"])
    _assert_ends_alike(two, one, "train/windows_per_s")


def _assert_ends_alike(got_folder: Path, want_folder: Path, *but: str) -> None:
    """Losses and weights of two runs are equal within rounding, which grows with the steps."""
    losses = [
        [row for row in read_metrics(path / "metrics.csv") if row[1].startswith("train/") and row[1] not in but]
        for path in (want_folder, got_folder)
    ]
    assert [row[:2] for row in losses[0]] == [row[:2] for row in losses[1]]
    assert [row[2] for row in losses[1]] == pytest.approx([row[2] for row in losses[0]], rel=1e-4)
    want, got = (hdt_fm.load(path / "checkpoint").state_dict() for path in (want_folder, got_folder))
    for name, value in want.items():
        # AdamW divides by the gradient's size, so rounding counts most where a gradient is near zero.
        assert float((got[name] - value).abs().max()) <= 2e-3 * float(value.abs().max()) + 1e-4, name


@needs_gloo
@pytest.mark.slow
@pytest.mark.parametrize("piece", [0, 4])
def test_a_loss_that_reads_signals_and_draws_is_that_of_one_process(
    tiny: ModuleType, warm: ModuleType, tmp_path: Path, piece: int
) -> None:
    _load(HERE.parent / "tiny_cohort.py").build(tmp_path / "shards")
    shard_run = _load(HERE / "shard_run.py")
    steps, one, two = 6, tmp_path / "one", tmp_path / "two"
    shard_run.run_hidden(tmp_path / "shards", one, steps=steps, piece=None)
    warm.several(HERE / "shard_run.py", str(tmp_path / "shards"), str(two), str(steps), "0", str(piece))
    rows = {name: value for _, name, value in read_metrics(one / "metrics.csv")}
    assert rows["train/rows/masked_patches"] == shard_run.BATCH
    assert rows["train/grad_norm"] > 0
    _assert_ends_alike(two, one, "train/windows_per_s")
    # Both drew the same numbers, over the windows of both, and not the numbers that dropout would get.
    draws = [(two / f"draws-{rank}.txt").read_text().splitlines() for rank in range(2)]
    assert draws[0] == draws[1]
    assert len(set(draws[0])) == steps
    assert {line.split()[1] for line in draws[0]} == {str(shard_run.BATCH)}
    # One process wrote; the other left nothing but its diary.
    assert sorted(path.name for path in two.iterdir()) == sorted(
        ["checkpoint", "checkpoints", "draws-0.txt", "draws-1.txt", "metrics.csv"]
    )


@needs_gloo
def test_signals_come_along_where_columns_are_named(tiny: ModuleType, worker: ModuleType, of_two: dict) -> None:
    whole = worker.whole_batch("lacking")
    for found in of_two["signals"]:
        assert torch.equal(found["temp"], whole.signals["temp"].values)
        assert torch.equal(found["temp observed"], whole.signals["temp"].observed)
        assert torch.equal(found["eda"], whole.signals["eda"].values)
        assert torch.equal(found["window_id"], whole.window_id)
        assert found["once"]


def test_what_was_launched_is_read_from_the_environment() -> None:
    assert launched({}) == Launch(1, 1, "auto")
    assert launched({"WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4"}) == Launch(4, 2, "ddp_find_unused_parameters_true")
    with pytest.raises(ConfigError, match="not spread evenly"):
        launched({"WORLD_SIZE": "5", "LOCAL_WORLD_SIZE": "3"})


def test_one_process_gathers_nothing() -> None:
    rows = torch.ones(3, 2, requires_grad=True)
    record = Embeddings(rows[:, None], torch.ones(3, 1, dtype=torch.bool))
    assert processes() == 1
    assert gather_rows(rows) is rows
    assert gather(record) is record
