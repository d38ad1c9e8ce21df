"""Two and three processes with their rows each, against one process with all rows."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import distributed, multiprocessing

HERE = Path(__file__).parent
pytestmark = pytest.mark.skipif(
    not (distributed.is_available() and distributed.is_gloo_available()), reason="torch was built without gloo"
)


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("one_of_several", HERE / "one_of_several.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


WORKER = _load()


@pytest.fixture(scope="module", params=[2, 3])
def of_several(request, tmp_path_factory) -> list[dict]:
    """What each process got, by case."""
    folder = tmp_path_factory.mktemp("several")
    multiprocessing.start_processes(
        _start, args=(request.param, str(folder)), nprocs=request.param, start_method="fork"
    )
    return [torch.load(folder / f"{rank}.pt") for rank in range(request.param)]


def _start(rank: int, world: int, folder: str) -> None:
    WORKER.run(rank, world, folder)


def distance(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one.double() - other.double()).norm() / max(float(other.double().norm()), 1e-30))


@pytest.mark.parametrize("case", sorted(WORKER.CASES))
def test_the_loss_and_its_gradients_are_those_of_the_whole_batch(of_several, case):
    world = len(of_several)
    z, present, scale, asked = WORKER.problem(case, world)
    whole = WORKER.answer(z, present, scale, asked, impl="reference")
    close = 2e-6 if scale.dtype == torch.float32 else 1e-11
    for rank, found in enumerate(one[case] for one in of_several):
        mine = slice(sum(WORKER.COUNTS[:rank]), sum(WORKER.COUNTS[: rank + 1]))
        assert found.keys() == whole.keys()
        for name, expected in whole.items():
            if name == "rows":
                # DDP takes the mean over processes of what each hands it.
                assert distance(found[name] / world, expected[:, mine]) < close, (rank, name)
                assert (found[name][~present[mine].T] == 0).all()
            else:
                assert distance(found[name], expected) < close, (rank, name)
    if case == "nobody":
        assert float(whole["loss"]) == 0


def test_the_scales_gradient_and_the_loss_are_the_same_on_every_process(of_several):
    for case in WORKER.CASES:
        for name in ("loss", "scale"):
            assert all(torch.equal(one[case][name], of_several[0][case][name]) for one in of_several), (case, name)
