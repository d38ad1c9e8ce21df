"""`hdt-fm evaluate`: frozen encoders on people they never saw, every baseline beside, leak audit first."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdt_fm.cli.also import Beside, check_also, further
from hdt_fm.cli.cohorts import NOBODY, Cohorts
from hdt_fm.cli.compose import Config
from hdt_fm.cli.contract import summary_of
from hdt_fm.cli.evidence import Evidence, gather, in_play
from hdt_fm.cli.own_encoders import own_encoders
from hdt_fm.cli.rates import check_estimate, check_estimate_of, rates
from hdt_fm.cli.run import Run, peak_memory_gb, write_text
from hdt_fm.cli.scratch import scratch_scores
from hdt_fm.cli.settings import ProtocolSettings, TrainingSettings
from hdt_fm.cli.trial import trial
from hdt_fm.cli.workflow import (
    People,
    asked_covariates,
    hand_made,
    open_shards,
    prepare_machine,
)
from hdt_fm.data.shards import ShardFolder
from hdt_fm.evaluation.audit import Pretraining, refuse_label_as_input
from hdt_fm.evaluation.baselines import RANDOM_ENCODER
from hdt_fm.evaluation.classification import classification
from hdt_fm.evaluation.contest import OURS, contest
from hdt_fm.evaluation.folds import Fold
from hdt_fm.evaluation.multiview import multiview_cca
from hdt_fm.evaluation.regression import regression
from hdt_fm.evaluation.retrieval import LINEAR, Part, retrieval_over
from hdt_fm.report.tables import flat_rows, markdown
from hdt_fm.schema.embedding import EmbeddingTable
from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.modalities import STATIC
from hdt_fm.schema.result import Result, RunRecord
from hdt_fm.schema.shard import LabelColumn


def run(run: Run) -> RunRecord:
    """Make the tables, score them, and leave `table.md` and `rows.json`."""
    config = run.config
    prepare_machine(config)
    protocol = config.section("protocol", ProtocolSettings)
    folder = open_shards(config)
    check_label(protocol, folder.header.labels, folder.labels)
    refuse_given_label(protocol.label, folder, asked_covariates(config))
    check_also(protocol, folder, with_static=_reads_static(config))
    check_estimate(config, protocol)
    evidence = gather(run, folder, protocol)
    check_estimate_of(evidence.models[OURS][0], protocol)
    table = evidence.tables[0]
    refuse_given_label(protocol.label, folder, evidence.covariates)
    hand, names, courses = hand_made(folder, table, run.progress("evaluate"), evidence.covariates)
    scratch = scratch_scores(run, folder, table, evidence.folds)
    task = _task(evidence, folder, protocol, (hand, names), scratch, int(config.value("seed")))
    parts = [
        Part(
            table,
            untrained[RANDOM_ENCODER],
            _names(table, fold.test),
            {**untrained, LINEAR: _linear(table, courses, fold)},
        )
        for table, untrained, fold in zip(evidence.tables, evidence.untrained, evidence.folds, strict=True)
    ]
    found = retrieval_over(parts, pools=(protocol.max_pool,), seed=int(config.value("seed")), draws=protocol.draws)
    made = (task, found, *_further(run, evidence, folder, protocol, (hand, names), courses))
    results = tuple(one.over(folder.manifest.cohort) for one in made)
    text = "\n\n".join(markdown(result) for result in results)
    write_text(run.folder / "table.md", text + "\n")
    write_text(run.folder / "rows.json", json.dumps(flat_rows(results), indent=1) + "\n")
    return run.finish(
        outputs={"table": run.folder / "table.md", "rows": run.folder / "rows.json"},
        following=(f"hdt-fm embed {config.chosen}", f"hdt-fm publish {config.chosen}"),
        summary={**_headline(task), **summary_of(evidence.unlike)},
        results=results,
        provenance={"shards": folder.digest, "encoder": table.model_digest},
    )


def plan(config: Config) -> dict[str, Any]:
    """Check shards and label, run a few steps, and say what the folds would take."""
    prepare_machine(config)
    protocol = config.section("protocol", ProtocolSettings)
    folder = open_shards(config)
    check_label(protocol, folder.header.labels, folder.labels)
    refuse_given_label(protocol.label, folder, asked_covariates(config))
    check_also(protocol, folder, with_static=_reads_static(config))
    check_estimate(config, protocol)
    known = ~np.isnan(folder.labels[protocol.label])
    everyone = People(np.arange(len(folder.manifest.subjects)), NOBODY, NOBODY)
    tried = trial(config, Cohorts.one(folder, everyone))
    everybody = len({row.group for row in folder.manifest.subjects})
    named = {"all": everybody, "published": 1}
    folds = 1 if protocol.people == "held_out" else named.get(str(protocol.folds)) or int(protocol.folds)
    pretrained = folds if protocol.people == "per_fold" else 0
    steps = protocol.scratch_steps + (config.section("training", TrainingSettings).steps if pretrained else 0)
    return {
        "protocol": f"{protocol.kind} of {protocol.label}, people {protocol.people}",
        "windows with the label": f"{int(known.sum())} of {folder.windows}",
        "people with the label": len(np.unique(folder.subject_rows[known])),
        "encoders to pretrain": pretrained,
        "estimated minutes": round(tried.seconds * steps * folds / 60, 1),
        "peak memory GB": peak_memory_gb(),
    }


def check_label(
    protocol: ProtocolSettings, known: Sequence[LabelColumn], labels: Mapping[str, NDArray[np.floating]]
) -> None:
    """Refuse a label that the shards lack, or of which there is nothing to tell, before anything is trained."""
    columns = {column.name: column for column in known}
    if protocol.label not in columns:
        raise ConfigError(f"The shards have no label {protocol.label!r}", expected=f"one of: {', '.join(columns)}")
    values = labels[protocol.label]
    found = np.unique(values[~np.isnan(values)])
    if protocol.kind == "classification" and len(found) < 2:
        classes = dict(enumerate(columns[protocol.label].classes))
        raise ConfigError(
            f"Of the label {protocol.label!r} there are fewer than two classes in these shards",
            where="protocol.label",
            expected="windows of two classes or more",
            got=", ".join(classes.get(int(one), "one number") for one in found) or "no window with the label",
            fix="another label, or shorter windows: a long one is of the class that fills most of it",
        )


def refuse_given_label(label: str, folder: ShardFolder, columns: Sequence[str]) -> None:
    """Refuse to predict what the encoder is told, before anything is trained."""
    people = [row.covariates for row in folder.manifest.subjects]
    refuse_label_as_input(label, folder.labels[label], folder.subject_rows, people=people, columns=columns)


def _reads_static(config: Config) -> bool:
    """Whether facts about people may be among the modalities; of a checkpoint it is seen when it is loaded."""
    return bool(asked_covariates(config)) or config.section("protocol", ProtocolSettings).people != "per_fold"


def _task(
    evidence: Evidence,
    folder: ShardFolder,
    protocol: ProtocolSettings,
    hand: tuple[NDArray[np.float64], tuple[str, ...]],
    scratch: NDArray[np.float64],
    seed: int,
) -> Result:
    tables, untrained, kept_hand = in_play(evidence, protocol, hand)
    shared: dict[str, Any] = {
        "table": tables[0],
        "label": protocol.label,
        "hand": kept_hand,
        "folds": evidence.folds,
        "extra_tables": {name: some if len(some) > 1 else some[0] for name, some in untrained.items()},
        "predictions": {"trained from scratch": scratch},
        "fold_tables": tables if len(tables) > 1 else None,
        "fuse": evidence.fuse,
        "pretraining": Pretraining(tuple(evidence.pretrained_on)) if evidence.pretrained_on else None,
        "personal": protocol.personal,
        "seed": seed,
        "draws": protocol.draws,
    }
    if protocol.kind == "classification":
        return classification(**shared)
    estimates = (
        rates(protocol.estimate, folder, tables[0], evidence.folds, evidence.models) if protocol.estimate else []
    )
    return regression(**shared, estimates=estimates)


def _further(
    run: Run,
    evidence: Evidence,
    folder: ShardFolder,
    protocol: ProtocolSettings,
    hand: tuple[NDArray[np.float64], tuple[str, ...]],
    courses: Mapping[str, NDArray[np.float64]],
) -> list[Result]:
    """The protocols of `protocol.also`, over the same folds and tables."""
    if not protocol.also:
        return []
    tables, untrained, kept_hand = in_play(evidence, protocol, hand)
    entered = contest(
        table=tables[0],
        label=protocol.label,
        hand=kept_hand,
        folds=evidence.folds,
        random_tables=untrained[RANDOM_ENCODER],
        fold_tables=tables if len(tables) > 1 else None,
        fuse=evidence.fuse,
        pretraining=Pretraining(tuple(evidence.pretrained_on)) if evidence.pretrained_on else None,
        kind="class" if protocol.kind == "classification" else "value",
        seed=int(run.config.value("seed")),
        draws=protocol.draws,
    )
    spaces = {}
    if "zero_shot" in protocol.also:
        spaces[LINEAR] = [_linear(table, courses, fold) for table, fold in zip(tables, evidence.folds, strict=True)]
    tuned = []
    if protocol.fine_tune:
        moving = run.progress("own encoders")
        tuned = own_encoders(evidence.models, tables[0], folder, protocol.tuning, moving)
    covariates = [row.covariates for row in folder.manifest.subjects]
    beside = Beside(covariates, spaces, tuned, protocol.tuning.people)
    return further(protocol.also, entered, beside, progress=run.progress("further protocols"), say=run.say)


def _linear(table: EmbeddingTable, courses: Mapping[str, NDArray[np.float64]], fold: Fold) -> EmbeddingTable:
    """What retrieval can do without a network, fitted on the fold's training people: of signals, since facts about
    people have no course."""
    signals = table.over([name for name in table.modalities if name != STATIC])
    ordered = {name: courses[name] for name in signals.modalities}
    projections = multiview_cca(ordered, signals.present, fold.train)
    return replace(signals, projections=projections).over(table.modalities)


def _names(table: EmbeddingTable, rows: NDArray[np.int64]) -> tuple[str, ...]:
    return tuple(table.subjects[row] for row in np.unique(table.subject[rows]))


def _headline(result: Result) -> dict[str, Any]:
    what = next(row.what for row in result.rows)
    metric = next(row.metric for row in result.rows if row.what == what)
    rows = [row for row in result.rows if (row.what, row.metric) == (what, metric)]
    return {f"{metric}, {row.model}": _with_interval(row.value, row.low, row.high) for row in rows}


def _with_interval(value: float, low: float | None, high: float | None) -> str:
    return f"{value:.3f}" if low is None or high is None else f"{value:.3f} [{low:.3f}, {high:.3f}]"
