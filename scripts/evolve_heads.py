"""The part `heads` of `reproduce_evolve.py`: probes that learn a second site, and what they forget of the first.

Stress-Predict: stress or rest from frozen embeddings of the published wrist encoder, which saw none of these people.
BIDMC: breaths a minute by an encoder pretrained on two thirds of the patients; the others are asked. People are dealt
into two sites by the seed. Alike: both sites measure all. Other device: at the second site a device measures less
(no electrodermal activity; PPG alone). Each site comes first once.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import torch

from hdt_fm.cli.compose import Config, compose_config
from hdt_fm.cli.held_out import people_of_checkpoint
from hdt_fm.cli.run import call
from hdt_fm.cli.update.probe import ProbeLesson
from hdt_fm.data.embeddings import load_table
from hdt_fm.evaluation.evolve.stream import JOINT, Streamed, matrix_rows, stream_result, stream_rows
from hdt_fm.heads.probe import Probe
from hdt_fm.metrics.classification import auroc
from hdt_fm.schema.protocols import HeadInput
from hdt_fm.schema.result import Result
from hdt_fm.training.updating.anchors import anchors_of
from hdt_fm.training.updating.memory import RowMemory
from hdt_fm.training.updating.prototypes import PrototypeMemory
from hdt_fm.training.updating.rows import Taught, laid_out
from hdt_fm.training.updating.update import UpdateSettings, learn_domain

FIRST, SECOND = "site 1", "site 2"
APART = 0.25
UNTAUGHT, ALONE, GOING_ON = "untaught", "each site alone", "going on, nothing held"
ROWS, PROTOTYPES = "rehearsal of rows", "rehearsal of prototypes, no row of anyone"
HELD: dict[str, dict[str, Any]] = {
    "EWC": {"anchor": 100.0},
    "LwF": {"distil": 5.0},
    "adapters, site told": {"trains": "adapter"},
}
ROLES: dict[str, Any] = {
    JOINT: "reference",
    ALONE: "reference",
    UNTAUGHT: "baseline",
    GOING_ON: "baseline",
    **dict.fromkeys(HELD, "baseline"),
    ROWS: "ours",
    PROTOTYPES: "ours",
}
OWED = (UNTAUGHT, GOING_ON, *HELD)


@dataclass(frozen=True)
class Windows:
    """Windows of a cohort as a probe is told of them.

    Attributes:
        asked: People who are never taught; None lets the seed choose a quarter.
        less: Modalities that the other device measures.
    """

    context: np.ndarray
    observed: np.ndarray
    came: np.ndarray
    person: np.ndarray
    classes: int
    unit: str
    less: tuple[int, ...]
    asked: frozenset[int] | None = None


@lru_cache
def stress() -> Windows:
    """Stress-Predict under the published wrist encoder."""
    words = ["experiment=stress_predict", "root=runs/evolve_stress_predict", "checkpoint=hdt-fm-wrist-s"]
    for verb in ("shard", "embed"):
        config = compose_config(verb, words)
        if verb == "shard" or not (_path(config, "table") / "table.json").is_file():
            call(verb, config)
    return _windows(config, "stress", ("ppg", "acc", "temp"), "")


@lru_cache
def breaths() -> Windows:
    """BIDMC under an encoder that never saw those who are asked."""
    words = ["experiment=bidmc", "root=runs/evolve_bidmc", "split.test=0.34"]
    for verb in ("shard", "pretrain", "embed"):
        config = compose_config(verb, words)
        if verb != "embed" or not (_path(config, "table") / "table.json").is_file():
            call(verb, config)
    found = _windows(config, "breaths", ("ppg",), "breaths/min")
    table, saw = load_table(config.value("table")), people_of_checkpoint(_path(config, "checkpoint"))
    return replace(found, asked=frozenset(table.subjects.index(one) for one in saw["test"]))


def made_up() -> Windows:
    """Two signals of people who never lived; the second one alone tells less."""
    draws, many = np.random.default_rng(0), 24 * 40
    context = draws.standard_normal((many, 2, 8)).astype(np.float32)
    came = (context[:, 0, 0] + context[:, 1, 0] + 0.5 * draws.standard_normal(many) > 0).astype(np.float64)
    whole = np.ones((many, 2), dtype=bool)
    return Windows(context, whole, came, np.repeat(np.arange(24), 40), 2, "", (1,))


def _path(config: Config, key: str) -> Path:
    return Path(config.value(key))


def _windows(config: Config, label: str, less: tuple[str, ...], unit: str) -> Windows:
    """Of those windows that know the label."""
    table = load_table(_path(config, "table"))
    known = np.isfinite(table.labels[label])
    column = next(one for one in table.label_columns if one.name == label)
    return Windows(
        table.embeddings[known],
        table.present[known],
        table.labels[label][known].astype(np.float64),
        table.subject[known],
        len(column.classes),
        unit,
        tuple(table.modalities.index(name) for name in less),
    )


@dataclass(frozen=True)
class Split:
    """Who teaches and who is asked at each site."""

    taught: Mapping[str, tuple[HeadInput, np.ndarray, np.ndarray]]
    asked: Mapping[str, tuple[HeadInput, np.ndarray, np.ndarray]]
    classes: int
    seed: int
    steps: int

    @classmethod
    def of(cls, windows: Windows, seed: int, *, alike: bool, steps: int) -> "Split":
        """Halves of the people, asked ones and others each."""
        draws, taught, asked = np.random.default_rng(seed), {}, {}
        order = draws.permutation(np.unique(windows.person))
        fixed = windows.asked or frozenset(order[: round(APART * len(order))].tolist())
        for place, site in enumerate((FIRST, SECOND)):
            sides = [[one for one in order if (one in fixed) == out][place::2] for out in (False, True)]
            rows = [np.flatnonzero(np.isin(windows.person, side)) for side in sides]
            taught[site], asked[site] = (_told(windows, some, whole=alike or not place) for some in rows)
        return cls(taught, asked, windows.classes, seed, steps)

    def untaught(self, first: str) -> ProbeLesson:
        """A probe with the scale of the first site's label."""
        inputs, came, _ = self.taught[first]
        kind: dict[str, Any] = {"out_features": self.classes, "kind": "class"}
        if not self.classes:
            kind = {"out_features": 1, "kind": "value", "center": float(came.mean()), "scale": float(came.std())}
        torch.manual_seed(self.seed)
        width = inputs.context[0].numel() + inputs.observed.shape[1]
        return ProbeLesson(Probe(in_features=width, **kind)).eval()

    def rows(self, lesson: ProbeLesson, site: str) -> Taught:
        """Of those who teach."""
        inputs, came, person = self.taught[site]
        probe = lesson.probe
        target = came if self.classes else (came - probe.center) / probe.scale
        return laid_out(inputs, target[:, None], person.astype(str), target=probe.kind)

    @torch.no_grad()
    def errors(self, lesson: ProbeLesson, site: str) -> np.ndarray:
        """Of each person asked: what the AUROC lacks of 1, or the mean absolute error."""
        inputs, came, person = self.asked[site]
        out = lesson.members[0](inputs).numpy().astype(np.float64)
        if self.classes:
            lacks = (1 - auroc(out[own, 1] - out[own, 0], came[own]) for own in _people(person))
            return np.array(list(lacks))
        said = lesson.probe.center + lesson.probe.scale * out[:, 0]
        return np.array([np.abs(said[own] - came[own]).mean() for own in _people(person)])


def _told(windows: Windows, rows: np.ndarray, *, whole: bool) -> tuple[HeadInput, np.ndarray, np.ndarray]:
    there = windows.observed[rows].copy()
    if not whole:
        there[:, np.setdiff1d(np.arange(there.shape[1]), windows.less)] = False
    context = torch.from_numpy(windows.context[rows] * there[..., None])
    return HeadInput(context=context, observed=torch.from_numpy(there)), windows.came[rows], windows.person[rows]


def _people(person: np.ndarray) -> list[np.ndarray]:
    return [person == one for one in np.unique(person)]


class Learned:
    """Probes of one split, each taught once: of each site first, and of both at once.

    Attributes:
        seconds: CPU time that both at once took.
    """

    def __init__(self, split: Split) -> None:
        self.split, self.first, self.seconds = split, dict[str, ProbeLesson](), 0.0
        self.joint: ProbeLesson | None = None

    def of(self, site: str) -> ProbeLesson:
        """By one site alone."""
        if site not in self.first:
            lesson = self.split.untaught(site)
            rows, settings = self.split.rows(lesson, site), UpdateSettings(steps=self.split.steps)
            learn_domain(lesson, rows, settings, seed=self.split.seed)
            self.first[site] = lesson
        return self.first[site]

    def at_once(self) -> ProbeLesson:
        """The bound: both sites alike, as many steps as both in turn take together."""
        if self.joint is None:
            begin, lesson = process_time(), self.split.untaught(FIRST)
            rows, settings = self.split.rows(lesson, FIRST), UpdateSettings(steps=2 * self.split.steps)
            other = RowMemory(rows.layout, most_bytes=10**10)
            other.add(SECOND, self.split.rows(lesson, SECOND))
            learn_domain(lesson, rows, settings, memory=other, seed=self.split.seed)
            self.joint, self.seconds = lesson, process_time() - begin
        return self.joint


def streamed(learned: Learned, way: str, order: tuple[str, str]) -> Streamed:
    """One way through one order; stage 0 is a probe that was taught nothing."""
    split = learned.split
    stages = [{site: split.errors(split.untaught(order[0]), site) for site in order}]
    kept, seconds = 0, 0.0
    if way == UNTAUGHT:
        stages = stages * 3
    elif way == JOINT:
        found = learned.at_once()
        stages, seconds = stages + [{site: split.errors(found, site) for site in order}] * 2, learned.seconds
    else:
        before = learned.of(order[0])
        stages.append({site: split.errors(before, site) for site in order})
        begin = process_time()
        after, kept = (learned.of(order[1]), _numbers(before)) if way == ALONE else second(split, way, before, order)
        seconds, apart = process_time() - begin, way == ALONE or way.startswith("adapters")
        stages.append({site: split.errors(before if apart and site == order[0] else after, site) for site in order})
    return Streamed(
        order=order,
        error={site: np.stack([stage[site] for stage in stages]) for site in order},
        person={site: np.unique(split.asked[site][2]) for site in order},
        bytes=kept,
        seconds=seconds,
        at_once=way == JOINT,
    )


def second(split: Split, way: str, before: ProbeLesson, order: tuple[str, str]) -> tuple[ProbeLesson, int]:
    """The probe after the second site, and the bytes that the way kept of the first."""
    first, memory = split.rows(before, order[0]), None
    if way in (ROWS, PROTOTYPES):
        memory = (RowMemory if way == ROWS else PrototypeMemory)(first.layout)
        memory.add(order[0], first)
    anchors = anchors_of(before, first) if way == "EWC" else ()
    after, settings = copy.deepcopy(before), UpdateSettings(steps=split.steps, **HELD.get(way, {}))
    rows = split.rows(after, order[1])
    learn_domain(after, rows, settings, memory=memory, anchors=anchors, seed=split.seed + 100)
    if memory is not None:
        return after, memory.bytes
    return after, _numbers(before) * {"EWC": 2, "adapters, site told": 1}.get(way, 0)


def _numbers(lesson: ProbeLesson) -> int:
    """Bytes of a probe's weights."""
    return sum(4 * one.numel() for one in lesson.parameters())


def rows_of(
    what: str, windows: Windows, seeds: int, *, alike: bool, steps: int, progress: Callable[..., None]
) -> list[Any]:
    """A table's rows of all ways through both orders."""
    runs: dict[str, list[Streamed]] = {way: [] for way in ROLES}
    orders = ((FIRST, SECOND), (SECOND, FIRST))
    for seed in range(seeds):
        learned = Learned(Split.of(windows, seed, alike=alike, steps=steps))
        for number, order in enumerate(orders):
            for way, found in runs.items():
                found.append(streamed(learned, way, order))
            progress(seed * len(orders) + number + 1, seeds * len(orders), what)
    measure, unit = ("1 - AUROC of people", "") if windows.classes else ("MAE", windows.unit)
    rows = [*stream_rows(what, runs, ROLES, unit=unit), *matrix_rows(what, runs, ROLES, unit=unit)]
    return [one.model_copy(update={"metric": one.metric.replace("RMSE", measure)}) for one in rows]


def table(*, quick: bool, seeds: int, progress: Callable[..., None]) -> Result:
    """Both cohorts, twice each; the quick one is made up."""
    cohorts = {"made up": made_up()} if quick else {"stress, AUROC": stress(), "breaths, MAE": breaths()}
    rows: list[Any] = []
    for name, windows in cohorts.items():
        for alike in (True, False):
            what = f"{name}: {'sites alike' if alike else 'another device at site 2'}"
            rows += rows_of(what, windows, seeds, alike=alike, steps=40 if quick else 200, progress=progress)
    protocol = {
        "task": "heads",
        "people": {name: len(np.unique(one.person)) for name, one in cohorts.items()},
        "seeds": seeds,
        "last layer alone": "a probe is one layer: the same as going on",
    }
    return stream_result("probes at a second site", rows, protocol, OWED)
