"""Students of probes: how well a tree, eight lines or eight curves of named features follow what a probe says.

A part of scripts/reproduce_explain.py. Simulated people: log-odds of stress; Stress-Predict: the same of true people,
both by probes on the published wrist encoder; BIDMC: breaths a minute by a probe on an encoder of PPG. Each probe
learns from half of the people, is distilled on all and held against the label on the others. Beside each stand a
teacher that says the probe's numbers in another order, which nobody can follow, and a probe of random weights, which
is a function of the signals like any other: that a student follows a model does not make the model right.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from hdt_fm.cli.compose import Config, compose_config
from hdt_fm.cli.explain.features import named_features
from hdt_fm.cli.run import call
from hdt_fm.data.embeddings import load_table
from hdt_fm.data.shards import ShardFolder
from hdt_fm.evaluation.probes import Predict, logistic, ridge
from hdt_fm.explain.distil.calibration import Calibration
from hdt_fm.explain.distil.credit import TeacherShares, credit_of
from hdt_fm.explain.distil.distilled import Distilled, distil
from hdt_fm.explain.distil.fidelity import R2, RANK, WITHIN, Score
from hdt_fm.explain.distil.named import Feature, NamedFeatures
from hdt_fm.explain.distil.students import KINDS, SINGLE
from hdt_fm.explain.distil.teacher import Teacher
from hdt_fm.schema.embedding import EmbeddingTable
from hdt_fm.schema.result import Result, Row

OVERLAP, LABEL = "overlap of modality shares", ", label"
METRICS = (R2, RANK, WITHIN)
SHUFFLED, RANDOM = "shuffled", "random weights"
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Cohort:
    """Windows with a teacher.

    Attributes:
        blocks: Columns of `inputs` that each modality owns.
    """

    what: str
    inputs: np.ndarray
    blocks: dict[str, np.ndarray]
    label: np.ndarray
    is_class: bool
    unit: str
    named: NamedFeatures


def simulated() -> Cohort:
    """Stress of people who never lived, an hour each."""
    words = [
        "cohort=synthetic",
        "cohort.subjects=24",
        "cohort.hours=1.0",
        "preparation=wrist_60s",
        "name=explain_distil",
    ]
    words += ["root=runs/explain_distil", "checkpoint=hdt-fm-wrist-s"]
    for verb in ("shard", "embed"):
        config = compose_config(verb, words)
        if verb == "shard" or not (Path(config.value("table")) / "table.json").is_file():
            call(verb, config)
    return _cohort("simulated, stress", config, "stress")


def real_stress() -> Cohort:
    """Stress-Predict under the published wrist encoder, which saw none of these people."""
    from evolve_heads import stress  # loads all that trains, which the quick table does without

    stress()
    words = ["experiment=stress_predict", "root=runs/evolve_stress_predict", "checkpoint=hdt-fm-wrist-s"]
    return _cohort("Stress-Predict, stress", compose_config("embed", words), "stress")


def real_breaths() -> Cohort:
    """BIDMC by PPG alone, which is what a wrist would have."""
    from evolve_heads import breaths

    breaths()
    words = ["experiment=bidmc", "root=runs/evolve_bidmc", "split.test=0.34"]
    return _cohort("BIDMC, breaths", compose_config("embed", words), "breaths", modalities=("ppg",))


def made_up() -> Cohort:
    """Features of people who never lived, and inputs that are functions of two of them."""
    draws = np.random.default_rng(0)
    values = draws.standard_normal((600, 6))
    label = (values[:, 0] + 0.5 * draws.standard_normal(600) > 0).astype(np.float64)
    features = tuple(Feature(f"ppg.f{k}", f"PPG: feature {k}", "", "ppg") for k in range(6))
    named = NamedFeatures(features, values, np.repeat(np.arange(20), 30))
    return Cohort("made up", values[:, :2], {"ppg": np.arange(2)}, label, True, "", named)


@lru_cache
def _cohort(what: str, config: Config, label: str, modalities: tuple[str, ...] | None = None) -> Cohort:
    table = load_table(Path(config.value("table")))
    folder = ShardFolder.open(config.value("shards"))
    kept = modalities or table.modalities
    place = {int(window): row for row, window in enumerate(folder.window_ids)}
    positions = np.array([place[int(window)] for window in table.window_id])
    inputs = table.embeddings[:, [table.modalities.index(name) for name in kept]].astype(np.float64)
    width = inputs.shape[2]
    column = next(one for one in table.label_columns if one.name == label)
    return Cohort(
        what=what,
        inputs=inputs.reshape(len(table), -1),
        blocks={name: np.arange(width) + width * number for number, name in enumerate(kept)},
        label=_of(table, label),
        is_class=bool(column.classes),
        unit=column.unit,
        named=named_features(folder, positions, modalities=kept),
    )


def _of(table: EmbeddingTable, label: str) -> np.ndarray:
    return table.labels[label].astype(np.float64)


def _probe(cohort: Cohort, seed: int) -> tuple[Predict, np.ndarray]:
    """A probe's output as a function of the inputs, and whom it learned from."""
    people = np.unique(cohort.named.subject)
    half = np.random.default_rng(seed).permutation(people)[: len(people) // 2]
    taught = np.isin(cohort.named.subject, half)
    rows = np.flatnonzero(taught & np.isfinite(cohort.label))
    told = cohort.inputs[rows], cohort.label[rows], cohort.named.subject[rows]
    if cohort.is_class:
        fitted = logistic(2, seed=seed)(*told)
        return lambda x: np.diff(np.log(np.maximum(fitted.predict(x), 1e-12)), axis=1)[:, 0], taught
    value = ridge(seed=seed)(*told)
    return lambda x: value.predict(x)[:, 0], taught


def _teacher(cohort: Cohort, output: np.ndarray, taught: np.ndarray | None) -> Teacher:
    label = None if taught is None else np.where(taught, np.nan, cohort.label)
    unit = "log-odds" if cohort.is_class else cohort.unit
    return Teacher(output, cohort.what, unit, "class" if cohort.is_class else "value", label=label)


def _shares(cohort: Cohort, probe: Predict) -> TeacherShares:
    """Of |what the output loses| when a modality's embedding is put to its mean."""
    whole, sizes = probe(cohort.inputs), []
    for block in cohort.blocks.values():
        without = cohort.inputs.copy()
        without[:, block] = without[:, block].mean(axis=0)
        sizes.append(np.abs(whole - probe(without)))
    size = np.stack(sizes, axis=1)
    return TeacherShares("embeddings put to their mean", tuple(cohort.blocks), size / size.sum(axis=1, keepdims=True))


def _distilled(cohort: Cohort, seed: int, *, draws: int) -> list[tuple[str, Distilled]]:
    """Of the probe and of two teachers that nobody should believe."""
    (probe, taught), chance = _probe(cohort, seed), np.random.default_rng(seed)
    output = probe(cohort.inputs)
    weight = chance.standard_normal(cohort.inputs.shape[1])
    spread = cohort.inputs.std(axis=0)
    blind = (cohort.inputs / np.where(spread > 0, spread, 1.0)) @ weight
    some = {"draws": draws, "seed": seed}
    return [
        (cohort.what, distil(_teacher(cohort, output, taught), cohort.named, shares=_shares(cohort, probe), **some)),
        (
            f"{cohort.what}: {SHUFFLED}",
            distil(_teacher(cohort, chance.permutation(output), None), cohort.named, **some),
        ),
        (f"{cohort.what}: {RANDOM}", distil(_teacher(cohort, blind, None), cohort.named, **some)),
    ]


def _scores(found: Distilled, seed: int, draws: int) -> list[Score]:
    """Fidelity, and where there are labels and shares what stands against them."""
    scores = [one for one in found.scores if one.metric in METRICS]
    if isinstance(found.calibration, Calibration):
        scores += [replace(one, metric=one.metric + LABEL) for one in found.calibration.scores]
    if found.credit.overlap:
        single: Any = KINDS[SINGLE].fit(found.named.values, found.teacher.output, found.named.subject, seed=seed)
        theirs = {name: one.value for name, one in found.credit.teacher.items()}
        given = TeacherShares("", tuple(theirs), np.tile(list(theirs.values()), (len(found.named), 1)))
        floor = credit_of({SINGLE: single}, found.named, given, draws=draws, seed=seed).overlap
        for name, one in {**found.credit.overlap, **floor}.items():
            scores.append(Score(name, KINDS[name].role, OVERLAP, *one))
    return scores


def _rows(what: str, people: int, labelled: int, runs: Sequence[Sequence[Score]]) -> list[Row]:
    """Means over seeds of a value and of its ends; fewer people are held against the label than are distilled."""
    rows = []
    for same in zip(*runs, strict=True):
        value, low, high = np.mean([[one.value, one.low, one.high] for one in same], axis=0).tolist()
        ends = {"low": low, "high": high} if np.isfinite([low, high]).all() else {}
        if np.isfinite(value):
            first = same[0]
            rows.append(
                Row(
                    what=what,
                    model=first.model,
                    metric=first.metric,
                    value=value,
                    unit=first.unit,
                    n=labelled if first.metric.endswith(LABEL) else people,
                    role=first.role,
                    **ends,
                )
            )
    return rows


def table(*, quick: bool, seeds: int, progress: Progress) -> Result:
    """Each cohort with its three teachers; the quick one is made up."""
    makers = [made_up] if quick else [simulated, real_stress, real_breaths]
    draws, rows, people = 200 if quick else 1000, list[Row](), dict[str, int]()
    for number, maker in enumerate(makers):
        cohort = maker()
        people[cohort.what] = cohort.named.people
        runs: dict[str, list[list[Score]]] = {}
        labelled = 0
        for seed in range(seeds):
            for what, found in _distilled(cohort, seed, draws=draws):
                labelled = found.calibration.people if found.calibration else labelled
                runs.setdefault(what, []).append(_scores(found, seed, draws))
            progress(number * seeds + seed + 1, len(makers) * seeds, cohort.what)
        for what, own in runs.items():
            rows += _rows(what, cohort.named.people, labelled, own)
    protocol = {"task": "students", "people": people, "seeds": seeds, "ends": "of intervals are means over seeds"}
    return Result(name="students of probes", protocol=protocol, rows=tuple(rows), required_baselines=(SINGLE,))
