"""What `evaluate` and audits compare: folds over people, and the embeddings that each fold's encoders make.

Who may be scored by which encoder is decided here, by `protocol.people`: an own checkpoint on the people that it was
kept from, an encoder pretrained anew for each fold, or somebody else's on a cohort that it never saw.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hdt_fm.checkpoint import Model, build_model, load, load_preprocess
from hdt_fm.cli.compose import Config
from hdt_fm.cli.contract import check_contract
from hdt_fm.cli.held_out import held_out_fold, people_of_checkpoint, pseudonyms, refuse_known_cohort
from hdt_fm.cli.run import Run
from hdt_fm.cli.settings import ProtocolSettings
from hdt_fm.cli.workflow import (
    Rows,
    asked_covariates,
    cohorts_around,
    device_of,
    embed,
    new_model,
    start_of,
    train_over,
)
from hdt_fm.data.embeddings import fuser
from hdt_fm.data.shards import ShardFolder
from hdt_fm.evaluation.baselines import RANDOM_ENCODER
from hdt_fm.evaluation.contest import OURS
from hdt_fm.evaluation.folds import Fold, grouped_folds, leave_one_group_out, stated_fold
from hdt_fm.evaluation.fused import Fuse
from hdt_fm.schema.embedding import EmbeddingTable
from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.modalities import STATIC
from hdt_fm.schema.published import find_model

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


def gather(run: Run, folder: ShardFolder, protocol: ProtocolSettings) -> Evidence:
    """The evidence that `protocol.people` asks for; pretrains where it must."""
    ways = {"held_out": _held_out, "per_fold": _per_fold, "unseen": _unseen}
    return ways[protocol.people](run, folder, protocol)


def in_play(
    evidence: Evidence, protocol: ProtocolSettings, hand: tuple[NDArray[np.float64], tuple[str, ...]]
) -> tuple[list[EmbeddingTable], dict[str, list[EmbeddingTable]], tuple[NDArray[np.float64], tuple[str, ...]]]:
    """Tables, untrained tables by name, and hand features of the modalities that the protocol asks for."""
    tables = [only_of(table, protocol.alone) for table in evidence.tables]
    untrained = {
        name: [only_of(tables_of[name], protocol.alone) for tables_of in evidence.untrained]
        for name in evidence.untrained[0]
    }
    kept = [k for k, name in enumerate(hand[1]) if protocol.alone is None or name.split(".")[0] in protocol.alone]
    return tables, untrained, (hand[0][:, kept], tuple(hand[1][k] for k in kept))


def only_of(table: EmbeddingTable, modalities: tuple[str, ...] | None) -> EmbeddingTable:
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
