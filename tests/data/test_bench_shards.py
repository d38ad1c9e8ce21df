"""The benchmark of reading: what is timed gives the windows that were written, and what is printed follows from it."""

import argparse
import importlib.util
import json
import os
import sys
import time
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from hdt_fm.data.loading import Loading


@pytest.fixture
def bench(repo: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(repo / "scripts"))
    spec = importlib.util.spec_from_file_location("bench_shards", repo / "scripts" / "bench_shards.py")
    module = importlib.util.module_from_spec(spec)
    # A dataclass asks for its module by name.
    monkeypatch.setitem(sys.modules, "bench_shards", module)
    spec.loader.exec_module(module)
    shapes = {name: (channels, samples // 10, step) for name, (channels, samples, step) in module.SHAPES.items()}
    monkeypatch.setattr(module, "SHAPES", shapes)
    monkeypatch.setattr(module, "BYTES", sum(4 * channels * samples for channels, samples, _ in shapes.values()))
    monkeypatch.setattr(module, "SIZE", 64)
    monkeypatch.setattr(module, "BLOCK", 128)
    return module


def options(**change):
    settings = {"windows": 300, "few": 128, "rounds": 1, "peers": ["webdataset", "pyarrow"], "no_parallel": True}
    return argparse.Namespace(**(settings | change))


def test_a_tiny_run_checks_every_contender_and_names_its_targets(bench, tmp_path, capsys):
    rows = bench.run(options(), tmp_path)
    assert all(not isinstance(value, (list, dict)) for one in rows for value in one.values())
    rates = {(one["model"], one["what"]): one for one in rows if one["metric"] == "rate"}
    assert len(rates) == 2 * 5 + 1 + 2 * 3
    assert rates["Arrow IPC", "shuffled"]["windows"] == 300
    assert rates["webdataset, a sample a window", "in order"]["windows"] == 128
    found = {(one["what"], one["model"]) for one in rows if one["metric"] == "target"}
    assert {what for what, _ in found} == {"T1", "T3", "T4", "T5", "T10"}
    assert len(found) == 2 + 4 + 1 + 2 + 1
    said = capsys.readouterr().out
    assert "| ours | shuffled |" in said
    assert "int16 over float32: 0.5" in said
    json.dumps(rows)


def test_loaders_side_by_side_go_on_from_round_to_round(bench, tmp_path):
    arrays = bench.windows_of(640)
    mapped = bench.mapped_copies(arrays, tmp_path)
    folders = [bench.write_ours(arrays, tmp_path / encoding, encoding) for encoding in ("f32", "i16")]
    every = {(one.name, one.order): one for one in bench.contenders(mapped, *folders, parallel=True)}
    for name in ("F2", "ours, 2 threads", "ours, 2 processes"):
        one = every[name, "shuffled"]
        bench.check(one, arrays)
        (first, cost), running = one.round(), one.running
        one.round()
        assert first > 0
        assert cost > 0
        assert one.running is running
        one.running = None


def test_a_contender_that_gives_something_else_stops_the_run(bench, tmp_path):
    arrays = bench.windows_of(150)
    folder = bench.write_ours(arrays, tmp_path / "f32", "f32")
    one = bench.Contender("ours", "in order", bench.Epochs(folder, shuffled=False, loading=Loading()), "F", windows=150)
    bench.check(one, arrays)
    wrong = {name: values + (name == "eda") for name, values in arrays.items()}
    with pytest.raises(SystemExit, match="does not give the windows"):
        bench.check(one, wrong)
    one.windows = 149
    with pytest.raises(SystemExit, match="150 of 149"):
        bench.check(one, arrays)


def test_ratios_are_of_neighbours_and_targets_follow_them(bench):
    ours = bench.Contender("ours", "shuffled", list, "F+", windows=9)
    ours.rates, ours.costs = [50.0, 300.0, 70.0], [4.0, 1.0, 3.0]
    ours.floors = [(100.0, 2.0), (300.0, 2.0), (100.0, 2.0)]
    rows = bench.rows_of([ours])
    assert (rows[0]["over_floor"], rows[0]["cpu_over_floor"]) == (0.7, 1.5)
    assert (rows[0]["low"], rows[0]["windows_per_s"], rows[0]["high"]) == (50, 70, 300)
    assert [(one["what"], one["met"]) for one in bench.targets(rows, 0.9)] == [("T1", True), ("T10", False)]
    assert "0.700 (F+)" in bench.table(rows)


def test_people_are_mixed_as_by_a_global_shuffle(bench, tmp_path):
    folder = bench.write_ours(bench.windows_of(2000), tmp_path / "f32", "f32")
    assert 0.95 < bench.people_share(folder) < 1.05
    # As they would lie without interleaving: a pool holds few people.
    folder.subject_rows = np.sort(folder.subject_rows)
    assert bench.people_share(folder) < 0.95


def test_cpu_counts_processes_below(bench):
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        sum(number * number for number in range(1_000_000))
        os.write(writer, b"!")
        time.sleep(30)
        os._exit(0)
    os.read(reader, 1)
    own, all_of_us = time.process_time(), bench.cpu_s()
    os.kill(child, 9)
    os.waitpid(child, 0)
    assert all_of_us - own > 0.02


@pytest.mark.parametrize(
    ("said", "answer"),
    [(["--windows", "3"], "128 or more"), (["--peers", "lance"], "known are"), (["--rounds", "0"], "1 or more")],
)
def test_what_cannot_be_measured_is_refused(bench, monkeypatch, capsys, said, answer):
    monkeypatch.setattr("sys.argv", ["bench_shards.py", *said])
    with pytest.raises(SystemExit) as stop:
        bench.main()
    assert stop.value.code == 2
    assert answer in capsys.readouterr().err


def test_sealed_beside_plain(bench, tmp_path, capsys, monkeypatch):
    pytest.importorskip("pyrage")
    monkeypatch.setenv("HDT_FM_RECIPIENTS", "of the user")
    trained = []

    def train(folder, work, settings):
        trained.append(Path(folder).name)
        sealed = "sealed" in trained[-1]
        return {"run": 6.0 if sealed else 5.0, "steps": 3.9 if sealed else 3.0, "cpu": 4.0, "peak_gb": 1.5, "loss": 2.5}

    monkeypatch.setattr(bench.shard_sealed, "_train", train)
    rows = bench.run_sealed(options(steps=4), tmp_path)
    assert all(not isinstance(value, (list, dict)) for one in rows for value in one.values())
    found = {one["what"]: one for one in rows}
    assert len(found) == 2 * 4 + 2 * 2
    assert all(one["plain_s"] > 0 and one["over_plain"] > 0 for one in rows)
    assert found["stream, i16, cold"]["plain_per_s"] > 0
    # Both kinds of draw, each plain and sealed.
    assert sorted(trained) == ["i16", "i16", "i16-sealed", "i16-sealed"]
    asked = found["training by people, run"]
    assert (asked["over_plain"], asked["met"], asked["sealed_gb"]) == (1.2, True, 1.5)
    assert not found["training by blocks, steps"]["met"]
    said = capsys.readouterr().out
    assert "| stream, f32, bounded |" in said
    assert "MISSED 1.300 of 1.25  training by blocks, steps" in said
    assert os.environ["HDT_FM_RECIPIENTS"] == "of the user"
    assert "HDT_FM_SHARDS_MEMORY_GB" not in os.environ
    json.dumps(rows)
    monkeypatch.setattr(bench.shard_sealed, "_train", lambda *what: train(*what) | {"loss": len(trained)})
    (tmp_path / "again").mkdir()
    with pytest.raises(SystemExit, match="taught other things"):
        bench.run_sealed(options(steps=4), tmp_path / "again")
