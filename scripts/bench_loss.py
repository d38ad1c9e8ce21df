"""What the contrastive loss costs, forward and backward: ours, plain PyTorch, the compiler, matrix products alone.

python scripts/bench_loss.py [--quick] [--json FILE] [--sizes 4096x256,...] [--rounds N] [--threads N] [--device cpu]

Contenders take turns in rounds on the same rows; intervals are of the median over rounds. The bound is the time of the
matrix products that a loss without an N x N array cannot do without: 8 N^2 D operations (one forward, one again, two
for gradients), in the tiles in which they are fastest here. Errors are against float64 on the same rows, N up to 2,048.
Memory is what a process of its own grows by at its peak. Needs torch alone, and Triton on a GPU.
"""

import argparse
import gc
import json
import math
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]
from alone import naive, stand_in_for_jaxtyping, two_products  # noqa: E402

stand_in_for_jaxtyping()
from hdt_fm.ops.contrastive import contrastive_loss  # noqa: E402

SIZES = "1024x256,1024x512,4096x256,4096x512,16384x256,16384x512"
QUICK = "1024x256,2048x256"
SCALE = 14.3
# Rows up to which float64 is asked, and up to which all is timed in every round.
EXACT_ROWS, ALL_ROUNDS_ROWS = 2048, 4096
BOUND_ROWS = (512, 1024, 2048, 4096)
Step = Callable[[], tuple[Tensor, Tensor, Tensor]]


def of_two(loss: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    """A loss of two sides, given both in one array as ours is."""
    return lambda z, scale: loss(*z.unbind(0), scale)


def open_clip_loss() -> Callable[[Tensor, Tensor], Tensor] | None:
    """That of the open_clip that is installed."""
    if find_spec("open_clip") is None:
        return None
    from open_clip.loss import ClipLoss  # type: ignore[import-not-found]

    return of_two(ClipLoss())


def inf_cl_loss(device: str) -> Callable[[Tensor, Tensor], Tensor] | None:
    """That of the Inf-CLIP that is installed, in both directions; it knows float32 on a GPU."""
    if device != "cuda" or find_spec("inf_cl") is None:
        return None
    from inf_cl import cal_inf_loss  # type: ignore[import-not-found]

    def both(z: Tensor, scale: Tensor) -> Tensor:
        one, other = z.float().unbind(0)
        return (cal_inf_loss(one, other, scale=scale).mean() + cal_inf_loss(other, one, scale=scale).mean()) / 2

    return both


def ours(impl: str, products: str = "exact") -> Callable[[Tensor, Tensor], Tensor]:
    """The loss of this repository."""

    def loss(z: Tensor, scale: Tensor) -> Tensor:
        present = torch.ones(z.shape[1], len(z), dtype=torch.bool, device=z.device)
        return contrastive_loss(z, present, logit_scale=scale, impl=impl, products=products).loss

    return loss


def contenders(device: str) -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
    """By name; peers that are not installed are left out."""
    found: dict[str, Callable[[Tensor, Tensor], Tensor] | None] = {
        "ours": ours("auto"),
        "ours, bf16 products": ours("chunked", "bf16") if device == "cpu" and has_matrix_units() else None,
        "naive": of_two(naive),
        "two products (open_clip's form)": of_two(two_products),
        "open_clip": open_clip_loss(),
        "torch.compile of naive": torch.compile(of_two(naive)),
        "Inf-CL": inf_cl_loss(device),
    }
    return {name: loss for name, loss in found.items() if loss is not None}


def has_matrix_units() -> bool:
    """Whether this CPU multiplies bfloat16 faster than float32."""
    return bool(getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)()) or bool(
        getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()
    )


def rows_of(size: tuple[int, int], device: str, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Two modalities of rows with planted partners, and the scale."""
    rows, dim = size
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(2, rows, dim, generator=generator)
    z = normalize(torch.stack((z[0], 0.3 * z[0] + z[1])), dim=-1)
    return z.to(device, dtype).requires_grad_(), torch.tensor(SCALE, device=device, requires_grad=True)


def step_of(loss: Callable[[Tensor, Tensor], Tensor], z: Tensor, scale: Tensor) -> Step:
    """Forward and backward."""

    def step() -> tuple[Tensor, Tensor, Tensor]:
        z.grad = scale.grad = None
        value = loss(z, scale)
        value.backward()
        assert z.grad is not None
        assert scale.grad is not None
        return value.detach(), z.grad, scale.grad

    return step


def seconds(step: Callable[[], Any], device: str) -> float:
    """Of one call, until it is really done."""
    if device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    step()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def bound(size: tuple[int, int], device: str, dtype: torch.dtype) -> Callable[[], float]:
    """Seconds of the four products, by the best of several heights of tiles, chosen at the start."""
    rows, dim = size
    key = torch.randn(rows, dim, device=device, dtype=dtype)

    def at(height: int) -> Callable[[], None]:
        query = key[:height].clone()
        wide, narrow, long = query @ key.T, torch.empty_like(query), torch.zeros_like(key)
        push = torch.randn(height, rows, device=device, dtype=dtype)

        def products() -> None:
            for _ in range(0, rows, height):
                torch.mm(query, key.T, out=wide)
                torch.mm(query, key.T, out=wide)
                torch.mm(push, key, out=narrow)
                long.addmm_(push.T, query)

        return products

    ways = [at(min(height, rows)) for height in BOUND_ROWS if height <= max(rows, BOUND_ROWS[0])]
    best = min(ways, key=lambda way: min(seconds(way, device) for _ in range(2)))
    return lambda: seconds(best, device)


def timed(size: tuple[int, int], rounds: int, device: str, dtype: torch.dtype) -> dict[str, list[float]]:
    """Seconds of each contender and of the bound, taking turns."""
    z, scale = rows_of(size, device, dtype)
    steps = {name: step_of(loss, z, scale) for name, loss in contenders(device).items()}
    for step in steps.values():
        step()  # compiled, warm
    products = bound(size, device, dtype)
    found: dict[str, list[float]] = {name: [] for name in (*steps, "matrix products")}
    for _ in range(rounds):
        for name, step in steps.items():
            found[name].append(seconds(step, device))
        found["matrix products"].append(products())
    return found


def errors(size: tuple[int, int], device: str, dtype: torch.dtype) -> dict[str, tuple[float, float]]:
    """Of the loss and of the gradients (norm), relative, against float64 on the same rows."""
    z, scale = rows_of(size, device, dtype)
    wide, wide_scale = z.detach().double().requires_grad_(), scale.detach().double().requires_grad_()
    value, grad, _ = step_of(ours("reference"), wide, wide_scale)()
    found = {}
    for name, loss in contenders(device).items():
        got, got_grad, _ = step_of(loss, z, scale)()
        far = (got_grad.double() - grad).norm() / grad.norm()
        found[name] = (float(abs(got.double() - value) / value), float(far))
    return found


def peak_growth(name: str, size: tuple[int, int], device: str, dtype: torch.dtype) -> float:
    """MB by which a process of its own grows (CPU), or that are allocated (GPU)."""
    command = [sys.executable, __file__, "--memory-of", name, "--sizes", f"{size[0]}x{size[1]}", "--device", device]
    command += ["--dtype", str(dtype).removeprefix("torch."), "--threads", str(torch.get_num_threads())]
    # Freed memory goes back at once, so that one step's peak does not hide in what another left.
    environment = {**os.environ, "MALLOC_TRIM_THRESHOLD_": "0", "MALLOC_MMAP_THRESHOLD_": "65536"}
    said = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    return float(said.stdout.split()[-1]) if said.returncode == 0 and said.stdout.split() else math.nan


def print_growth(name: str, size: tuple[int, int], device: str, dtype: torch.dtype) -> None:
    """The growth of this process by one step; libraries are warmed by a small one."""
    loss = contenders(device)[name]
    step_of(loss, *rows_of((256, size[1]), device, dtype))()
    z, scale = rows_of(size, device, dtype)
    z.grad = torch.zeros_like(z)
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step_of(loss, z, scale)()
        print((torch.cuda.max_memory_allocated() - before) / 1e6)
        return
    z.grad = None
    gc.collect()
    # Linux: the peak so far is forgotten, so that it is that of the step.
    Path("/proc/self/clear_refs").write_text("5")
    before = memory_kb("VmRSS")
    step_of(loss, z, scale)()
    print((memory_kb("VmHWM") - before) * 1024 / 1e6)


def memory_kb(word: str) -> int:
    """Of this process, as Linux counts it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{word}:"))


def middle(values: Sequence[float]) -> tuple[float, float, float]:
    """Median, and an interval of it by order statistics (95 % from six rounds on, the range below)."""
    ordered = sorted(values)
    count = len(ordered)
    low = max(0, math.floor(count / 2 - 0.98 * math.sqrt(count)))
    return ordered[count // 2] if count % 2 else sum(ordered[count // 2 - 1 :][:2]) / 2, ordered[low], ordered[-1 - low]


def row(what: str, model: str, metric: str, values: tuple[float, float, float], unit: str, n: int, **more: Any) -> dict:
    """One flat row of the result."""
    value, low, high = values
    return {
        "what": what,
        "model": model,
        "metric": metric,
        "value": value,
        "low": low,
        "high": high,
        "unit": unit,
        "n": n,
        **more,
    }


def measure(size: tuple[int, int], options: argparse.Namespace) -> list[dict]:
    """All rows of one size."""
    dtype, device = getattr(torch, options.dtype), options.device
    rounds = options.rounds if size[0] <= ALL_ROUNDS_ROWS else max(3, options.rounds // 4)
    what, about = f"{size[0]} x {size[1]}", {"rows": size[0], "dim": size[1], "device": device, "dtype": options.dtype}
    times = timed(size, rounds, device, dtype)
    flops = 8 * size[0] ** 2 * size[1]
    found = []
    for name, seconds_ in times.items():
        found.append(row(what, name, "time", middle([1e3 * one for one in seconds_]), "ms", rounds, **about))
        found.append(
            row(what, name, "useful rate", middle([flops / one / 1e9 for one in seconds_]), "GFLOP/s", rounds, **about)
        )
        # Ratios within a round: what slows the machine slows both.
        share = [100 * base / one for base, one in zip(times["matrix products"], seconds_, strict=True)]
        found.append(row(what, name, "share of the bound", middle(share), "%", rounds, **about))
        faster = [one / mine for one, mine in zip(seconds_, times["ours"], strict=True)]
        found.append(row(what, name, "time over ours", middle(faster), "", rounds, **about))
    if size[0] <= EXACT_ROWS:
        for name, (of_loss, of_gradient) in errors(size, device, dtype).items():
            found.append(row(what, name, "error of the loss", (of_loss,) * 3, "relative", 1, **about))
            found.append(row(what, name, "error of gradients", (of_gradient,) * 3, "relative", 1, **about))
    if not options.no_memory:
        for name in contenders(device):
            grown = peak_growth(name, size, device, dtype)
            found.append(row(what, name, "peak memory", (grown,) * 3, "MB", 1, **about))
    return found


def table(rows: list[dict]) -> str:
    """Markdown of one size: a line a contender."""
    metrics = {"time": "{:.1f} ms", "useful rate": "{:.0f} GFLOP/s", "share of the bound": "{:.0f} %"}
    metrics |= {"time over ours": "{:.2f}", "error of gradients": "{:.1e}", "peak memory": "{:.0f} MB"}
    lines = ["| N x D | | " + " | ".join(metrics) + " |", "|---|---|" + "---|" * len(metrics)]
    for model in dict.fromkeys(one["model"] for one in rows):
        by_metric = {one["metric"]: one for one in rows if one["model"] == model}
        cells = []
        for metric, form in metrics.items():
            one = by_metric.get(metric)
            interval = f" [{one['low']:.3g}, {one['high']:.3g}]" if one and metric in ("time", "time over ours") else ""
            cells.append(form.format(one["value"]) + interval if one else "")
        lines.append(f"| {rows[0]['what']} | {model} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Measure every size and print its table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two small sizes, three rounds")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows as a flat list")
    parser.add_argument("--sizes", help=f"rows x dim, by commas; {SIZES} when not given")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2, help="of the CPU")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=["cpu", "cuda"])
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--no-memory", action="store_true", help="leave out peak memory, which runs each step again")
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: torch finds no GPU here; leave it out, or --device cpu")
    if min(options.rounds, options.threads) < 1:
        parser.error("--rounds and --threads must be 1 or more")
    torch.set_num_threads(options.threads)
    if options.quick:
        options.rounds = 3
    asked = options.sizes or (QUICK if options.quick else SIZES)
    if not all(re.fullmatch(r"[1-9]\d*x[1-9]\d*", one) for one in asked.split(",")):
        parser.error(f"--sizes: expected rows x dim by commas, such as 4096x256,1024x512; got {asked!r}")
    sizes = [(int(rows), int(dim)) for rows, dim in (one.split("x") for one in asked.split(","))]
    if options.memory_of:
        print_growth(options.memory_of, sizes[0], options.device, getattr(torch, options.dtype))
        return
    where = torch.cuda.get_device_name() if options.device == "cuda" else f"{options.threads} threads of a CPU"
    print(f"torch {torch.__version__}, {where}, {options.dtype}; scale {SCALE:g}, no exclusion\n")
    every = []
    for size in sizes:
        rows = measure(size, options)
        print(table(rows), end="\n\n", flush=True)
        every += rows
    if options.json:
        fresh = options.json.with_suffix(".new")
        fresh.write_text(json.dumps(every, indent=1) + "\n")
        fresh.replace(options.json)


if __name__ == "__main__":
    main()
