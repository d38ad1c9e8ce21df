"""What it costs to measure what a verb costs: the same work with and without the energy meter of `hdt-fm`.

python scripts/bench_cost.py [--quick] [--json FILE] [--rounds N] [--seconds S]

Each run is a process of its own, as codecarbon looks at a machine once in a process; runs with and without take turns.
The work is a fixed number of matrix products, about S seconds of them. "none" counts hours alone (cost.energy=never),
"after" starts the meter in the background as soon as the work begins (auto, after_s=0), "before" waits for it (always).
Ratios are of medians over rounds, of the wall and of processor time with all child processes; on a machine that others
use as well only the processor's is worth much. Start and end are what "before" waits for.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from hdt_fm.cli.cost import Meter, cpu_seconds  # noqa: E402
from hdt_fm.cli.run import write_text  # noqa: E402
from hdt_fm.cli.settings import CostSettings  # noqa: E402

MODES = {"none": "never", "after": "auto", "before": "always"}
SIZE = 384


def work(products: int) -> None:
    """Matrix products, each in some milliseconds."""
    matrix = np.random.default_rng(0).normal(size=(SIZE, SIZE)).astype(np.float32)
    for _ in range(products):
        matrix = matrix @ matrix.T
        matrix /= np.abs(matrix).max()


def products_for(seconds: float) -> int:
    """How many take that long here."""
    work(20)
    begun = time.process_time()
    work(50)
    return max(20, round(50 * seconds / (time.process_time() - begun)))


def one(mode: str, products: int) -> dict[str, Any]:
    """Seconds of one run, in this process."""
    settings = CostSettings(energy=MODES[mode], after_s=0.0, pue=1.0)  # type: ignore[arg-type]
    with tempfile.TemporaryDirectory() as folder:
        wall, cpu = time.perf_counter(), cpu_seconds()
        with Meter(settings, Path(folder), config="bench", write=write_text) as meter:
            started = time.perf_counter()
            work(products)
            ending = time.perf_counter()
            spent = meter.close(finished=True, resumed=False)
        done = time.perf_counter()
    return {
        "mode": mode,
        "wall": done - wall,
        "cpu": cpu_seconds() - cpu,
        "start": started - wall,
        "end": done - ending,
        "kwh": spent.kwh,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def rows(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Medians of each mode and ratios to the run without."""

    def median(mode: str, what: str) -> float:
        return statistics.median(run[what] for run in runs if run["mode"] == mode)

    found = []
    for mode in MODES:
        of = [run["cpu"] for run in runs if run["mode"] == mode]
        found.append(
            {
                "meter": mode,
                "rounds": len(of),
                "processor s": median(mode, "cpu"),
                "of this from, to": [min(of), max(of)],
                "processor ratio": median(mode, "cpu") / median("none", "cpu"),
                "wall ratio": median(mode, "wall") / median("none", "wall"),
                "start s": median(mode, "start"),
                "end s": median(mode, "end"),
                "peak MB": median(mode, "peak_mb"),
            }
        )
    return found


def table(found: list[dict[str, Any]]) -> str:
    """Markdown."""
    lines = ["| " + " | ".join(found[0]) + " |", "|" + "---|" * len(found[0])]
    lines += ["| " + " | ".join(map(cell, row.values())) + " |" for row in found]
    return "\n".join(lines)


def cell(value: Any) -> str:
    if isinstance(value, list):
        return " to ".join(map(cell, value))
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two rounds of two seconds")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each kind")
    parser.add_argument("--seconds", type=float, default=20.0, help="of work, of one core")
    parser.add_argument("--one", nargs=2, metavar=("MODE", "PRODUCTS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(one(options.one[0], int(options.one[1]))))
        return
    if options.quick:
        options.rounds, options.seconds = 2, 2.0
    if options.rounds < 1 or options.seconds <= 0:
        parser.error("--rounds and --seconds must be more than nothing")
    products = products_for(options.seconds)
    runs: list[dict[str, Any]] = []
    for _ in range(options.rounds):
        for mode in MODES:
            told = [sys.executable, str(Path(__file__).resolve()), "--one", mode, str(products)]
            runs.append(json.loads(subprocess.run(told, check=True, capture_output=True, text=True).stdout))
    found = rows(runs)
    print(f"{products} products of {SIZE} x {SIZE}, {options.rounds} rounds\n\n{table(found)}")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
