"""The wheel holds all that a receiver of a published folder needs: load, stored embedding, `publish verify`."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

SHIPPED = "hdt-fm-wrist-s"


def check(repo: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(repo / "scripts" / "check_install.py"), "--quick", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_wheel_alone_reproduces_a_published_model_and_tells_one_that_is_not_it(repo: Path, tmp_path: Path) -> None:
    changed = tmp_path / "changed"
    shutil.copytree(repo / "model_cards" / SHIPPED, changed)
    weights = load_file(changed / "model.safetensors")
    first = next(name for name, tensor in weights.items() if tensor.ndim == 2 and name.endswith("weight"))
    weights[first] = weights[first] * np.float32(1.01)
    save_file(weights, changed / "model.safetensors")
    rows = tmp_path / "rows.json"
    good = check(repo, str(repo / "model_cards" / SHIPPED), "--json", str(rows))
    assert good.returncode == 0, good.stdout + good.stderr
    assert all(row["value"] < 1e-6 and row["verify"] == "passes" for row in json.loads(rows.read_text()))
    bad = check(repo, str(changed))
    assert bad.returncode == 1
    assert "every file as it was written" in bad.stderr
