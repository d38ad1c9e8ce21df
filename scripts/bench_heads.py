"""What a head costs on cached embeddings, and what it would cost to encode its windows anew in each epoch.

python scripts/bench_heads.py [--quick] [--json FILE]

Signals are simulated; shapes are those of the experiments: glucose every 15 minutes, of which a head reads a week of
days, and a minute of wrist signals (PPG, acceleration, skin conductance, temperature), of which a head reads twelve
windows. One thread; seconds are CPU seconds of this process, medians of rounds, so that other work on the machine
hardly counts. An epoch is one pass of gradient steps over all training rows. "Anew" adds encoding what the rows of a
batch read, as training without a cache does; "each window once" is the least that any epoch without a cache pays.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hdt_fm.evaluation.backtest.floors import LEVELS
from hdt_fm.schema import registry
from hdt_fm.schema.protocols import HeadInput
from hdt_fm.training.forecasts import fit_forecast, inputs_of

WRIST = {"ppg": (1, 64.0), "acc": (3, 32.0), "eda": (1, 4.0), "temp": (1, 4.0)}
GLUCOSE = {"glucose": (1, 1 / 900.0)}
BATCH = 256


@dataclass(frozen=True)
class Case:
    """A head's rows: how many windows there are, how many a row reads, and what encodes them."""

    name: str
    signals: dict[str, tuple[int, float]]
    window_s: float
    encoder: str
    width: int
    args: dict[str, Any]
    windows: int
    rows: int
    reads: int


def cases(*, quick: bool) -> list[Case]:
    """The two kinds of heads that experiments train."""
    few = 20 if quick else 1
    return [
        Case(
            "glucose, 7 windows of a day",
            GLUCOSE,
            93_600.0,
            "recurrent",
            96,
            {"ahead_s": 7200.0},
            30_000 // few,
            20_000 // few,
            7,
        ),
        Case("wrist, 12 windows of a minute", WRIST, 60.0, "patch_transformer", 64, {}, 2_000 // few, 1_900 // few, 12),
    ]


def run(case: Case, *, rounds: int, epochs: int) -> list[dict[str, Any]]:
    """The rows of one case."""
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    encoders = {
        name: registry.build("encoders", case.encoder, {"width": case.width, **case.args}).eval()
        for name in case.signals
    }
    block = {
        name: torch.randn(BATCH, channels, round(rate * case.window_s), generator=generator)
        for name, (channels, rate) in case.signals.items()
    }

    @torch.no_grad()
    def encode(windows: int) -> None:
        """So many windows of all signals; the same block again, since only its size costs."""
        for first in range(0, windows, BATCH):
            size = min(BATCH, windows - first)
            for name, (_, rate) in case.signals.items():
                values = block[name][:size]
                encoders[name](values, torch.ones(size, values.shape[-1], dtype=torch.bool), rate)

    width = case.width * len(case.signals)
    table = torch.randn(case.windows, width, generator=generator)
    index = torch.randint(0, case.windows, (case.rows, case.reads), generator=generator)
    head, step = head_of(case, width)

    def cached() -> None:
        for rows in torch.arange(case.rows).split(BATCH):
            step(table[index[rows]])

    per_window = timed(lambda: encode(BATCH), rounds) / BATCH
    epoch = timed(cached, rounds)
    gather = timed(lambda: [table[index[rows]] for rows in torch.arange(case.rows).split(BATCH)], rounds)
    anew, once = case.rows * case.reads * per_window, case.windows * per_window
    found = {
        "epoch on the cache": (epoch, "CPU s"),
        "of it, reading the cache": (gather, "CPU s"),
        "encoding in an epoch, what each batch reads": (anew, "CPU s"),
        "encoding in an epoch, each window once": (once, "CPU s"),
        "epoch anew / epoch on the cache": ((anew + epoch) / epoch, "times"),
        "epoch, each window once / epoch on the cache": ((once + epoch) / epoch, "times"),
        "what a head reads, made anew / read from the cache": (anew / gather, "times"),
        "windows embedded": (1 / per_window, "1/CPU s"),
    }
    del head
    if case.name.startswith("glucose"):
        found["training a whole head"] = (whole_head(case, table, index, epochs), "CPU s")
    return [
        {
            "what": case.name,
            "model": "ours",
            "metric": metric,
            "value": value,
            "low": None,
            "high": None,
            "unit": unit,
            "n": rounds,
        }
        for metric, (value, unit) in found.items()
    ]


def head_of(case: Case, width: int) -> tuple[nn.Module, Callable[[Tensor], None]]:
    """The forecast head of such windows, and one gradient step of it."""
    quantiles = {"levels": list(LEVELS), "horizons": 3, "known": 40, "in_features": width, "members": 1}
    glucose = case.name.startswith("glucose")
    name, args = ("series_forecast", quantiles) if glucose else ("forecast", {"in_features": width, "horizon": 10})
    head = registry.build("heads", name, args)
    optimiser = torch.optim.AdamW(head.parameters(), 1e-3)

    def step(context: Tensor) -> None:
        rows, windows = context.shape[:2]
        inputs = HeadInput(
            context=context,
            observed=torch.ones(rows, windows, dtype=torch.bool),
            recent=torch.zeros(rows, windows),
            known=torch.zeros(rows, 40),
        )
        target = torch.zeros(rows, 3 if glucose else 10)
        optimiser.zero_grad()
        head.loss(head(inputs), target, torch.ones_like(target, dtype=torch.bool)).backward()
        optimiser.step()

    return head, step


def whole_head(case: Case, table: Tensor, index: Tensor, epochs: int) -> float:
    """Three members, twelve epochs, the best of each kept: as `hdt-fm finetune` does it."""
    generator = np.random.default_rng(0)
    known, change = generator.normal(size=(case.rows, 56)), generator.normal(size=(case.rows, 3))
    group = np.arange(case.rows) * 20 // case.rows
    torch.manual_seed(0)
    head = registry.build(
        "heads",
        "series_forecast",
        {"known": 56, "in_features": table.shape[1], "horizons": 3, "levels": list(LEVELS)},
    )
    inputs = inputs_of(known, np.zeros(case.rows), table[index].numpy())
    start = time.process_time()
    fit_forecast(head, inputs, change, group, epochs=epochs)
    return time.process_time() - start


def timed(work: Callable[[], Any], rounds: int) -> float:
    """Median CPU seconds, after one round that does not count."""
    work()
    found = []
    for _ in range(rounds):
        start = time.process_time()
        work()
        found.append(time.process_time() - start)
    return median(found)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a twentieth of the rows: numbers mean little")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows as a flat list")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = [
        row
        for case in cases(quick=options.quick)
        for row in run(case, rounds=1 if options.quick else options.rounds, epochs=1 if options.quick else 12)
    ]
    for row in rows:
        print(f"{row['what']:<32} {row['metric']:<52} {row['value']:>12.3g} {row['unit']}")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
