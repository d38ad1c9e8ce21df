"""What a person's report costs: maps in batches beside Captum called window by window, the gate, and the whole verb.

python scripts/bench_explain.py [--quick] [--json FILE] [--windows 60] [--rounds 3] [overrides]

Windows are a minute of simulated people by default (`experiment=demo`; a small encoder that is not trained: weights
change no time but by the path that they need, so both sides walk the same plain one). Seconds are CPU seconds of this
process on one thread, medians of rounds in turns; ratios are of the same round. Both sides must give the same maps.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from captum.attr import FeatureAblation, IntegratedGradients, Saliency
from torch import Tensor, nn

from hdt_fm.cli.compose import compose_config
from hdt_fm.cli.run import call
from hdt_fm.cli.workflow import new_model, open_shards, people_of
from hdt_fm.explain.attribution import attribute
from hdt_fm.explain.binding import Run, explaining
from hdt_fm.explain.explanation import segment_of
from hdt_fm.explain.gate.examine import examine
from hdt_fm.explain.methods import METHODS
from hdt_fm.explain.methods.features import feature_ids
from hdt_fm.explain.methods.saliency import spread
from hdt_fm.explain.page.document import html
from hdt_fm.explain.page.report import Report
from hdt_fm.explain.targets.probe import ProbeTarget
from hdt_fm.heads.probe import Probe
from hdt_fm.schema.batch import Batch

STEPS, SEGMENTS, TARGET = 32, 12, 1
PLAIN = 0  # the path of integrated gradients without refinement, as Captum walks it
Row = dict[str, Any]


@dataclass(frozen=True)
class Bench:
    """A model, a person's windows, and how often to ask."""

    model: nn.Module
    batch: Batch
    rounds: int


def made(folder: Path, overrides: list[str], windows: int, rounds: int) -> Bench:
    """Shards of simulated people, an encoder calibrated on some, and a probe on top."""
    config = compose_config("pretrain", ["experiment=demo", f"root={folder}", *overrides])
    call("shard", config)
    shards = open_shards(config)
    people = people_of(config, shards)
    torch.manual_seed(0)
    model = new_model(config, shards, people.train).eval()
    batch = shards.gather(np.arange(len(shards.window_ids))[:windows])
    width = model.embed(batch.select(torch.arange(2))).values.flatten(1).shape[1] + len(model.modalities)
    return Bench(ProbeTarget(model.encoder, Probe(in_features=width, out_features=2)), batch, rounds)


def in_batches(bench: Bench, method: str) -> dict[str, np.ndarray]:
    """Ours."""
    found = attribute(
        bench.model, bench.batch, target=TARGET, methods=(method,), steps=STEPS, segments=SEGMENTS, path=PLAIN
    )
    return dict(found.find(method).values)


def by_window(bench: Bench, method: str) -> dict[str, np.ndarray]:
    """Captum as its tutorials call it: a window at a time, a tensor for each modality."""
    credits = {name: np.zeros(one.values.shape, np.float32) for name, one in bench.batch.signals.items()}
    with explaining(bench.model) as model:
        for k in range(len(bench.batch)):
            run = Run.of(model, bench.batch.select(torch.tensor([k])), target=TARGET, reference="window_mean")
            for name, credit in zip(run.names, CAPTUM[method](run), strict=True):
                credits[name][k] = credit.detach().numpy()[0]
    return credits


def _integrated_gradients(run: Run) -> tuple[Tensor, ...]:
    return IntegratedGradients(run.forward).attribute(
        inputs=run.inputs,
        baselines=run.references,
        target=TARGET,
        additional_forward_args=(run.rows,),
        n_steps=STEPS,
    )


def _saliency(run: Run) -> tuple[Tensor, ...]:
    leaves = tuple(one.clone().requires_grad_() for one in run.inputs)
    return Saliency(run.forward).attribute(inputs=leaves, target=TARGET, abs=False, additional_forward_args=(run.rows,))


def _feature_ablation(run: Run) -> tuple[Tensor, ...]:
    masks = feature_ids([tuple(one.shape[1:]) for one in run.inputs], SEGMENTS, device="cpu")
    return FeatureAblation(run.forward).attribute(
        inputs=run.inputs,
        baselines=run.references,
        target=TARGET,
        additional_forward_args=(run.rows,),
        feature_mask=tuple(masks),
    )


CAPTUM: dict[str, Callable[[Run], tuple[Tensor, ...]]] = {
    "integrated_gradients": _integrated_gradients,
    "saliency": _saliency,
    "feature_ablation": _feature_ablation,
}


def whole(bench: Bench) -> dict[str, float]:
    """CPU seconds of a person's report by its parts: maps by all gradient methods, the gate, the page."""
    gradients = [name for name, one in METHODS.items() if one.grain == "sample" and name != "deep_lift"]
    lead = ["integrated_gradients", *(name for name in gradients if name != "integrated_gradients"), "feature_ablation"]
    began = time.process_time()
    found = attribute(bench.model, bench.batch, target=TARGET, methods=lead, steps=STEPS, segments=SEGMENTS)
    mapped = time.process_time()
    found = replace(found, reliability=examine(bench.model, bench.batch, found))
    examined = time.process_time()
    html(Report(found))
    drawn = time.process_time()
    return {"maps": mapped - began, "gate": examined - mapped, "page": drawn - examined, "report": drawn - began}


def measured(bench: Bench) -> list[Row]:
    """Rows of each method, ours and Captum's, and of the whole report."""
    rows: list[Row] = []
    for method in CAPTUM:
        ours, theirs = [], []
        for _ in range(bench.rounds):
            a, one = timed(in_batches, bench, method)
            b, other = timed(by_window, bench, method)
            refuse_difference(bench, method, one, other)
            ours.append(a)
            theirs.append(b)
        ratio = median(b / a for a, b in zip(ours, theirs, strict=True))
        rows.append(row(bench, method, "ours, in batches", median(ours), "CPU-s"))
        rows.append(row(bench, method, "Captum, window by window", median(theirs), "CPU-s"))
        rows.append(row(bench, method, "ours over Captum", ratio, "times faster"))
    parts = [whole(bench) for _ in range(bench.rounds)]
    rows += [row(bench, "report", part, median(one[part] for one in parts), "CPU-s") for part in parts[0]]
    return rows


def timed(
    make: Callable[[Bench, str], dict[str, np.ndarray]], bench: Bench, method: str
) -> tuple[float, dict[str, np.ndarray]]:
    """CPU seconds, and what was made."""
    before = time.process_time()
    found = make(bench, method)
    return time.process_time() - before, found


def refuse_difference(bench: Bench, method: str, one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
    """A faster map must be the same map. Captum writes an ablated feature's effect on each of its samples."""
    for name, values in one.items():
        theirs = other[name]
        if method == "feature_ablation":
            theirs = theirs / samples_seen(bench, name)
        if method == "saliency":
            theirs = theirs * spreads(bench, name)
        scale = np.abs(theirs).max() or 1.0
        assert np.abs(values - theirs).max() <= 1e-3 * scale, (method, name)


def samples_seen(bench: Bench, name: str) -> np.ndarray:
    """How many samples of a segment were observed, at each sample of it; ours shares an effect out over those."""
    seen = bench.batch.signals[name].observed.numpy()
    index = segment_of(seen.shape[-1], SEGMENTS)
    count = np.stack([np.bincount(index, one) for one in seen])[:, index]
    return np.where(seen, np.maximum(count, 1), np.inf)[:, None]


def spreads(bench: Bench, name: str) -> np.ndarray:
    """The standard deviation of each window's channel, in which ours counts a slope."""
    signal = bench.batch.signals[name]
    return spread(signal.values, signal.observed[:, None].expand_as(signal.values)).numpy()


def row(bench: Bench, what: str, model: str, value: float, unit: str) -> Row:
    """One flat row."""
    return {
        "what": what,
        "model": model,
        "metric": "cost",
        "value": round(value, 3),
        "low": None,
        "high": None,
        "unit": unit,
        "n": len(bench.batch),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few windows, one round: numbers mean nothing")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows as a flat list")
    parser.add_argument("--windows", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    options, overrides = parser.parse_known_args()
    windows, rounds = (8, 1) if options.quick else (options.windows, options.rounds)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        rows = measured(made(Path(folder), overrides, windows, rounds))
    for one in rows:
        print(f"{one['what']:<22} {one['model']:<26} {one['value']:>9.2f} {one['unit']}")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
