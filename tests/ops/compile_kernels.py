"""Compile the contrastive kernels of every shipped configuration for a GPU that need not be there; print their needs.

    python tests/ops/compile_kernels.py [sm90|sm80] [kernel]

Runs in a process of its own: in interpret mode, which other tests use, helper functions cannot be compiled. One line
of JSON for each kernel: registers, stack, shared memory, and counts of the instructions that tell what it became.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import triton
import triton.backends.nvidia
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from hdt_fm.ops.contrastive.triton import kernels
from hdt_fm.ops.contrastive.triton.configs import CONFIGS, WIDE, Tile

TOOLS = Path(triton.backends.nvidia.__file__).parent / "bin"
# What PyTorch's allocator and rounded sizes promise, and the launcher tells the compiler.
ALIGNED = {"top", "panel", "query_room", "key_room", "near_room", "width", "room"}
INTEGERS = ALIGNED | {"pairs", "batch", "dim", "stride_m", "stride_b", "stride_d"}
INT_POINTERS = {"rows", "count", "first", "first_key", "near", "wide_range", "order", "place", "sides"}
INT_POINTERS |= {"start", "end", "low", "high"}
ROW_POINTERS = {"query", "key", "push", "rows_of", "out"}
WIDE_POINTERS = {"time", "sorted_time", "within"}
# Those without a matrix product, and the sizes that the launches give them.
SMALL = {
    "combine": (kernels.combine_kernel, {"block_m": 128, "block_n": 128, "block": 256}),
    "pack": (kernels.pack_kernel, {"block": 16, "block_d": 64}),
    "unpack": (kernels.unpack_kernel, {"block": 16, "block_d": 128}),
    "near": (kernels.near_kernel, {"block": 256}),
}
COUNTED = {"hgmma": "HGMMA", "hmma": "HMMA", "ldl": "LDL", "stl": "STL", "ex2": r"MUFU\.EX2", "ldgsts": "LDGSTS"}


def compile_kernel(kernel, tile: Tile, arch: int, rows: str, constants: dict) -> dict:
    """Resources of one kernel for one tile."""
    constants = {"block_m": tile.rows, "block_n": tile.columns, "block_k": tile.depth} | constants
    names = kernel.arg_names
    types = {
        name: "constexpr"
        if name in constants
        else "i32"
        if name in INTEGERS
        else "*i32"
        if name in INT_POINTERS
        else f"*{rows}"
        if name in ROW_POINTERS
        else "*fp64"
        if name in WIDE_POINTERS
        else "*fp32"
        for name in names
    }
    aligned = [name for name in names if types[name].startswith("*") or name in ALIGNED]
    source = ASTSource(
        fn=kernel,
        signature=types,
        constexprs={name: value for name, value in constants.items() if name in names},
        attrs={(names.index(name),): [["tt.divisibility", 16]] for name in aligned},
    )
    options = {"num_warps": tile.warps, "num_stages": tile.stages, "maxnreg": tile.registers or None}
    return resources(triton.compile(source, target=GPUTarget("cuda", arch, 32), options=options))


def resources(compiled) -> dict:
    """What the assembler says, and what stands in the machine code."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(compiled.asm["cubin"])
        file.flush()
        usage = subprocess.run([TOOLS / "cuobjdump", "-res-usage", file.name], capture_output=True, text=True)
        code = subprocess.run([TOOLS / "nvdisasm", "-c", file.name], capture_output=True, text=True, check=True).stdout
    found = re.search(r"REG:(\d+) STACK:(\d+)", usage.stdout + usage.stderr)
    assert found, usage
    return {
        "registers": int(found[1]),
        "stack": int(found[2]),
        "shared": compiled.metadata.shared,
        **{name: len(re.findall(rf"\b{operation}", code)) for name, operation in COUNTED.items()},
    }


def cases(arch: str) -> list[tuple]:
    """(name, kernel, tile, rows, constants) of every configuration, each tile of a kernel once.

    Rows of float16 give the code of bfloat16, and TF32 in one product less of the code of three.
    """
    found = {}
    for key, config in CONFIGS.items():
        if key.arch != arch:
            continue
        rows = "bf16" if key.precision == "half" else "fp32"
        usual = {"precision": "tf32x3", "upcast": False, "pairs_above": 16}
        stages = {"sums": kernels.sums_kernel}
        stages |= {"push": kernels.push_kernel} if key.width == WIDE else {"chip": kernels.chip_kernel}
        for stage, kernel in stages.items():
            for sigmoid in (False, True):
                name = (stage, getattr(config, stage), rows, sigmoid)
                # With a rule the masks stand in the same code and take more; on chip without one it is other code.
                name = (*name, key.rule) if stage == "chip" else name
                if key.rule or name not in found:
                    found[name] = (kernel, usual | {"rule": key.rule, "sigmoid": sigmoid})
        if key.rule or ("repair", config.sums, rows) not in found:
            found["repair", config.sums, rows] = (kernels.repair_kernel, usual | {"rule": key.rule})
        found["pull", config.pull, rows] = (kernels.pull_kernel, usual)
    if arch == "sm90":
        for name, (kernel, extra) in SMALL.items():
            found[name, Tile(0, 0, 0, 4, 3), "bf16"] = (kernel, extra)
    else:
        # The same code, checked for one device already: here the question is which tiles fit.
        found = {name: one for name, one in found.items() if name[0] != "repair" and not one[1].get("sigmoid")}
    return [(name[0], kernel, name[1], name[2], extra) for name, (kernel, extra) in found.items()]


def main(arch: str = "sm90", only: str = "") -> None:
    """Print one line for each case."""
    assert os.environ.get("TRITON_INTERPRET", "0") != "1", "interpreted kernels cannot be compiled"
    for name, kernel, tile, rows, extra in cases(arch):
        if only and only not in name:
            continue
        found = compile_kernel(kernel, tile, int(arch[2:]), rows, extra)
        flags = {key: value for key, value in extra.items() if key in ("rule", "sigmoid")}
        print(json.dumps({"kernel": name, "rows": rows, **flags, "tile": tile, **found}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
