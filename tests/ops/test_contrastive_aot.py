"""Every shipped configuration compiles for the GPUs that it is for: onto their matrix units, no register spilled."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from hdt_fm.ops.contrastive._configs import CONFIGS

SCRIPT = Path(__file__).with_name("compile_kernels.py")
REPO = SCRIPT.parents[2]
# What one program may take of a processor.
MOST_REGISTERS, MOST_SHARED = 255, {"sm90": 227 * 1024, "sm80": 163 * 1024}


@pytest.mark.parametrize("arch", ["sm90", pytest.param("sm80", marks=pytest.mark.slow)])
def test_every_configuration_compiles_for_its_device(arch):
    pytest.importorskip("triton.backends.nvidia", reason="the kernels need triton")
    done = subprocess.run([sys.executable, str(SCRIPT), arch], capture_output=True, text=True, cwd=REPO)
    assert done.returncode == 0, done.stderr[-3000:]
    found = [json.loads(line) for line in done.stdout.splitlines()]
    small = [each for each in found if each["kernel"] in ("combine", "pack", "unpack", "near")]
    assert len(small) == 4
    assert not any(each["stack"] for each in small), small
    found = [each for each in found if each not in small]
    assert {each["kernel"] for each in found} == {"sums", "push", "pull", "repair"}
    shipped = {tuple(tile) for key, config in CONFIGS.items() if key.arch == arch for tile in config[:3]}
    assert {tuple(each["tile"]) for each in found} == shipped
    assert len(found) >= 20
    for each in found:
        assert each["hgmma" if arch == "sm90" else "hmma"] > 0, f"not on the matrix units: {each}"
        assert arch != "sm90" or each["hmma"] == 0, f"on the older matrix units: {each}"
        assert each["stack"] == each["ldl"] == each["stl"] == 0, f"registers spill: {each}"
        assert each["registers"] <= MOST_REGISTERS, each
        assert each["shared"] <= MOST_SHARED[arch], each


def test_the_forward_pass_takes_one_exponential_for_each_product():
    pytest.importorskip("triton.backends.nvidia", reason="the kernels need triton")
    command = [sys.executable, str(SCRIPT), "sm90", "0/1", "sums"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPO, check=True)
    for line in done.stdout.splitlines():
        each = json.loads(line)
        rows, columns, _, warps, *_ = each["tile"]
        assert each["ex2"] == rows * columns // (32 * warps), each
