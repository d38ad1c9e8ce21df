"""`hdt-fm audit fairness`: for whom a model is worse, before and after its encoder is moved by labels."""

from dataclasses import replace
from typing import Any

import numpy as np

from hdt_fm.audit.fairness.page import fairness_page
from hdt_fm.audit.fairness.record import FAIRNESS_NAME, FAIRNESS_WORDS_NAME, FairnessAudit
from hdt_fm.audit.fairness.table import fairness
from hdt_fm.audit.fairness.words import CAUTION, fairness_words, headline
from hdt_fm.audit.record import flat
from hdt_fm.checkpoint import load, model_digest
from hdt_fm.cli.audit import without_audit
from hdt_fm.cli.audit.fairness_models import answers_of, asked_of, columns_in, facts_of
from hdt_fm.cli.audit.fairness_tuning import Moving
from hdt_fm.cli.cohorts import NOBODY, Cohorts, People
from hdt_fm.cli.compose import Config, compose_config
from hdt_fm.cli.evaluate import check_label, refuse_given_label
from hdt_fm.cli.evidence import PUBLISHED_SPLIT, Evidence, gather, in_play
from hdt_fm.cli.own_encoders import OwnWindows
from hdt_fm.cli.run import Run, write_text
from hdt_fm.cli.settings import AuditSettings, ProtocolSettings, TrainingSettings
from hdt_fm.cli.trial import trial
from hdt_fm.cli.workflow import asked_covariates, changes, encoder_digest, hand_made, open_shards, prepare_machine
from hdt_fm.data.shards import ShardFolder
from hdt_fm.evaluation.audit import Pretraining
from hdt_fm.evaluation.baselines import RANDOM_ENCODER
from hdt_fm.evaluation.contest import OURS, Contest, contest
from hdt_fm.schema.errors import HdtError
from hdt_fm.schema.published import find_model
from hdt_fm.schema.result import RunRecord

# How the encoders of the folds came about, by `protocol.people`.
ENCODERS = {
    "held_out": "the checkpoint, asked of people it was kept from",
    "unseen": "the checkpoint, asked of a cohort it never saw",
    "per_fold": "pretrained anew for each fold without its test people, as the config says",
}


def run(run: Run) -> RunRecord:
    """Make the models, score them in every cell, and write what was found."""
    run = replace(run, config=_with_checkpoint(run.config))
    config = run.config
    prepare_machine(config)
    settings, protocol, folder = _asked(config)
    evidence = gather(run, folder, protocol)
    entered = _entered(run, evidence, folder, protocol, settings)
    facts = facts_of(entered.table, [row.covariates for row in folder.manifest.subjects], PUBLISHED_SPLIT)
    columns = columns_in(entered, facts, settings)
    moving = _moving(config, evidence, entered, folder, settings) if settings.fine_tune else None
    found = fairness(
        asked_of(entered),
        answers_of(entered, columns, facts, settings, moving, run.progress("fine-tune")),
        columns,
        min_people=settings.min_people,
        draws=settings.draws,
        permutations=settings.permutations,
        seed=settings.seed,
        protocol=_protocol(entered, folder, protocol, settings),
    )
    model, encoder = _names(config, evidence, protocol)
    said = (*fairness_words(found), CAUTION)
    record = FairnessAudit(
        model=model,
        encoder=encoder,
        shards=(folder.digest,),
        config=config.digest("audit", "training", "split", "encoder", "loss", "protocol"),
        protocol=found.result.protocol,
        rows=tuple(flat(found.result)),
        found=said,
    )
    write_text(run.folder / FAIRNESS_NAME, record.model_dump_json(indent=1) + "\n")
    write_text(run.folder / FAIRNESS_WORDS_NAME, fairness_page(found, said))
    return run.finish(
        outputs={"audit": run.folder / FAIRNESS_NAME, "table": run.folder / FAIRNESS_WORDS_NAME},
        following=(f"hdt-fm publish {without_audit(config)}",),
        summary={"gaps in": found.leads, **headline(found)},
        results=(found.result,),
        provenance={"model": model, "shards": folder.digest, "config": record.config},
    )


def plan(config: Config) -> dict[str, Any]:
    """Who would be compared, as far as the shards say, and how long the encoders would train."""
    prepare_machine(config)
    settings, protocol, folder = _asked(config)
    people = {row.group: row.covariates for row in folder.manifest.subjects}
    known = sorted({name for one in people.values() for name in one if name != PUBLISHED_SPLIT})
    everyone = People(np.arange(len(folder.manifest.subjects)), NOBODY, NOBODY)
    tried = trial(config, Cohorts.one(folder, everyone))
    folds = 1 if protocol.people == "held_out" else {"all": len(people), "published": 1}.get(str(protocol.folds))
    folds = folds or int(protocol.folds)
    columns = len(settings.by) if settings.by is not None else len(known)
    tunings = (1 + columns * len(settings.remedies)) * settings.fine_tune
    steps = tunings * settings.fine_tune_steps
    if protocol.people == "per_fold":
        steps += config.section("training", TrainingSettings).steps
    return {
        "label": f"{protocol.kind} of {protocol.label}, people {protocol.people}",
        "people": len(people),
        "columns": ", ".join(known) or "(none)",
        "fewest people shown": settings.min_people,
        "folds": folds,
        "fine-tunings of each fold": tunings,
        "estimated minutes": round(tried.seconds * steps * folds / 60, 1),
    }


def _asked(config: Config) -> tuple[AuditSettings, ProtocolSettings, ShardFolder]:
    settings, protocol = config.section("audit", AuditSettings), config.section("protocol", ProtocolSettings)
    folder = open_shards(config)
    check_label(protocol, folder.header.labels, folder.labels)
    refuse_given_label(protocol.label, folder, asked_covariates(config))
    return settings, protocol, folder


def _with_checkpoint(config: Config) -> Config:
    """The config with the audited checkpoint as the one that encoders are read from."""
    asked = config.section("audit", AuditSettings).checkpoint
    if asked == str(config.value("checkpoint")):
        return config
    return compose_config("audit", [*config.overrides, f"checkpoint={asked}"])


def _entered(
    run: Run, evidence: Evidence, folder: ShardFolder, protocol: ProtocolSettings, settings: AuditSettings
) -> Contest:
    """Tables of the folds' encoders, hand-made features, and the leak audit over them."""
    refuse_given_label(protocol.label, folder, evidence.covariates)
    hand, names, _ = hand_made(folder, evidence.tables[0], run.progress("audit"), evidence.covariates)
    tables, untrained, kept = in_play(evidence, protocol, (hand, names))
    return contest(
        table=tables[0],
        label=protocol.label,
        hand=kept,
        folds=evidence.folds,
        random_tables=untrained[RANDOM_ENCODER],
        fold_tables=tables if len(tables) > 1 else None,
        pretraining=Pretraining(tuple(evidence.pretrained_on)) if evidence.pretrained_on else None,
        kind="class" if protocol.kind == "classification" else "value",
        seed=settings.seed,
        draws=settings.draws,
    )


def _moving(
    config: Config, evidence: Evidence, entered: Contest, folder: ShardFolder, settings: AuditSettings
) -> Moving:
    training = config.section("training", TrainingSettings)
    return Moving(
        models=tuple(evidence.models[OURS]),
        windows=OwnWindows(entered.table, folder),
        steps=settings.fine_tune_steps,
        batch_size=training.batch_size,
        learning_rate=settings.fine_tune_rate,
        weight_decay=training.weight_decay,
        change=changes(config)[0],
    )


def _protocol(
    entered: Contest, folder: ShardFolder, protocol: ProtocolSettings, settings: AuditSettings
) -> dict[str, Any]:
    tuned = {"steps": settings.fine_tune_steps, "learning rate": settings.fine_tune_rate}
    return {
        "cohort": folder.manifest.cohort,
        "folds": len(entered.folds),
        "encoders": ENCODERS[protocol.people],
        "before": "encoder frozen, a linear probe of the training people",
        "after": f"every weight moved by the training people's labels: {tuned}" if settings.fine_tune else "not asked",
        "remedies": list(settings.remedies),
        "modalities": list(entered.table.modalities),
        "audit": dict(entered.checks),
    }


def _names(config: Config, evidence: Evidence, protocol: ProtocolSettings) -> tuple[str | None, str | None]:
    """Digests of the checkpoint that was audited; of folds' encoders, those of a checkpoint of the same encoder."""
    if protocol.people != "per_fold":
        model = evidence.models[OURS][0]
        return model_digest(model), encoder_digest(model)
    try:
        model = load(find_model(str(config.value("checkpoint"))))
    except HdtError:
        return None, None
    made = evidence.models[OURS][0].config
    if (model.config.encoder, model.modalities) != (made.encoder, evidence.models[OURS][0].modalities):
        return None, None
    return model_digest(model), encoder_digest(model)
