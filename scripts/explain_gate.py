"""Good and bad models before the gate: what each test says of them. `table` is a part of scripts/reproduce_explain.py.

A sine or a square stands at a random place in one channel of three modalities, and the slope of another is a second
question. The good model learned both. Beside it: the same model under a map of noise, the same weights drawn at random,
a constant, a model that answers with edges whatever its weights, and one that was shown the label as a fourth modality.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hdt_fm.explain.attribution import attribute
from hdt_fm.explain.explanation import Check, Explanation, MethodMap
from hdt_fm.explain.gate.examine import examine
from hdt_fm.explain.gate.perturb import randomised
from hdt_fm.explain.gate.skill import Skill, skill_of
from hdt_fm.schema.batch import Batch, Signal
from hdt_fm.schema.result import Result, Row

RATES, CHANNELS, SECONDS = {"ppg": 32.0, "acc": 16.0, "eda": 4.0}, {"ppg": 1, "acc": 3, "eda": 1}, 8
MOTIF, LEAK, PLACE = 24, "resp", ("acc", 1)
METHODS = ("integrated_gradients", "saliency", "feature_ablation")
GOOD, NOISE_MAP = "good model", "good model, map of noise"

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Case:
    """A model, and the windows and labels that it is examined on."""

    model: nn.Module
    batch: Batch
    label: np.ndarray
    map_of_noise: bool = False


def windows(count: int, seed: int, *, leak: bool = False) -> tuple[Batch, Tensor]:
    """Noise with a motif whose form is the first label and a slope whose sign is the second; (window, 2) labels."""
    generator = torch.Generator().manual_seed(seed)
    label = torch.randint(0, 2, (count, 2), generator=generator).float()
    signals = {}
    for name, rate in RATES.items():
        samples = int(rate * SECONDS)
        values = torch.randn(count, CHANNELS[name], samples, generator=generator)
        signals[name] = Signal(values, torch.ones(count, samples, dtype=torch.bool), rate)
    wave = torch.sin(torch.linspace(0, 4 * torch.pi, MOTIF))
    forms, values = torch.stack([torch.sign(wave), wave * 1.4]), signals[PLACE[0]].values
    places = torch.randint(0, values.shape[-1] - MOTIF, (count,), generator=generator)
    for k, place in enumerate(places.tolist()):
        values[k, PLACE[1], place : place + MOTIF] += 1.5 * forms[int(label[k, 0])]
    eda = signals["eda"].values
    eda += (2 * label[:, 1, None, None] - 1) * torch.linspace(-1.5, 1.5, eda.shape[-1])
    if leak:
        level = label[:, :1, None].expand(count, 1, 16) * 2 + 14.0
        signals[LEAK] = Signal(level.clone(), torch.ones(count, 16, dtype=torch.bool), 2.0)
    row = torch.arange(count)
    present = torch.ones(count, len(signals), dtype=torch.bool)
    return Batch(tuple(signals), signals, present, row, row.float(), row), label


class Net(nn.Module):
    """Two convolutions a modality, the (soft) largest answer over time, one line: (batch, 2) log-odds."""

    def __init__(self, batch: Batch, *, seed: int, width: int = 16) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.encoders = nn.ModuleDict(
                {
                    name: nn.Sequential(
                        nn.Conv1d(signal.values.shape[1], width, 9, padding=4),
                        nn.GELU(),
                        nn.Conv1d(width, width, 9, padding=4),
                        nn.GELU(),
                    )
                    for name, signal in batch.signals.items()
                }
            )
            self.head = nn.Linear(width * len(batch.signals), 2)

    def forward(self, batch: Batch) -> Tensor:
        parts = [self.encoders[name](signal.values).logsumexp(-1) for name, signal in batch.signals.items()]
        return self.head(torch.cat(parts, dim=1))


class Edges(nn.Module):
    """Has weights, but answers with the size of the steps of its input: an edge detector in a model's clothes."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Linear(3, 3)

    def forward(self, batch: Batch) -> Tensor:
        sizes = [signal.values.diff(dim=-1).square().sum((1, 2)) for signal in batch.signals.values()]
        return torch.stack([sum(sizes), torch.stack(sizes).amax(0)], dim=1)


class Constant(nn.Module):
    """The same answer to everything."""

    def __init__(self) -> None:
        super().__init__()
        self.level = nn.Parameter(torch.tensor([[0.3, -0.2]]))

    def forward(self, batch: Batch) -> Tensor:
        return self.level.expand(len(batch), 2)


def taught(seed: int, *, steps: int, leak: bool = False) -> Net:
    """A net that learned both labels from windows drawn anew for each step."""
    model = Net(windows(1, 0, leak=leak)[0], seed=seed)
    optimiser = torch.optim.Adam(model.parameters(), lr=5e-3)
    for step in range(steps):
        batch, label = windows(64, 10_000 * (seed + 1) + step, leak=leak)
        optimiser.zero_grad()
        F.binary_cross_entropy_with_logits(model(batch), label).backward()
        optimiser.step()
    return model.eval()


def cases(seed: int, *, steps: int, count: int) -> dict[str, Case]:
    """Every contender with windows that nothing was trained on."""
    batch, label = windows(count, 99 + seed)
    shown, told = windows(count, 99 + seed, leak=True)
    good = taught(seed, steps=steps)
    *_, (_, random) = randomised(good, stages=4, generator=torch.Generator().manual_seed(seed))
    own, leaked = label[:, 0].numpy(), told[:, 0].numpy()
    return {
        GOOD: Case(good, batch, own),
        NOISE_MAP: Case(good, batch, own, map_of_noise=True),
        "random weights": Case(random, batch, own),
        "constant output": Case(Constant(), batch, own),
        "edge detector": Case(Edges(), batch, own),
        "label among the inputs": Case(taught(seed, steps=steps // 3, leak=True), shown, leaked),
    }


def examined(case: Case, seed: int, retrained: Sequence[nn.Module]) -> dict[str, Check]:
    """Every test of the gate on the first question, by name."""
    made = attribute(case.model, case.batch, target=0, methods=METHODS)
    if case.map_of_noise:
        made = replace(made, maps=(_noise(made, seed), *made.maps[1:]))
    skill = _skill(case, seed)
    found = examine(case.model, case.batch, made, skill=skill, labels=case.label, seed=seed, retrained=retrained)
    return {check.name: check for check in found.checks}


def _noise(made: Explanation, seed: int) -> MethodMap:
    draw, lead = np.random.default_rng(seed), made.maps[0]
    values = {name: draw.normal(size=one.shape).astype(np.float32) for name, one in lead.values.items()}
    return replace(lead, values=values)


def _skill(case: Case, seed: int) -> Skill:
    batch, label = windows(400, 500 + seed, leak=LEAK in case.batch.signals)
    with torch.no_grad():
        output = case.model(batch)[:, 0].numpy()
    # Forty people of ten windows each.
    return skill_of(output, label[:, 0].numpy(), np.arange(400) // 10, positive_class=1, draws=300)


def table(*, quick: bool, seeds: int, progress: Progress) -> Result:
    """Contender by test: the mean value, and how often it passed, warned and failed."""
    steps, count = (60, 12) if quick else (400, 24)
    found: dict[tuple[str, str], list[Check]] = {}
    for seed in range(seeds):
        for place, (name, case) in enumerate(cases(seed, steps=steps, count=count).items()):
            progress(6 * seed + place, 6 * seeds, f"{name}, seed {seed}")
            again = [taught(100 + seed, steps=steps)] if name == GOOD else []
            for check in examined(case, seed, again).values():
                found.setdefault((check.name, name), []).append(check)
    rows = [_row(test, name, checks) for (test, name), checks in found.items()]
    protocol = {"windows": count, "steps": steps, "seeds": seeds, "lead": METHODS[0]}
    # A test that nobody could run has no number to stand beside another.
    run = {row.what for row in rows if np.isfinite(row.value)}
    kept = tuple(row for row in rows if row.what in run and np.isfinite(row.value))
    return Result(name="the gate, by contender", protocol=protocol, rows=kept, required_baselines=(NOISE_MAP,))


def _row(test: str, name: str, checks: list[Check]) -> Row:
    values = np.array([check.value for check in checks])
    told = [check.verdict for check in checks]
    half = 1.96 * values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else float("nan")
    return Row(
        what=test,
        model=name,
        metric="value",
        value=float(values.mean()),
        low=float(values.mean() - half) if np.isfinite(half) else None,
        high=float(values.mean() + half) if np.isfinite(half) else None,
        n=len(checks),
        role="ours" if name == GOOD else "baseline",
        columns={verdict: told.count(verdict) for verdict in ("pass", "warn", "fail")},
    )
