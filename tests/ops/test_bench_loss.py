"""The benchmark of the loss: all contenders compute the same, and what is printed follows from what was timed."""

import argparse
import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest
import torch


@pytest.fixture
def bench(repo: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("bench_loss", repo / "scripts" / "bench_loss.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    # The compiler alone takes half a minute; what it compiles is `naive`.
    monkeypatch.setattr(torch, "compile", lambda loss: loss)
    return module


def test_all_contenders_compute_the_same(bench: ModuleType) -> None:
    for name, (of_loss, of_gradients) in bench.errors((200, 16), "cpu", torch.float32).items():
        # Rows of eight bits, where this CPU has products for them.
        bound = 4e-3 if "bf16" in name else 1e-5
        assert of_loss < bound, name
        assert of_gradients < bound, name


def test_rows_are_flat_and_ratios_are_those_of_the_times(bench: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "timed", lambda *_: {"ours": [0.004] * 5, "matrix products": [0.003] * 5})
    options = argparse.Namespace(device="cpu", dtype="float32", rounds=5, no_memory=True)
    rows = bench.measure((100, 10), options)
    assert all(not isinstance(value, (list, dict)) for one in rows for value in one.values())
    found = {(one["model"], one["metric"]): one["value"] for one in rows}
    assert found["ours", "time"] == pytest.approx(4)
    assert found["ours", "share of the bound"] == pytest.approx(75)
    assert found["ours", "useful rate"] == pytest.approx(8 * 100**2 * 10 / 0.004 / 1e9)
    assert found["matrix products", "time over ours"] == pytest.approx(0.75)
    assert "| 100 x 10 | ours | 4.0 ms" in bench.table(rows)
    json.dumps(rows)


def test_a_median_and_its_interval_are_values_that_were_measured(bench: ModuleType) -> None:
    assert bench.middle([3.0, 1.0, 2.0]) == (2.0, 1.0, 3.0)
    assert bench.middle([4.0, 1.0, 2.0, 3.0])[0] == 2.5
    value, low, high = bench.middle([float(one) for one in range(15)])
    assert (value, low, high) == (7.0, 3.0, 11.0)


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (["--sizes", "foo"], "expected rows x dim by commas"),
        (["--sizes", "0x8"], "expected rows x dim by commas"),
        (["--rounds", "0"], "must be 1 or more"),
        (["--device", "cuda"], "finds no GPU here"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    bench: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], said: list[str], answer: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr("sys.argv", ["bench_loss.py", *said])
    with pytest.raises(SystemExit) as stop:
        bench.main()
    assert stop.value.code == 2
    assert answer in capsys.readouterr().err


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peaks are asked of Linux")
def test_peak_memory_is_that_of_the_step(bench: ModuleType, warm: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench.subprocess, "run", warm.run)
    grown = {name: bench.peak_growth(name, (2500, 16), "cpu", torch.float32) for name in ("ours", "naive")}
    # Three arrays and more of 25 MB.
    assert 70 < grown["naive"] < 400
    assert grown["ours"] < 0.6 * grown["naive"]
