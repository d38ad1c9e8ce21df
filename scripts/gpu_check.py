"""Check the Triton kernels of the contrastive losses on the GPU at hand, tune them, and time them.

    python scripts/gpu_check.py [--quick] [--json FILE] [--tune FILE] [--only checks,tune,bench]

Needs torch and triton and nothing else. Answers and gradients are compared with float64 first; a failed check ends with
1, a machine without a GPU with 2. Times are medians of CUDA events over rounds in which all rivals take turns; low and
high are the fastest and the slowest round. Rows of the JSON are flat: what, model, metric, value, low, high, unit, n,
and more. What --tune writes is used by the times that follow.
"""

import argparse
import json
import math
import os
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

START = time.monotonic()
# Seconds after the start at which a part begins nothing new, so that the whole stays under nine minutes.
TUNE_UNTIL, BENCH_UNTIL = 270, 490
ROWS: list[dict[str, Any]] = []
FAILED: list[str] = []


HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]
from alone import naive, stand_in_for_jaxtyping, two_products  # noqa: E402

stand_in_for_jaxtyping()
from hdt_fm.ops.contrastive import reference  # noqa: E402
from hdt_fm.ops.contrastive import triton as room  # noqa: E402
from hdt_fm.ops.contrastive.pairs import Exclusion, Pairs, all_pairs, rows_of_pairs  # noqa: E402
from hdt_fm.ops.contrastive.triton import launch  # noqa: E402
from hdt_fm.ops.contrastive.triton.configs import (  # noqa: E402
    OVERRIDE,
    WIDE,
    Config,
    Key,
    Tile,
    config_for,
    write_configs,
)


def report(what: str, model: str, metric: str, values: float | list[float], unit: str, **own: Any) -> None:
    """One row, printed and kept."""
    numbers = sorted(values) if isinstance(values, list) else [values]
    row = {
        "what": what,
        "model": model,
        "metric": metric,
        "value": statistics.median(numbers),
        "low": numbers[0],
        "high": numbers[-1],
        "unit": unit,
        "n": len(numbers),
        **own,
    }
    ROWS.append(row)
    rest = " ".join(f"{key}={value}" for key, value in own.items())
    print(f"{what:<34} {model:<22} {metric:<18} {row['value']:>12.5g} {unit:<8} {rest}", flush=True)


def check(name: str, error: float, limit: float, **own: Any) -> None:
    """One error against its limit."""
    ok = math.isfinite(error) and error <= limit
    if not ok:
        FAILED.append(name)
    report(f"check {name}", "triton", "error" if ok else "ERROR TOO LARGE", error, "1", limit=limit, **own)


@contextmanager
def chosen(choose: Callable[..., Config]) -> Iterator[None]:
    """Other sizes of tiles, or another route, while it lasts."""
    before = launch.config_for
    launch.config_for = choose
    try:
        yield
    finally:
        launch.config_for = before


def panels_only(*key: Any) -> Config:
    """The usual configuration, but gradients by panels also where rows are narrow."""
    return config_for(*key)._replace(chip=None)


# --- data ---


def embeddings(count: int, rows: int, dim: int, dtype: torch.dtype, seed: int = 0, apart: float = 0.7) -> Tensor:
    """Modalities of unit length whose rows belong together."""
    generator = torch.Generator("cuda").manual_seed(seed)
    noise = torch.randn(count + 1, rows, dim, generator=generator, device="cuda")
    return normalize(noise[:1] + apart * math.sqrt(count) * noise[1:], dim=-1).to(dtype)


def problem_of(rows: Tensor, presence: float = 1.0, rule: Exclusion | None = None, **others: Any) -> Pairs:
    """All pairs of these modalities."""
    pairs = all_pairs(len(rows))
    generator = torch.Generator("cuda").manual_seed(1)
    present = torch.rand(rows.shape[1], len(rows), generator=generator, device="cuda") < presence
    return Pairs(rows, pairs, rows_of_pairs(present, pairs), (rule,) * len(pairs), **others)


def rule_of(rows: int, each: int = 64, within_s: float = 600.0) -> Exclusion:
    """Persons of about `each` windows a minute apart, in no order."""
    generator = torch.Generator("cuda").manual_seed(2)
    subject = torch.randint(0, max(1, rows // each), (rows,), generator=generator, device="cuda")
    time_s = torch.randint(0, each, (rows,), generator=generator, device="cuda").double() * 60
    return Exclusion(subject, time_s, within_s, torch.rand(rows, generator=generator, device="cuda") < 0.01)


def answer(function: Callable[..., Any], problem: Pairs, scale: float, bias: float | None = None) -> list[Tensor]:
    """Losses and gradients."""
    rows = problem.embeddings.detach().clone().requires_grad_()
    numbers = torch.full((len(problem.pairs),), scale, dtype=problem.exact, device="cuda", requires_grad=True)
    inputs = [replace(problem, embeddings=rows), numbers]
    if bias is not None:
        inputs.append(torch.tensor(bias, dtype=problem.exact, device="cuda", requires_grad=True))
    loss = function(*inputs).loss
    loss.sum().backward()
    gradients = [rows.grad, *(leaf.grad for leaf in inputs[1:] if isinstance(leaf, Tensor))]
    return [loss.detach(), *(gradient for gradient in gradients if gradient is not None)]


# --- checks ---

LIMITS = {  # loss, gradient of rows, gradients of scale and bias
    "bfloat16": (1e-5, 4e-3, 1e-4),
    "float16": (1e-5, 1e-3, 1e-4),
    "float32": (1e-5, 5e-5, 1e-4),
    "float32 tf32": (2e-3, 5e-3, 5e-3),
}


def parity(name: str, problem: Pairs, scale: float, bias: float | None = None) -> None:
    """Against float64 on the same rounded rows."""
    kind = "pair_losses" if bias is None else "sigmoid_losses"
    got = answer(getattr(room, kind), problem, scale, bias)
    wide = replace(problem, embeddings=problem.embeddings.double(), products="exact")
    expected = answer(getattr(reference, kind), wide, scale, bias)
    dtype = str(problem.embeddings.dtype).removeprefix("torch.")
    limits = LIMITS[dtype + (" tf32" if problem.products == "tf32" else "")]
    for part, limit, a, b in zip(("loss", "rows", "scale", "bias"), (*limits, limits[2]), got, expected, strict=False):
        error = float((a.double() - b).norm() / b.norm())
        check(f"{name} {part}", error, limit, rows=problem.embeddings.shape[1], dim=problem.embeddings.shape[2])


def checks(quick: bool) -> None:
    """Everything that must hold before a time means anything."""
    for dtype in (torch.bfloat16,) if quick else (torch.bfloat16, torch.float16, torch.float32):
        name = str(dtype).removeprefix("torch.")
        parity(name, problem_of(embeddings(2, 2047, 256, dtype)), 20.0)
        parity(f"{name} ragged rule", problem_of(embeddings(3, 1000, 72, dtype), 0.6, rule_of(1000)), 14.3)
        parity(f"{name} sigmoid", problem_of(embeddings(2, 1030, 200, dtype)), 10.0, -10.0)
        if dtype == torch.float32:
            parity("float32 tf32", problem_of(embeddings(2, 1030, 200, dtype), products="tf32"), 10.0)
        else:
            parity(f"{name} sigmoid rule", problem_of(embeddings(2, 1030, 200, dtype), 0.8, rule_of(1030)), 10.0, -10.0)
    for dim in (40, 64, 128):
        data = problem_of(embeddings(3, 1500, dim, torch.bfloat16), 0.8, rule_of(1500))
        plain = problem_of(embeddings(2, 2047, dim, torch.bfloat16))
        for route, choose in (("on chip", config_for), ("by panels", panels_only)):
            with chosen(choose):
                parity(f"bfloat16 {route}", plain, 20.0)
                parity(f"bfloat16 {route} rule", data, 14.3)
                parity(f"bfloat16 {route} sigmoid", plain, 10.0, -10.0)
    repeat(problem_of(embeddings(3, 3000, 128, torch.bfloat16), 0.7, rule_of(3000)))
    if not quick:
        parity("bfloat16 many panels", problem_of(embeddings(2, 12001, 512, torch.bfloat16)), 30.0)
        parity(
            "float16 many panels rule", problem_of(embeddings(2, 9001, 256, torch.float16), 0.9, rule_of(9001)), 30.0
        )
        sunk = embeddings(2, 700, 64, torch.float32, apart=0.1)
        sunk[0] *= -1
        parity("float32 sums that sink", problem_of(sunk), 100.0)
        parity("bfloat16 sums that sink", problem_of(sunk.bfloat16()), 100.0)
    repeat(problem_of(embeddings(3, 3000, 256, torch.bfloat16), 0.7, rule_of(3000)))
    no_synchronisation(problem_of(embeddings(3, 1500, 128, torch.bfloat16), 0.7, rule_of(1500)))
    graph(problem_of(embeddings(3, 1500, 128, torch.bfloat16), 0.7, rule_of(1500)))


def repeat(problem: Pairs) -> None:
    """Twenty runs, bit by bit."""
    first = answer(room.pair_losses, problem, 20.0)
    different = sum(
        not all(torch.equal(a, b) for a, b in zip(first, answer(room.pair_losses, problem, 20.0), strict=True))
        for _ in range(20)
    )
    check("repeats bit by bit", different, 0, runs=20)


def no_synchronisation(problem: Pairs) -> None:
    """The host asks the device nothing."""
    answer(room.pair_losses, problem, 20.0)
    scale = torch.full((len(problem.pairs),), 20.0, device="cuda", requires_grad=True)
    rows = problem.embeddings.detach().clone().requires_grad_()
    torch.cuda.set_sync_debug_mode("error")
    try:
        room.pair_losses(replace(problem, embeddings=rows), scale).loss.sum().backward()
        asked = 0
    except RuntimeError as error:
        print(error)
        asked = 1
    finally:
        torch.cuda.set_sync_debug_mode("default")
    check("no synchronisation", asked, 0)


def graph(problem: Pairs) -> None:
    """Captured once, replayed on other rows and other presence."""
    rows, both = problem.embeddings.detach().clone().requires_grad_(), problem.both.clone()
    scale = torch.full((len(problem.pairs),), 20.0, device="cuda", requires_grad=True)
    static = replace(problem, embeddings=rows, both=both)

    def step() -> Tensor:
        rows.grad = scale.grad = None
        loss = room.pair_losses(static, scale).loss
        loss.sum().backward()
        return loss

    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(aside)
    captured = torch.cuda.CUDAGraph()
    with torch.cuda.graph(captured):
        loss = step()
    assert rows.grad is not None
    other = problem_of(embeddings(3, rows.shape[1], rows.shape[2], rows.dtype, seed=9), 0.5)
    with torch.no_grad():
        rows.copy_(other.embeddings)
        both.copy_(other.both[torch.arange(len(both)).flip(0).cuda()])
    captured.replay()
    torch.cuda.synchronize()
    expected = answer(room.pair_losses, replace(problem, embeddings=other.embeddings, both=both), 20.0)
    same = torch.equal(loss.detach(), expected[0]) and torch.equal(rows.grad, expected[1])
    check("CUDA graph replay", int(not same), 0)


# --- times ---


def timed(functions: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each, in turns; what runs out of memory or does not compile here is left out."""
    found: dict[str, list[float]] = {}
    for name, function in functions.items():
        try:
            for _ in range(2):
                function()
            torch.cuda.synchronize()
            found[name] = []
        except Exception as error:  # compilers and allocators name theirs as they like
            print(f"{name} left out: {type(error).__name__} {str(error)[:120]}")
            torch.cuda.empty_cache()
    for _ in range(rounds):
        for name in found:
            begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            begin.record()
            functions[name]()
            end.record()
            end.synchronize()
            found[name].append(begin.elapsed_time(end))
    return found


def bound(rows: int, dim: int) -> dict[str, Callable[[], Any]]:
    """The products of 8 N^2 D alone, by the library, in the shapes of panels."""
    panel = min(rows, 4096)
    query, key = (torch.randn(rows, dim, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    push = torch.randn(panel, rows, device="cuda", dtype=torch.bfloat16)

    def products() -> None:
        for top in range(0, rows, panel):
            block = query[top : top + panel]
            for _ in range(2):
                torch.mm(block, key.T)
            torch.mm(push[: len(block)], key)
            torch.mm(push[: len(block)].T, block)

    return {"library products": products}


def step_of(loss: Callable[[Tensor, Tensor, Tensor], Tensor], rows: Tensor, backward: bool = True) -> Callable[[], Any]:
    """Forward and backward of a loss of two modalities."""
    leaf = rows.detach().clone().requires_grad_(backward)
    scale = torch.tensor(20.0, device="cuda", dtype=rows.dtype, requires_grad=backward)

    def step() -> None:
        leaf.grad = scale.grad = None
        value = loss(leaf[0], leaf[1], scale)
        if backward:
            value.backward()

    return step


def ours(problem: Pairs, backward: bool = True, bias: float | None = None) -> Callable[[], Any]:
    """Forward and backward of the kernels."""
    leaf = problem.embeddings.detach().clone().requires_grad_(backward)
    given = replace(problem, embeddings=leaf)
    scale = torch.full((len(problem.pairs),), 20.0, device="cuda", requires_grad=backward)
    shift = torch.tensor(bias or 0.0, device="cuda")

    def step() -> None:
        leaf.grad = scale.grad = None
        found = room.pair_losses(given, scale) if bias is None else room.sigmoid_losses(given, scale, shift)
        if backward:
            found.loss.sum().backward()

    return step


def by_panels(step: Callable[[], Any]) -> Callable[[], Any]:
    """The same by the route that narrow rows do not take."""

    def run() -> None:
        with chosen(panels_only):
            step()

    return run


def memory_of(function: Callable[[], Any]) -> float | None:
    """MB above what lies there already; None if it does not fit."""
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    try:
        function()
    except torch.OutOfMemoryError:
        return None
    torch.cuda.synchronize()
    return (torch.cuda.max_memory_allocated() - before) / 1e6


def bench(quick: bool) -> None:
    """Against rivals and against the library's products alone."""
    sizes = (
        [(8192, 512), (8192, 128)]
        if quick
        else [(n, d) for n in (32768, 8192, 2048) for d in (512, 128, 64, 256, 1024)] + [(131072, 512)]
    )
    for rows, dim in sizes:
        if time.monotonic() - START > BENCH_UNTIL:
            print("no time left")
            return
        data = embeddings(2, rows, dim, torch.bfloat16)
        problem = problem_of(data)
        rivals = {"triton": ours(problem), "triton forward": ours(problem, backward=False), **bound(rows, dim)}
        if dim <= 128:
            rivals["triton by panels"] = by_panels(ours(problem))
        if rows <= 32768:
            rivals |= {"naive": step_of(naive, data), "two products": step_of(two_products, data)}
        if dim == 512 and 2048 < rows <= 32768 and not quick:
            rivals["torch.compile(naive)"] = step_of(torch.compile(naive), data)
        for name, times in timed(rivals, 5 if rows > 32768 else 20).items():
            own = {"rows": rows, "dim": dim, "dtype": "bfloat16", "pairs": 1}
            report("contrastive", name, "time", times, "ms", **own)
            work = (2 if "forward" in name else 8) * rows**2 * dim
            report("contrastive", name, "useful rate", [work / t / 1e9 for t in times], "TFLOP/s", **own)
            peak = memory_of(rivals[name])
            if peak is not None and "library" not in name:
                report("contrastive", name, "peak memory", peak, "MB", **own)
    if not quick:
        special()


def special() -> None:
    """Rules, absent rows, many pairs, questions, and other precisions."""
    half, plain = torch.bfloat16, problem_of(embeddings(2, 32768, 512, torch.bfloat16))
    cases = {
        "rule": ours(replace(plain, exclusions=(rule_of(32768),))),
        "no rule": ours(plain),
        "sigmoid": ours(plain, bias=-10.0),
        "60 % present": ours(problem_of(plain.embeddings, 0.6)),
        "float16": ours(problem_of(embeddings(2, 32768, 512, torch.float16))),
        "float32 rows, tf32x3, 8192": ours(problem_of(embeddings(2, 8192, 512, torch.float32))),
        "float32 rows, tf32, 8192": ours(problem_of(embeddings(2, 8192, 512, torch.float32), products="tf32")),
        "10 pairs of 2048 in one call": ours(problem_of(embeddings(5, 2048, 256, half))),
    }
    single = [ours(problem_of(embeddings(2, 2048, 256, half, seed))) for seed in range(10)]
    cases["10 pairs of 2048 in 10 calls"] = lambda: [step() for step in single]
    for name, times in timed(cases, 10).items():
        report("contrastive special", name, "time", times, "ms", dim=512 if "pairs" not in name else 256)


# --- tuning ---

TILES = [
    Tile(128, 128, 64, 8, 3),
    Tile(128, 128, 64, 8, 3, 128),
    Tile(128, 128, 64, 8, 4),
    Tile(128, 128, 32, 8, 4, 128),
    Tile(128, 128, 64, 4, 3),
    Tile(128, 256, 64, 8, 3),
    Tile(256, 128, 64, 8, 3),
    Tile(128, 64, 64, 8, 4, 128),
    Tile(128, 64, 64, 4, 4),
    Tile(64, 128, 64, 4, 4),
    Tile(64, 256, 64, 8, 3),
    Tile(128, 128, 128, 8, 2),
]


# On chip: rows of a program, rows of the other side at a time; the depth is the width.
CHIPS = [
    Tile(128, 64, 0, 8, 3),
    Tile(128, 64, 0, 8, 2),
    Tile(128, 128, 0, 8, 2),
    Tile(128, 32, 0, 8, 3),
    Tile(128, 32, 0, 8, 4),
    Tile(64, 64, 0, 4, 2),
    Tile(64, 64, 0, 4, 3),
    Tile(64, 32, 0, 4, 3),
]


def tune(file: Path | None, quick: bool) -> None:
    """Try every tile for each stage of bfloat16, one stage after another, and write the fastest of each width.

    Narrow rows take whichever route is faster.
    """
    table: dict[Key, Config] = {}
    widths = ((512, WIDE),) if quick else ((512, 512), (128, 128), (64, 64), (256, 256), (1024, WIDE))
    for rule in (False,) if quick else (False, True):
        for dim, upto in widths:
            data = embeddings(2, 16384, dim, torch.bfloat16)
            problem = problem_of(data, rule=rule_of(16384) if rule else None)
            best = panels_only(launch.arch(data.device), "half", dim, rule)
            for stage in ("sums", "push", "pull"):
                step = ours(problem, backward=stage != "sums")
                best = fastest(best, stage, TILES, step, dim, rule)
            if dim <= 128:
                chips = [tile._replace(depth=dim) for tile in CHIPS]
                best = fastest(best, "chip", chips, ours(problem), dim, rule)
            table[Key(launch.arch(data.device), "half", upto, rule)] = best
    if file is not None:
        write_configs(file, table)
        os.environ[OVERRIDE] = str(file)
        print(f"wrote {file}; {OVERRIDE}={file} uses it")


def fastest(config: Config, stage: str, tiles: Sequence[Tile], step: Callable[[], Any], dim: int, rule: bool) -> Config:
    """The tile of one stage, others unchanged."""
    found: dict[Tile | None, float] = {}
    for tile in [getattr(config, stage), *tiles]:
        if tile in found or time.monotonic() - START > TUNE_UNTIL:
            continue
        tried = config._replace(**{stage: tile})
        with chosen(lambda *_, tried=tried: tried):
            times = timed({"step": step}, 8).get("step")
        if times is None:
            continue
        found[tile] = statistics.median(times)
        report("tune", stage, "time", times, "ms", tile=str(tile and tuple(tile)), dim=dim, rule=rule)
    best: dict[str, Any] = {stage: min(found, key=lambda tile: found[tile])} if found else {}
    return config._replace(**best)


def main() -> int:
    """Run the parts asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one precision, one size")
    parser.add_argument("--json", type=Path, help="where to write the rows")
    parser.add_argument("--tune", type=Path, help="where to write the fastest configurations")
    parser.add_argument("--only", default="checks,tune,bench", help="parts, with commas between")
    chosen = parser.parse_args()
    parts = {"checks": lambda: checks(chosen.quick), "tune": lambda: tune(chosen.tune, chosen.quick)}
    parts["bench"] = lambda: bench(chosen.quick)
    asked = chosen.only.split(",")
    if not set(asked) <= set(parts):
        parser.error(f"--only: expected some of {', '.join(parts)}; got {chosen.only!r}")
    if not torch.cuda.is_available():
        print("no GPU here: these checks need one (torch.cuda.is_available() is False)", file=sys.stderr)
        return 2
    import triton

    print(torch.cuda.get_device_name(), "torch", torch.__version__, "triton", triton.__version__)
    for name in asked:
        # A part that breaks must not take with it what the others have found: time on a GPU is scarce.
        try:
            parts[name]()
        except Exception:
            traceback.print_exc()
            FAILED.append(name)
    for row in ROWS:
        row |= {"device": torch.cuda.get_device_name(), "torch": torch.__version__, "triton": triton.__version__}
    if chosen.json:
        chosen.json.write_text(json.dumps(ROWS, indent=1) + "\n")
    print(f"{time.monotonic() - START:.0f} s;", f"FAILED: {', '.join(FAILED)}" if FAILED else "all checks passed")
    return 1 if FAILED else 0


if __name__ == "__main__":
    sys.exit(main())
