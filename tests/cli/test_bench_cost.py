"""The benchmark of metering: one run is what it says, and ratios are of medians."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def bench(repo: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("bench_cost", repo / "scripts" / "bench_cost.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_run_without_the_meter_has_no_energy(bench: ModuleType) -> None:
    told = bench.one("none", 3)
    assert told["kwh"] is None
    assert told["wall"] > 0
    assert told["start"] < told["wall"]


def test_ratios_are_of_medians(bench: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    cpu = {"none": (1.0, 2.0, 9.0), "after": (3.0, 3.0, 0.0), "before": (4.0, 5.0, 4.0)}
    runs = [
        {"mode": mode, "wall": 2 * value, "cpu": value, "start": 0.0, "end": 0.5, "peak_mb": 60.0}
        for mode, values in cpu.items()
        for value in values
    ]
    none, after, before = bench.rows(runs)
    assert (none["processor ratio"], after["processor ratio"], before["wall ratio"]) == (1.0, 1.5, 2.0)
    assert none["of this from, to"] == [1.0, 9.0]
    assert "| after | 3 | 3 | 0 to 3 | 1.5 | 1.5 | 0 | 0.5 | 60 |" in bench.table([none, after, before])


def test_the_command_line_asks_each_mode_in_turn(
    bench: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []

    def run(told: list[str], **_: object) -> object:
        asked.append(told[-2])
        answer = {"mode": told[-2], "wall": 1.0, "cpu": 1.0, "start": 0.0, "end": 0.0, "peak_mb": 1.0}
        return type("Done", (), {"stdout": json.dumps(answer)})

    monkeypatch.setattr(bench.subprocess, "run", run)
    monkeypatch.setattr(bench, "products_for", lambda seconds: 7)
    monkeypatch.setattr(sys, "argv", ["bench_cost.py", "--quick", "--json", str(tmp_path / "rows.json")])
    bench.main()
    assert asked == ["none", "after", "before"] * 2
    assert len(json.loads((tmp_path / "rows.json").read_text())) == 3
    assert capsys.readouterr().out.startswith("7 products of 384 x 384, 2 rounds")
