"""`hdt-fm evaluate`: frozen encoders on people they never saw, every baseline beside, leak audit first."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdt_fm.checkpoint import Model, build_model, load, load_preprocess
from hdt_fm.cli.also import Beside, check_also, further
from hdt_fm.cli.cohorts import NOBODY, Cohorts
from hdt_fm.cli.compose import Config
from hdt_fm.cli.contract import check_contract, summary_of
from hdt_fm.cli.held_out import held_out_fold, people_of_checkpoint, pseudonyms, refuse_known_cohort
from hdt_fm.cli.own_encoders import own_encoders
from hdt_fm.cli.rates import check_estimate, check_estimate_of, rates
from hdt_fm.cli.run import Run, peak_memory_gb, write_text
from hdt_fm.cli.scratch import scratch_scores
from hdt_fm.cli.settings import ProtocolSettings, TrainingSettings
from hdt_fm.cli.trial import trial
from hdt_fm.cli.workflow import (
    People,
    Rows,
    asked_covariates,
    cohorts_around,
    device_of,
    embed,
    hand_made,
    new_model,
    open_shards,
    prepare_machine,
    start_of,
    train_over,
)
from hdt_fm.data.embeddings import fuser
from hdt_fm.data.shards import ShardFolder
from hdt_fm.evaluation.audit import Pretraining, refuse_label_as_input
from hdt_fm.evaluation.baselines import RANDOM_ENCODER
from hdt_fm.evaluation.classification import classification
from hdt_fm.evaluation.contest import OURS, contest
from hdt_fm.evaluation.folds import Fold, grouped_folds, leave_one_group_out, stated_fold
from hdt_fm.evaluation.fused import Fuse
from hdt_fm.evaluation.multiview import multiview_cca
from hdt_fm.evaluation.regression import regression
from hdt_fm.evaluation.retrieval import LINEAR, Part, retrieval_over
from hdt_fm.report.tables import flat_rows, markdown
from hdt_fm.schema.embedding import EmbeddingTable
from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.modalities import STATIC
from hdt_fm.schema.published import find_model
from hdt_fm.schema.result import Result, RunRecord
from hdt_fm.schema.shard import LabelColumn

CLOSED_FORM_START = "closed-form start"
# Covariate of a person, train or test, where the publisher of a cohort states a split.
PUBLISHED_SPLIT = "published_split"


@dataclass(frozen=True)
class Evidence:
    """What the protocols compare: one entry a fold in `tables`, `untrained` (by name), `pretrained_on` and `fuse`;
    `covariates` are the columns of the people that the encoder reads, `models` made the tables of ours and the random
    encoder, one a fold each; `unlike` says in what these recordings are not as those it learned from."""

    folds: Sequence[Fold]
    tables: Sequence[EmbeddingTable]
    untrained: Sequence[Mapping[str, EmbeddingTable]]
    pretrained_on: Sequence[frozenset[str]] | None
    fuse: Sequence[Fuse] | None = None
    covariates: tuple[str, ...] = ()
    models: Mapping[str, Sequence[Model]] = field(default_factory=dict)
    unlike: Sequence[str] = ()


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
    gather = {"held_out": _held_out, "per_fold": _per_fold, "unseen": _unseen}[protocol.people]
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


def _covariates(config: Config, model: Model, table: EmbeddingTable) -> tuple[str, ...]:
    """The columns that the checkpoint reads of these people, which its opponents must be given too.

    Raises:
        ConfigError: If the config names others.
    """
    asked, reads = asked_covariates(config), tuple(column.name for column in model.config.covariates)
    here = reads if STATIC in table.modalities else ()
    if set(asked) != set(reads) and (here or not reads):
        raise ConfigError(
            "The checkpoint and the config name different covariates",
            where="covariates",
            expected=f"covariates=[{','.join(reads)}], so that the baselines are given what the encoder is given",
            got=f"[{','.join(asked)}]",
            fix="repeat the covariates of `hdt-fm pretrain`",
        )
    return here


def _held_out(run: Run, folder: ShardFolder, protocol: ProtocolSettings) -> Evidence:
    """One fold: people of the pretraining against those that it was kept from."""
    config = run.config
    checkpoint = Path(config.value("checkpoint"))
    people = people_of_checkpoint(checkpoint)
    model = load(checkpoint, device=device_of(config))
    table = embed(config, model, folder, run.progress("embed"))
    facts = _covariates(config, model, table)
    fold = held_out_fold(table, people)
    train = np.unique(table.subject[fold.train])
    random = _random(config, folder, train)
    untrained = _untrained(config, folder, train, random)
    models = {OURS: [model], RANDOM_ENCODER: [random]}
    return Evidence([fold], [table], [untrained], [pseudonyms(people)], _fuse([model]), facts, models)


def _per_fold(run: Run, folder: ShardFolder, protocol: ProtocolSettings) -> Evidence:
    """Folds over everyone; for each, an encoder pretrained without its test people, and on all of other `cohorts`."""
    config = run.config
    subject, folds = _folds(folder, protocol, int(config.value("seed")))
    tables, untrained, saw, models, randoms = [], [], [], [], []
    for number, fold in enumerate(folds, start=1):
        train = np.unique(subject[fold.train])
        home = run.folder / "folds" / str(number)
        report = run.progress(f"fold {number} of {len(folds)}: pretrain")
        cohorts = cohorts_around(config, folder, train)
        model, outcome = train_over(config, cohorts, home, progress=report, say=run.say)
        if not outcome.finished:  # its signal was caught to save the step; no table may rest on half an encoder
            raise KeyboardInterrupt
        tables.append(embed(config, model, folder))
        models.append(model)
        randoms.append(_random(config, folder, train))
        untrained.append(_untrained(config, folder, train, randoms[-1]))
        saw.append(cohorts.pseudonyms("train"))
    made = {OURS: models, RANDOM_ENCODER: randoms}
    return Evidence(folds, tables, untrained, saw, _fuse(models), asked_covariates(config), made)


def _unseen(run: Run, folder: ShardFolder, protocol: ProtocolSettings) -> Evidence:
    """Folds over everyone under one encoder that was trained elsewhere; only heads and baselines learn here."""
    config = run.config
    checkpoint = find_model(config.value("checkpoint"))
    saw = refuse_known_cohort(checkpoint, folder.manifest, folder.digest)
    model = load(checkpoint, device=device_of(config))
    unlike = check_contract(model.config, load_preprocess(checkpoint), folder, say=run.say)
    seed = int(config.value("seed"))
    _, folds = _folds(folder, protocol, seed)
    table = embed(config, model, folder, run.progress("embed"))
    facts = _covariates(config, model, table)
    fresh = build_model(model.config, seed=seed + 1)
    random = {RANDOM_ENCODER: embed(config, fresh, folder)}
    count = len(folds)
    models = {OURS: [model] * count, RANDOM_ENCODER: [fresh] * count}
    return Evidence(
        folds, [table] * count, [random] * count, [saw] * count, _fuse([model] * count), facts, models, unlike
    )


def _folds(folder: ShardFolder, protocol: ProtocolSettings, seed: int) -> tuple[Rows, list[Fold]]:
    """Whose each row of a table of these shards is, and the folds over it."""
    order = np.lexsort((folder.t0_ns, folder.subject_rows))
    subject = folder.subject_rows[order].astype(np.int64)
    names = sorted({row.group for row in folder.manifest.subjects})
    group = np.array([names.index(row.group) for row in folder.manifest.subjects])[subject]
    if protocol.folds == "published":
        stated = [row.covariates.get(PUBLISHED_SPLIT) for row in folder.manifest.subjects]
        return subject, [stated_fold(group, [stated[one] for one in subject])]
    everyone = protocol.folds == "all"
    return subject, list(leave_one_group_out(group) if everyone else grouped_folds(group, int(protocol.folds), seed))


def _fuse(models: Sequence[Model]) -> list[Fuse] | None:
    """The fusion of each model; None where they have none."""
    made = [fuser(model, model.modalities) for model in models]
    found = [fuse for fuse in made if fuse is not None]
    return found or None


def _random(config: Config, folder: ShardFolder, train: Rows) -> Model:
    """The encoder of random weights, by another seed than the one that pretraining began with."""
    return new_model(config, folder, train, seed=int(config.value("seed")) + 1)


def _untrained(config: Config, folder: ShardFolder, train: Rows, random: Model) -> dict[str, EmbeddingTable]:
    """The encoder without a gradient step: of random weights, and as pretraining began with it."""
    found = {RANDOM_ENCODER: embed(config, random, folder)}
    model = new_model(config, folder, train)
    begin = start_of(config, model, folder, train)
    if begin is not None:
        begin()
        found[CLOSED_FORM_START] = embed(config, model, folder)
    return found


def _task(
    evidence: Evidence,
    folder: ShardFolder,
    protocol: ProtocolSettings,
    hand: tuple[NDArray[np.float64], tuple[str, ...]],
    scratch: NDArray[np.float64],
    seed: int,
) -> Result:
    tables, untrained, kept_hand = _in_play(evidence, protocol, hand)
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


def _in_play(
    evidence: Evidence, protocol: ProtocolSettings, hand: tuple[NDArray[np.float64], tuple[str, ...]]
) -> tuple[list[EmbeddingTable], dict[str, list[EmbeddingTable]], tuple[NDArray[np.float64], tuple[str, ...]]]:
    """Tables, untrained tables by name, and hand features of the modalities that the protocol asks for."""
    tables = [_only(table, protocol.alone) for table in evidence.tables]
    untrained = {
        name: [_only(tables_of[name], protocol.alone) for tables_of in evidence.untrained]
        for name in evidence.untrained[0]
    }
    kept = [k for k, name in enumerate(hand[1]) if protocol.alone is None or name.split(".")[0] in protocol.alone]
    return tables, untrained, (hand[0][:, kept], tuple(hand[1][k] for k in kept))


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
    tables, untrained, kept_hand = _in_play(evidence, protocol, hand)
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


def _only(table: EmbeddingTable, modalities: tuple[str, ...] | None) -> EmbeddingTable:
    """The table with some modalities alone; what was fused of all of them is gone."""
    if modalities is None:
        return table
    unknown = [name for name in modalities if name not in table.modalities]
    if unknown:
        raise ConfigError(
            f"The table has no modality {unknown[0]!r}", where="protocol.only", expected=", ".join(table.modalities)
        )
    k = [table.modalities.index(name) for name in modalities]
    return replace(
        table,
        modalities=modalities,
        embeddings=table.embeddings[:, k],
        projections=table.projections[:, k],
        present=table.present[:, k],
        fused=None,
    )


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
