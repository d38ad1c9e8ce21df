"""The benchmark of reading: what is printed follows from what was timed, and its files are what their readers take."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from data_pipelines.readers import detect
from hdt_fm.schema import registry


@pytest.fixture
def bench(repo: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("bench_ingest", repo / "scripts" / "bench_ingest.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_row_has_its_reader_and_its_file(bench: ModuleType, real_data: Path) -> None:
    for row in bench.ROWS:
        assert row.reader in registry.names("readers")
        if row.file not in bench.FABRICATED:
            path = real_data / "device_formats" / row.file
            assert path.exists(), row.file
            assert registry.find("readers", row.reader).detect(path), row.file


def test_fabricated_files_are_taken_by_their_readers_and_grow_as_asked(bench: ModuleType, tmp_path: Path) -> None:
    owners = {row.file: row.reader for row in bench.ROWS}
    for name, (maker, file) in bench.FABRICATED.items():
        path = maker(tmp_path / file, 0.2)
        assert detect(path) == owners[name]
        visit = registry.find("readers", owners[name])().read(path, subject=bench.NOBODY)
        assert bench.hours(visit) > 0.5
    few = bench.apple(tmp_path / "few.xml", 3, kept=100)
    assert 3e6 < few.stat().st_size < 6e6
    made = registry.find("readers", "apple_health")().read(few, subject=bench.NOBODY)
    # 100 records, one every 11 s.
    assert made.recordings["heart_rate"].values.shape[1] == 19


def test_rows_are_flat_and_ratios_are_those_of_the_times(
    bench: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter([0.006, 0.004] * 5)
    monkeypatch.setattr(bench, "cpu_s", lambda _: next(times))
    path = bench.clarity(tmp_path / "clarity.csv", 0.1)
    row = bench.Row("dexcom_clarity", "clarity", "peer", lambda _: None)
    rows = bench.measure(row, path, 5)
    assert all(not isinstance(value, list | dict) for one in rows for value in one.values())
    assert {*rows[0]} == {"what", "model", "metric", "value", "low", "high", "unit", "n"}
    found = {(one["model"], one["metric"]): one["value"] for one in rows}
    assert found["peer", "ours over it"] == pytest.approx(1.5)
    # 200 readings of five minutes in 6 ms.
    assert found["ours", "rate"] == pytest.approx(200 * 300 / 3600 / 0.006)
    assert found["file", "size"] == pytest.approx(path.stat().st_size / 1e6)
    assert "| dexcom_clarity: clarity | " in bench.table(rows)
    assert "1.50 [1.50, 1.50]" in bench.table(rows)
    json.dumps(rows)


def test_a_library_that_is_not_installed_is_left_out(bench: ModuleType, tmp_path: Path) -> None:
    def missing(_: Path) -> None:
        raise ImportError

    path = bench.clarity(tmp_path / "clarity.csv", 0.1)
    rows = bench.measure(bench.Row("dexcom_clarity", "clarity", "peer", missing), path, 1)
    assert {one["model"] for one in rows} == {"file", "ours"}
    assert bench.table(rows).endswith(" |")


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (["--rounds", "0"], "must be 1 or more"),
        (["--megabytes", "0"], "above 0"),
        (["--only", "fax"], "expected some of"),
    ],
)
def test_what_cannot_be_asked(
    bench: ModuleType, said: list[str], answer: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["bench_ingest.py", *said])
    with pytest.raises(SystemExit):
        bench.main()
    assert answer in capsys.readouterr().err


def test_json_is_written_whole(bench: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ["--quick", "--only", "levels", "--json", str(tmp_path / "a.json")]
    monkeypatch.setattr(sys, "argv", ["bench_ingest.py", *arguments])
    bench.main()
    assert isinstance(json.loads((tmp_path / "a.json").read_text()), list)
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
