"""Every shipped configuration compiles for the GPUs that it is for: onto their matrix units, no register spilled."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from hdt_fm.ops.contrastive.triton.configs import CONFIGS

SCRIPT = Path(__file__).with_name("compile_kernels.py")
REPO = SCRIPT.parents[2]
# What one program may take of a processor.
MOST_REGISTERS, MOST_SHARED = 255, {"sm90": 227 * 1024, "sm80": 163 * 1024}
SMALL = ("combine", "pack", "unpack", "near")


@pytest.fixture(scope="module", params=["sm90", pytest.param("sm80", marks=pytest.mark.slow)])
def compiled(request) -> tuple[str, list[dict]]:
    """The device, and what each kernel of each configuration needs there; compiled once for all tests."""
    pytest.importorskip("triton.backends.nvidia", reason="the kernels need triton")
    done = subprocess.run([sys.executable, str(SCRIPT), request.param], capture_output=True, text=True, cwd=REPO)
    assert done.returncode == 0, done.stderr[-3000:]
    return request.param, [json.loads(line) for line in done.stdout.splitlines()]


def test_every_configuration_compiles_onto_the_matrix_units_of_its_device(compiled):
    arch, found = compiled
    small = [each for each in found if each["kernel"] in SMALL]
    assert len(small) == (len(SMALL) if arch == "sm90" else 0)
    assert not any(each["stack"] for each in small), small
    found = [each for each in found if each["kernel"] not in SMALL]
    configs = [config for key, config in CONFIGS.items() if key.arch == arch]
    routes = {"chip"} if any(config.chip for config in configs) else set()
    routes |= {"repair"} if arch == "sm90" else set()
    assert {each["kernel"] for each in found} == {"sums", "push", "pull"} | routes
    shipped = {tile for config in configs for tile in (config.sums, config.push, config.pull, config.chip) if tile}
    assert {tuple(each["tile"]) for each in found} == shipped
    assert len(found) >= (20 if arch == "sm90" else 6)
    for each in found:
        assert each["hgmma" if arch == "sm90" else "hmma"] > 0, f"not on the matrix units: {each}"
        assert arch != "sm90" or each["hmma"] == 0, f"on the older matrix units: {each}"
        assert each["stack"] == each["ldl"] == each["stl"] == 0, f"registers spill: {each}"
        assert each["registers"] <= MOST_REGISTERS, each
        assert each["shared"] <= MOST_SHARED[arch], each
        # What the products read is under way while others are multiplied.
        assert each["ldgsts"] > 0, f"nothing is loaded ahead: {each}"


def test_exponentials_are_as_many_as_the_design_says(compiled):
    """One an entry in the forward pass and of questions; in the backward pass of a search one in the usual form, which
    stands beside the rare one with two. More would be warps that do the same work."""
    arch, found = compiled
    counted = 0
    for each in found:
        # Float32 on sm80 takes each twice: 8 warps are more than a tile of 64 x 64 has room for, and 4 were not tried.
        if each["kernel"] not in ("sums", "push", "chip") or (arch, each["rows"]) == ("sm80", "fp32"):
            continue
        rows, columns, _, warps, *_ = each["tile"]
        forms = 1 if each["kernel"] == "sums" or each["sigmoid"] else 3
        assert each["ex2"] == forms * rows * columns // (32 * warps), each
        counted += 1
    assert counted >= (16 if arch == "sm90" else 4)
