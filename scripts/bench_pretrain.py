"""What a pretraining step costs: against a bare loop, against its matrix products alone, and in waiting for data.

python scripts/bench_pretrain.py [--quick] [--json FILE] [--shards FOLDER] [--steps N] [--rounds N] [overrides]

`pretrain` is also timed with `training.activation_checkpointing` and, but for --quick, since the compiler alone takes
longer, with `training.compile`. Contenders take turns in rounds, since machines are noisy; intervals are of the median
over rounds. Windows are those of Stress-Predict where HDT_FM_REAL_DATA is set, else simulated. ViT-S-like:
    encoder.width=384 encoder.depth=12 encoder.heads=6 training.batch_size=256 training.precision=bf16-mixed
"""

import argparse
import ctypes
import gc
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import IterableDataset
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from hdt_fm.cli.compose import Config, compose_config
from hdt_fm.cli.run import call
from hdt_fm.cli.settings import TrainingSettings
from hdt_fm.cli.workflow import (
    changes,
    device_of,
    new_loss,
    new_model,
    open_shards,
    people_of,
    prepare_machine,
    preprocess_of,
    typical_of,
)
from hdt_fm.data.datamodule import ShardDataModule
from hdt_fm.schema.batch import Batch
from hdt_fm.schema.protocols import Encoded
from hdt_fm.training.blocks import blocks_of
from hdt_fm.training.optim import adamw_cosine
from hdt_fm.training.pretrain import pretrain

# A small cohort and few steps: the numbers of a quick run only show that the path works.
QUICK = ["cohort.subjects=8", "cohort.hours=0.2", "training.batch_size=16", "encoder.width=32"]
WARM = 2
SETTINGS = {"learning_rate": 1e-3, "weight_decay": 0.05}
CLIP_NORM = 1.0
# Dense tensor-core operations a second in bfloat16, as the vendor states them.
PEAK_FLOPS = {"H100": 989e12, "H200": 989e12, "A100": 312e12}
# Further ways to run the blocks, by the name of their row.
WAYS: dict[str, dict[str, Any]] = {
    "recomputed blocks": {"activation_checkpointing": True},
    "compiled blocks": {"compile": True},
}
PRODUCTS = ("mm", "addmm", "bmm", "baddbmm")
Row = dict[str, Any]


@dataclass(frozen=True)
class Bench:
    """What every contender is given: one config, one model, the same batches."""

    config: Config
    model: nn.Module
    loss: nn.Module
    data: dict[str, Any]
    batches: tuple[Batch, ...]
    steps: int
    folder: Path
    ways: tuple[str, ...]

    @property
    def device(self) -> str:
        return device_of(self.config)

    @property
    def precision(self) -> str:
        return self.config.section("training", TrainingSettings).precision

    def fresh(self) -> tuple[nn.Module, nn.Module]:
        """Model and loss as they were before any contender."""
        return deepcopy(self.model).to(self.device).train(), deepcopy(self.loss).to(self.device).train()


class Waited:
    """Adds up the time inside the functions that it is put around."""

    def __init__(self) -> None:
        self.times: list[tuple[float, float]] = []

    def around(self, function: Callable) -> Callable:
        def timed(*args: Any) -> Any:
            start = time.perf_counter()
            result = function(*args)
            self.times.append((start, time.perf_counter() - start))
            return result

        return timed

    def share(self, since: float, until: float) -> float:
        """Share of a stretch of time."""
        return sum(took for start, took in self.times if since <= start < until) / (until - since)


class InMemory(ShardDataModule):
    """The given batches, already made."""

    def __init__(self, batches: Sequence[Batch], **settings: Any) -> None:
        super().__init__(**settings)
        self.made = list(batches)

    def train_dataloader(self) -> Any:
        # Lightning would take a plain list for several loaders.
        return Given(self.made)


class Given(IterableDataset):
    """Batches as a stream."""

    def __init__(self, made: Sequence[Batch]) -> None:
        self.made = made

    def __iter__(self) -> Iterator[Batch]:
        return iter(self.made)


class Watched(ShardDataModule):
    """The real stream; how long each of its batches takes is kept."""

    def __init__(self, waited: Waited, **settings: Any) -> None:
        super().__init__(**settings)
        self.waited = waited

    def train_dataloader(self) -> Any:
        stream = super().train_dataloader()
        inside = stream.maker.in_order

        def watched(*arguments: Any) -> Iterator[Batch]:
            batches = inside(*arguments)
            take = self.waited.around(lambda: next(batches))
            while True:
                yield take()

        stream.maker.in_order = watched
        return stream


def framework(bench: Bench, data: ShardDataModule, **more: Any) -> list[float]:
    """When each step of `pretrain` was done."""
    stamps: list[float] = []
    model, loss = bench.fresh()
    with tempfile.TemporaryDirectory(dir=bench.folder) as folder:
        pretrain(
            model=model,
            loss=loss,
            datamodule=data,
            preprocess=preprocess_of(data.folder),
            run_dir=Path(folder),
            steps=bench.steps,
            warmup_steps=0,
            clip_norm=CLIP_NORM,
            precision=bench.precision,
            checkpoint_every=bench.steps + 1,
            val_every=0,
            accelerator="gpu" if bench.device == "cuda" else "cpu",
            # The loss is read after each step, as the command line does.
            progress=lambda step, steps, note: stamps.append(time.perf_counter()),
            say=lambda line: None,
            **SETTINGS,
            **more,
        )
    return stamps


def bare(bench: Bench) -> list[float]:
    """The same steps in the shortest loop that does them."""
    model, loss = bench.fresh()
    both = nn.ModuleList([model, loss])
    optimizer, schedule = adamw_cosine(both, steps=bench.steps, warmup_steps=0, **SETTINGS)
    stamps = []
    for batch in bench.batches:
        with torch.autocast(bench.device, torch.bfloat16, enabled=bench.precision == "bf16-mixed"):
            value = loss_of(model, loss, batch.to(bench.device))
        value.backward()
        nn.utils.clip_grad_norm_(both.parameters(), CLIP_NORM)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        if len(stamps) in (WARM - 1, bench.steps - 1):
            synchronise(bench.device)
        stamps.append(time.perf_counter())
    return stamps


def loss_of(model: nn.Module, loss: nn.Module, batch: Batch) -> Tensor:
    """What a training step computes."""
    embeddings = model.embed(batch)
    return loss(Encoded(embeddings, model.project(embeddings), batch, batch)).value


def synchronise(device: str) -> None:
    """Wait until the device has done what it was given."""
    if device == "cuda":
        torch.cuda.synchronize()


def per_step(stamps: Sequence[float]) -> float:
    """Seconds a step, the first ones left out."""
    return (stamps[-1] - stamps[WARM - 1]) / (len(stamps) - WARM)


class Shapes(TorchDispatchMode):
    """Counts the matrix products of what runs inside, by operation and operands."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: dict[tuple, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket.__name__ in PRODUCTS:
            operands = tuple((tuple(x.shape), tuple(x.stride()), x.dtype) for x in args if isinstance(x, Tensor))
            key = (func.overloadpacket.__name__, operands)
            self.counts[key] = self.counts.get(key, 0) + 1
        return func(*args, **(kwargs or {}))


def products_of(bench: Bench) -> tuple[float, Shapes]:
    """Operations of the matrix products of a step (attention's included), and the shapes of all but attention's."""
    model, loss = bench.fresh()
    aten = torch.ops.aten
    attention = {
        aten._scaled_dot_product_flash_attention_for_cpu: lambda q, k, v, *rest, **more: sdpa_flop_count(q, k, v),
        aten._scaled_dot_product_flash_attention_for_cpu_backward: lambda grad, q, k, v, *rest, **more: (
            sdpa_backward_flop_count(grad, q, k, v)
        ),
    }
    shapes = Shapes()
    with FlopCounterMode(display=False, custom_mapping=attention) as counter, shapes:
        with torch.autocast(bench.device, torch.bfloat16, enabled=bench.precision == "bf16-mixed"):
            value = loss_of(model, loss, bench.batches[0].to(bench.device))
        value.backward()
    return float(counter.get_total_flops()), shapes


def flops_per_s(shapes: Shapes, device: str) -> float:
    """Operations a second over the counted products, made again on random numbers and nothing else."""
    operations = seconds = 0.0
    for (name, operands), count in shapes.counts.items():
        made = [torch.empty_strided(*form, dtype=dtype, device=device).normal_() for *form, dtype in operands]
        product = getattr(torch, name)
        with FlopCounterMode(display=False) as counter:
            product(*made)
        times = []
        for _ in range(4):
            synchronise(device)
            start = time.perf_counter()
            product(*made)
            synchronise(device)
            times.append(time.perf_counter() - start)
        operations, seconds = operations + count * counter.get_total_flops(), seconds + count * min(times)
    return operations / seconds


def peak_growth_mb(run: Callable[[], Any], device: str) -> float | None:
    """Megabytes that memory grows by at the most while `run` works: of the GPU, or of this process (Linux only)."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    try:
        # What earlier runs freed, but the allocator kept, would hide what this one needs.
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
        before = _status("VmRSS")
        run()
        return (_status("VmHWM") - before) / 2**10
    except (OSError, AttributeError):
        return None


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:"))


def measure(bench: Bench, rounds: int) -> list[Row]:
    """All rows; `value` is the median over rounds."""
    augment, drop = changes(bench.config)
    seconds: dict[str, list[float]] = {"framework": [], "bare": [], "on shards": [], "products": []}
    seconds |= {way: [] for way in bench.ways}
    shares: dict[str, list[float]] = {"waiting": [], "augment and drop": []}
    flops, shapes = products_of(bench)

    def on_shards() -> None:
        waited, changed = Waited(), Waited()
        data = Watched(waited, **bench.data)
        stamps = framework(bench, data, augment=changed.around(augment), drop=changed.around(drop))
        seconds["on shards"].append(per_step(stamps))
        shares["waiting"].append(waited.share(stamps[WARM - 1], stamps[-1]))
        shares["augment and drop"].append(changed.share(stamps[WARM - 1], stamps[-1]))

    def in_another_way(way: str) -> list[float]:
        return framework(bench, InMemory(bench.batches, **bench.data), **WAYS[way])

    if "compiled blocks" in bench.ways:
        # Each form of a block is compiled when it is first met, which may be at any step.
        in_another_way("compiled blocks")
    turns: list[Callable[[], Any]] = [
        lambda: seconds["framework"].append(per_step(framework(bench, InMemory(bench.batches, **bench.data)))),
        lambda: seconds["bare"].append(per_step(bare(bench))),
        on_shards,
        lambda: seconds["products"].append(flops / flops_per_s(shapes, bench.device)),
        *[lambda way=way: seconds[way].append(per_step(in_another_way(way))) for way in bench.ways],
    ]
    for number in range(rounds):
        for turn in turns if number % 2 == 0 else turns[::-1]:
            turn()
    taken = {name: np.array(values) for name, values in seconds.items()}
    size, over = len(bench.batches[0]), taken["framework"] / taken["bare"] - 1
    rows = [
        row("pretrain on shards", "windows_per_s", size / taken["on shards"], "windows/s"),
        row("pretrain in memory", "windows_per_s", size / taken["framework"], "windows/s"),
        row("bare loop in memory", "windows_per_s", size / taken["bare"], "windows/s"),
        row("pretrain on shards", "waiting_for_data", 100 * np.array(shares["waiting"]), "%", "<= 3"),
        row("pretrain on shards", "augment_and_drop", 100 * np.array(shares["augment and drop"]), "%"),
        row("pretrain in memory", "over_bare_loop", 100 * over, "%", "<= 5 on a CPU"),
        row("pretrain in memory", "over_bare_loop_ms", 1e3 * (taken["framework"] - taken["bare"]), "ms a step"),
        row("bare loop in memory", "over_matrix_products", taken["bare"] / taken["products"], "times"),
        row("matrix products alone", "throughput", flops / taken["products"] / 1e9, "GFLOP/s"),
        row("one step", "matrix_products", np.array([flops / 1e9]), "GFLOP"),
        *[row(way, "windows_per_s", size / taken[way], "windows/s") for way in bench.ways],
        *[row(way, "over_plain_blocks", 100 * (taken[way] / taken["framework"] - 1), "%") for way in bench.ways],
    ]
    for what, run in (
        ("pretrain in memory", lambda: framework(bench, InMemory(bench.batches, **bench.data))),
        ("bare loop in memory", lambda: bare(bench)),
        *[(way, lambda way=way: in_another_way(way)) for way in bench.ways],
    ):
        grown = peak_growth_mb(run, bench.device)
        if grown is not None:
            rows.append(row(what, "peak_memory_growth", np.array([grown]), "MiB"))
    if bench.device == "cuda":
        name = torch.cuda.get_device_name()
        peak = next((peak for card, peak in PEAK_FLOPS.items() if card in name), None)
        if peak:
            used = 100 * flops / taken["framework"] / peak
            rows.append(row("pretrain in memory", "mfu", used, "%", ">= 35 on an H100 at ViT-S size"))
    return rows


def row(what: str, metric: str, values: np.ndarray, unit: str, target: str = "") -> Row:
    """Median over rounds and its 95 % interval by bootstrap (the range, where rounds are few)."""
    draws = np.random.default_rng(0).choice(values, (2000, len(values)))
    low, high = np.quantile(np.median(draws, axis=1), (0.025, 0.975))
    numbers = {"value": np.median(values), "low": low, "high": high}
    return {
        "what": what,
        "metric": metric,
        **{name: float(number) for name, number in numbers.items()},
        "unit": unit,
        "n": len(values),
        "target": target,
    }


def prepare(options: argparse.Namespace, folder: Path) -> Bench:
    """Shards, a calibrated model and its batches."""
    real = bool(os.environ.get("HDT_FM_REAL_DATA")) and not options.quick
    overrides = [f"experiment={'stress_predict' if real else 'demo'}", f"root={folder}", *options.overrides]
    overrides[1:1] = QUICK if options.quick else []
    if options.shards:
        overrides.append(f"shards={options.shards}")
    else:
        call("shard", compose_config("shard", overrides))
    config = compose_config("pretrain", overrides)
    prepare_machine(config)
    shards, training = open_shards(config), config.section("training", TrainingSettings)
    people = people_of(config, shards)
    data = {
        "folder": shards,
        "train_subjects": people.train,
        "batch_size": training.batch_size,
        "people_per_pool": training.people_per_pool,
    }
    stream = ShardDataModule(**data).train_dataloader()
    batches = tuple(stream.batch(number) for number in range(options.steps))
    model = new_model(config, shards, people.train)
    loss = new_loss(config, model, lambda: typical_of(config, shards, people.train))
    ways = tuple(way for way in WAYS if blocks_of(model) and not (options.quick and "compile" in WAYS[way]))
    return Bench(config, model, loss, data, batches, options.steps, folder, ways)


def table(rows: Sequence[Row]) -> str:
    """The rows for people."""
    lines = [f"{'what':<22} {'metric':<22} {'median':>10}   {'95 % interval':<23} unit, target"]
    for entry in rows:
        interval = f"[{entry['low']:.4g}, {entry['high']:.4g}] n={entry['n']}"
        unit = entry["unit"] + (f"  (target {entry['target']})" if entry["target"] else "")
        lines.append(f"{entry['what']:<22} {entry['metric']:<22} {entry['value']:>10.4g}   {interval:<23} {unit}")
    return "\n".join(lines)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="What a pretraining step costs, and beside what.")
    parser.add_argument("--quick", action="store_true", help="under a minute; numbers mean nothing")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows as a flat list")
    parser.add_argument("--shards", type=Path, metavar="FOLDER", help="a shard folder that exists")
    parser.add_argument("--steps", type=int, help=f"steps a turn, the first {WARM} not counted")
    parser.add_argument("--rounds", type=int, help="turns of each contender")
    parser.add_argument("overrides", nargs="*", help="settings as for hdt-fm, e.g. encoder=resnet")
    options = parser.parse_args()
    options.steps = options.steps or (WARM + 3 if options.quick else WARM + 10)
    options.rounds = options.rounds or (2 if options.quick else 7)
    if options.steps <= WARM:
        parser.error(f"--steps must be more than {WARM}")
    with tempfile.TemporaryDirectory() as folder:
        bench = prepare(options, Path(folder))
        rows = measure(bench, options.rounds)
    size = sum(weight.numel() for weight in bench.model.parameters())
    about = {
        "model": bench.config.part("encoder").name,
        "parameters": size,
        "batch": len(bench.batches[0]),
        "steps": bench.steps,
        "precision": bench.precision,
        "device": torch.cuda.get_device_name() if bench.device == "cuda" else f"CPU, {torch.get_num_threads()} threads",
        "quick": options.quick,
    }
    print("; ".join(f"{key} {value}" for key, value in about.items()))
    print(table(rows))
    if options.json:
        options.json.write_text(json.dumps([{**entry, **about} for entry in rows], indent=1) + "\n")


if __name__ == "__main__":
    main()
