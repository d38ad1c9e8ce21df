"""Planted signals: which method finds what is known to be there, in models of which architecture.

Fresh models are taught one planted event each (hdt_fm/explain/fitness), in noise for every architecture, and in windows
of simulated people (hdt_fm/data/synthetic) for one; their maps are scored on new windows, and on other people.
`table` is a part of scripts/reproduce_explain.py; `write` makes the table that ships.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from explain_architectures import ENCODERS, config_of

from hdt_fm.data.synthetic import Synthetic
from hdt_fm.explain.fitness.linear import ARCHITECTURE as LINEAR
from hdt_fm.explain.fitness.linear import measure_linear
from hdt_fm.explain.fitness.measure import Asked, Background, Plot, best_width, measure
from hdt_fm.explain.fitness.score import RANDOM_MAP, RECOMMENDED_WIDTH, WIDTHS, Found
from hdt_fm.explain.fitness.table import write_table
from hdt_fm.explain.fitness.verdict import Spread, spread_of
from hdt_fm.schema.batch import Batch, Signal
from hdt_fm.schema.result import Result, Row, Scalar
from hdt_fm.schema.shard import ModalityColumn

Progress = Callable[[int, int, str], None]
Role = Literal["ours", "baseline"]
PEOPLE, HELD_OUT, WINDOW_S, HOURS = 24, 10, 20.0, 0.3
SIMULATED = "simulated people"
# Methods that cost little, for windows of people.
QUICK_METHODS = ("integrated_gradients", "occlusion")


def windows_of_people(columns: Sequence[ModalityColumn], people: int) -> tuple[Batch, Batch]:
    """Windows of simulated people, side by side: those to teach with, and those of the last `HELD_OUT` share."""
    cohort = Synthetic(subjects=people, hours=HOURS, modalities=[one.name for one in columns])
    count = int(HOURS * 3600 / WINDOW_S)
    signals: dict[str, tuple[list[np.ndarray], list[np.ndarray]]] = {one.name: ([], []) for one in columns}
    present = []
    for visit in cohort.visits():
        present.append([one.name in visit.recordings for one in columns])
        for one in columns:
            own = visit.recordings.get(one.name)
            shape = (count, one.channels, one.samples)
            if own is None:
                values, observed = np.zeros(shape, np.float32), np.zeros(shape[::2], bool)
            else:
                # Every second sample: the simulated sensors are read at half their rate.
                step = round(own.sampling_rate_hz / one.sampling_rate_hz)
                length = count * one.samples
                values = own.values[:, ::step][:, :length].reshape(one.channels, count, one.samples).swapaxes(0, 1)
                observed = own.observed[::step][:length].reshape(count, one.samples)
            signals[one.name][0].append(values)
            signals[one.name][1].append(observed)
    tensors = {
        one.name: Signal(
            torch.from_numpy(np.nan_to_num(np.concatenate(signals[one.name][0])).astype(np.float32)),
            torch.from_numpy(np.concatenate(signals[one.name][1])),
            one.sampling_rate_hz,
        )
        for one in columns
    }
    row = torch.arange(people * count)
    here = torch.tensor(present).repeat_interleave(count, 0)
    here &= torch.stack([tensors[one.name].observed.any(1) for one in columns], 1)
    whole = Batch(tuple(one.name for one in columns), tensors, here, row // count, row.float(), row)
    held = row // count >= people - max(2, people * HELD_OUT // PEOPLE)
    return whole.select(~held), whole.select(held)


def drawn_from(windows: Batch) -> Background:
    """Windows by chance; each person as often as any other."""

    def draw(count: int, generator: torch.Generator, always: str) -> Batch:
        able = windows.signals[always].observed.float().mean(1) > 0.9
        people = windows.subject[able].unique()
        rows = []
        for k in torch.randperm(count, generator=generator):
            own = (able & (windows.subject == people[k % len(people)])).nonzero()[:, 0]
            rows.append(own[torch.randint(len(own), (1,), generator=generator)])
        return windows.select(torch.cat(rows))

    return draw


def in_people(asked: Asked, methods: Sequence[str] | None, people: int) -> list[Plot]:
    """Events planted in windows of simulated people: taught on some, asked of others."""
    config = config_of("patch_transformer")
    some, others = windows_of_people(config.modalities, people)
    statistics = {}
    for one in config.modalities:
        values, seen = some.signals[one.name].values, some.signals[one.name].observed[:, None]
        kept = values[seen.expand_as(values)]
        statistics[one.name] = (float(kept.mean()), float(kept.std()))
    config = config.model_copy(update={"statistics": statistics})
    return measure(config, methods, asked=asked, background=drawn_from(some), unseen=drawn_from(others))


def scored(what: str, plots: Sequence[Plot], group: Callable[[Plot], list[str]]) -> list[Row]:
    """Rows of every method on some plots, the random map among them.

    Args:
        group: For each window of a plot what it stands or falls with: its model, or its person.
    """
    rows = []
    told = [plot for plot in plots if plot.measured]
    for name in dict.fromkeys(name for plot in told for name in plot.found):
        own = [plot for plot in told if name in plot.found]
        who = np.concatenate([group(plot) for plot in own])
        for metric, read, null in MEASURES:
            values = np.concatenate([read(plot.found[name]) for plot in own])
            spread = spread_of([values[who == one] for one in np.unique(who)])
            chance = float(np.nanmean(np.concatenate([null(plot.found[name]) for plot in own]))) if null else np.nan
            rows.append(row(what, name, metric, spread, len(np.unique(who)), chance))
    return rows


def row(what: str, name: str, metric: str, spread: Spread, n: int, chance: float) -> Row:
    low, high = (None if np.isnan(one) else one for one in (spread.low, spread.high))
    role: Role = "baseline" if name == RANDOM_MAP else "ours"
    columns: dict[str, Scalar] = {} if np.isnan(chance) else {"by chance": round(chance, 3)}
    return Row(
        what=what, model=name, metric=metric, value=spread.value, low=low, high=high, n=n, role=role, columns=columns
    )


MEASURES: tuple[tuple[str, Callable[[Found], np.ndarray], Callable[[Found], np.ndarray] | None], ...] = (
    ("AUPRC of the planted samples", lambda one: one.auprc, lambda one: one.prevalence),
    ("share on the true channel", lambda one: one.channel, lambda one: 1 / one.channels),
    ("share on the true modality", lambda one: one.modality, None),
    ("largest credit is on the event", lambda one: one.pointing, lambda one: one.prevalence),
    (
        "largest credit on what was absent or not observed",
        lambda one: np.full(len(one.auprc), one.spill),
        lambda _: np.zeros(1),
    ),
)


def one_model(plot: Plot) -> list[str]:
    return [f"{plot.kind} {plot.seed}"] * len(plot.person)


def persons(plot: Plot) -> list[str]:
    return [str(one) for one in plot.person]


def widths(plots: Sequence[Plot]) -> list[Row]:
    """AUPRC before smoothing, and over the width that the other kinds of events choose."""
    rows = []
    told = [plot for plot in plots if plot.measured]
    kinds = dict.fromkeys(plot.kind for plot in told)
    chosen = {kind: best_width([one for one in told if one.kind != kind] or told) for kind in kinds}
    for name in (*QUICK_METHODS, RANDOM_MAP):
        own = [plot for plot in told if name in plot.by_width]
        for metric, width in (
            ("AUPRC, not smoothed", lambda _: 0.0),
            ("AUPRC, width chosen by other kinds", chosen.get),
        ):
            found = [np.array([plot.by_width[name][WIDTHS.index(width(plot.kind))]]) for plot in own]
            rows.append(row("all architectures", name, metric, spread_of(found), len(found), float("nan")))
    return rows


def measured(*, quick: bool, seeds: int, progress: Progress | None = None) -> tuple[list[Plot], list[Plot]]:
    """Plots in noise, of all architectures; and in simulated people."""
    asked = Asked(kinds=("level",), seeds=(0,), windows=2, draws=1) if quick else Asked(seeds=tuple(range(seeds)))
    names = ("resnet",) if quick else tuple(ENCODERS)
    plots: list[Plot] = []
    for done, name in enumerate(names):
        if progress:
            progress(done, len(names) + 1, name)
        plots += measure(config_of(name), QUICK_METHODS if quick else None, asked=asked)
    if progress:
        progress(len(names), len(names) + 1, SIMULATED)
    plots += measure_linear(config_of("patch_transformer"), QUICK_METHODS if quick else None, asked=asked)
    # Even seeds plant in the pulse. In people's acceleration the motif was not learned within these steps: AUROC .50
    # after 200 of them.
    some = replace(
        asked,
        kinds=("level",) if quick else ("motif", "band"),
        seeds=tuple(2 * seed for seed in asked.seeds),
        windows=6 if quick else 20,
    )
    people = in_people(some, QUICK_METHODS if quick else None, 4 if quick else PEOPLE)
    if progress:
        progress(len(names) + 1, len(names) + 1, "")
    return plots, people


def table(*, quick: bool, seeds: int, progress: Progress | None = None) -> Result:
    """Scores of all methods by architecture and by kind of event, and in simulated people.

    Args:
        quick: One architecture, two methods, one kind: numbers mean nothing.
        seeds: Models behind each kind and architecture.
    """
    return told(*measured(quick=quick, seeds=seeds, progress=progress))


def told(plots: Sequence[Plot], people: Sequence[Plot]) -> Result:
    rows = []
    for name in dict.fromkeys(plot.architecture for plot in plots):
        own = [plot for plot in plots if plot.architecture == name]
        rows += scored(name, own, one_model)
        for kind in dict.fromkeys(plot.kind for plot in own if plot.measured):
            some = scored(f"{name}: {kind}", [plot for plot in own if plot.kind == kind], one_model)
            rows += [one for one in some if one.metric == MEASURES[0][0]]
    for kind in dict.fromkeys(plot.kind for plot in people if plot.measured):
        rows += scored(f"{SIMULATED}: {kind}", [plot for plot in people if plot.kind == kind], persons)
    rows += widths([plot for plot in plots if plot.architecture != LINEAR])
    not_taught = sorted({f"{one.architecture}: {one.kind}" for one in (*plots, *people) if not one.measured})
    protocol = {"width": RECOMMENDED_WIDTH, "not taught": not_taught, "interval": "models; simulated people: people"}
    return Result(name="planted signals", protocol=protocol, rows=tuple(rows), required_baselines=(RANDOM_MAP,))


def write(*, seeds: int, progress: Progress | None = None) -> Result:
    """Measure, and write the table that ships."""
    plots, people = measured(quick=False, seeds=seeds, progress=progress)
    write_table(
        [plot for plot in plots if plot.architecture != LINEAR],
        settings={"seeds": seeds, "windows": Asked.windows, "draws": Asked.draws, "points": Asked.points},
    )
    return told(plots, people)
