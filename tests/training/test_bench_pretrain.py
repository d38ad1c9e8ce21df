"""The benchmark runs and its rows are sound; what they say depends on the machine and is not tested."""

import json
import math
import os
from pathlib import Path
from types import ModuleType

import pytest

METRICS = {
    "windows_per_s": 4,
    "over_plain_blocks": 1,
    "waiting_for_data": 1,
    "augment_and_drop": 1,
    "over_bare_loop": 1,
    "over_bare_loop_ms": 1,
    "over_matrix_products": 1,
    "throughput": 1,
    "matrix_products": 1,
}
COLUMNS = {"what", "metric", "value", "low", "high", "unit", "n", "target", "model", "batch", "device", "precision"}


@pytest.mark.slow
def test_quick_writes_sound_rows(repo: Path, warm: ModuleType, tmp_path: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(repo), "CUDA_VISIBLE_DEVICES": ""}
    command = [str(repo / "scripts" / "bench_pretrain.py"), "--quick", "--json", str(tmp_path / "rows")]
    done = warm.run(command, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "rows").read_text())
    found: dict[str, int] = {}
    for row in rows:
        assert row.keys() >= COLUMNS
        assert not any(isinstance(value, dict | list) for value in row.values())
        assert all(math.isfinite(row[name]) for name in ("value", "low", "high"))
        assert row["low"] <= row["value"] <= row["high"]
        assert row["n"] >= 1
        assert row["metric"] in done.stdout
        found[row["metric"]] = found.get(row["metric"], 0) + 1
    assert found.items() >= METRICS.items()
    value = {(row["what"], row["metric"]): row["value"] for row in rows}
    assert all(value[key] > 0 for key in value if key[1] in ("windows_per_s", "throughput", "matrix_products"))
    assert 0 < value["pretrain on shards", "waiting_for_data"] < 100
    # The products are a part of the step, so a step that takes less time than they do was not measured.
    assert value["bare loop in memory", "over_matrix_products"] > 1
    assert list(tmp_path.iterdir()) == [tmp_path / "rows"]
