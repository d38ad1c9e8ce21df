"""`hdt-fm audit privacy`: membership inference and re-identification."""

from pathlib import Path
from typing import Any

import numpy as np

from hdt_fm.audit.membership import Evidence, Membership, membership
from hdt_fm.audit.record import (
    AUDIT_NAME,
    WORDS_NAME,
    PrivacyAudit,
    flat,
    unresolved_rows,
)
from hdt_fm.audit.reidentification import Seen, reidentification
from hdt_fm.audit.signals import person_losses
from hdt_fm.audit.words import CAUTION, membership_words, reidentification_words
from hdt_fm.checkpoint import Model, build_model, load, model_digest
from hdt_fm.cli.audit import page, without_audit
from hdt_fm.cli.audit.members import Roll, refuse_other_checkpoint, roll_of
from hdt_fm.cli.audit.references import halves_of, steps_of, trained_references
from hdt_fm.cli.audit.windows import batches_of_people, seen_windows
from hdt_fm.cli.cohorts import Cohorts
from hdt_fm.cli.compose import Config
from hdt_fm.cli.run import Run, write_text
from hdt_fm.cli.settings import AuditSettings
from hdt_fm.cli.trial import trial
from hdt_fm.cli.workflow import TYPICAL_WINDOWS, device_of, encoder_digest, open_cohorts, prepare_machine
from hdt_fm.schema.published import find_model
from hdt_fm.schema.result import Result, RunRecord

# People of a roll who are linked, by their part; those who only watched over training are neither.
WHOM = {"people of pretraining": 0, "people never seen": 2}


def run(run: Run) -> RunRecord:
    """Attack, link, and write what was found."""
    prepare_machine(run.config)
    settings, model, roll = _asked(run.config)
    found = _membership(run, settings, model, roll)
    linked = _reidentification(run, settings, model, roll)
    said = (*membership_words(found), *reidentification_words(linked), CAUTION)
    audit = PrivacyAudit(
        model=model_digest(model),
        encoder=encoder_digest(model),
        shards=tuple(folder.digest for folder in roll.cohorts.folders.values()),
        config=run.config.digest("audit", "training", "split", "encoder", "loss"),
        protocol={
            "membership": found.result.protocol,
            "re-identification": linked.protocol,
            "reference steps": steps_of(run.config, settings) if settings.references else 0,
            "signal": settings.signal,
        },
        rows=(*flat(found.result), *unresolved_rows(found), *flat(linked)),
        found=said,
    )
    write_text(run.folder / AUDIT_NAME, audit.model_dump_json(indent=1) + "\n")
    write_text(run.folder / WORDS_NAME, page("Privacy audit", said, found.result, linked))
    return run.finish(
        outputs={"audit": run.folder / AUDIT_NAME, "table": run.folder / WORDS_NAME},
        following=(f"hdt-fm publish {without_audit(run.config)}",),
        summary={f"found {number}": sentence for number, sentence in enumerate(said[:-1], start=1)},
        results=(found.result, linked),
        provenance={"model": audit.model, "shards": " ".join(audit.shards), "config": audit.config},
    )


def plan(config: Config) -> dict[str, Any]:
    """Who would be audited, and how long the references would train."""
    prepare_machine(config)
    settings, _, roll = _asked(config)
    facts: dict[str, Any] = {
        "people (taught, watched, kept out)": ", ".join(str(int((roll.part == part).sum())) for part in range(3)),
        "references": settings.references,
        "attacks": ", ".join(settings.attacks),
    }
    if not settings.references:
        return facts
    halves = halves_of(roll, settings)
    cohorts, steps = roll.taught_by(halves[0]), steps_of(config, settings)
    # A batch is of one cohort, and a minute's window costs far more than a second's: each is tried, by its share.
    each = {name: Cohorts.one(cohorts.folders[name], cohorts.people[name]) for name in roll.names}
    seconds = sum(share * trial(config, each[name]).seconds for name, share in cohorts.shares.items())
    return {
        **facts,
        "steps of each reference": steps,
        "seconds a step": round(seconds, 3),
        "estimated minutes of references": round(seconds * steps * settings.references / 60, 1),
    }


def _asked(config: Config) -> tuple[AuditSettings, Model, Roll]:
    settings = config.section("audit", AuditSettings)
    checkpoint = find_model(settings.checkpoint)
    model = load(checkpoint, device=device_of(config))
    refuse_other_checkpoint(model, checkpoint)
    cohorts = open_cohorts(config)
    return settings, model, roll_of(config, Path(checkpoint), cohorts)


def _membership(run: Run, settings: AuditSettings, model: Model, roll: Roll) -> Membership:
    near_s = float(run.config.value("near_s"))
    halves = halves_of(roll, settings) if settings.references else np.zeros((0, len(roll.row)), dtype=np.bool_)

    def losses(one: Model) -> np.ndarray:
        people = batches_of_people(roll, one, settings.windows)
        return person_losses(one, people, kind=settings.signal, near_s=near_s)

    table = [losses(model)]
    references = trained_references(
        run.config, roll, settings, halves, run.folder / "references", progress=run.progress("references"), say=run.say
    )
    table += [losses(reference) for reference in references]
    evidence = Evidence(
        losses=np.stack(table),
        member=np.concatenate([(roll.part == 0)[None], halves]),
        counted=roll.part != 1,
        cohort=roll.cohort,
    )
    return membership(
        evidence,
        attacks=settings.attacks,
        gamma=settings.gamma,
        false_shares=settings.false_shares,
        draws=settings.draws,
        seed=settings.seed,
    )


def _reidentification(run: Run, settings: AuditSettings, model: Model, roll: Roll) -> Result:
    fresh = build_model(model.config, seed=settings.seed + 1)
    cohorts = roll.cohorts.with_covariates([one.name for one in model.config.covariates], strict=False)
    fresh.calibrate(*cohorts.typical(TYPICAL_WINDOWS, settings.seed, each=True))
    models = {"encoder": model, "random encoder": fresh.to(model.device).eval()}
    seen: list[Seen] = []
    for cohort in range(len(roll.names)):
        for whom, part in WHOM.items():
            people = (roll.part == part) & (roll.cohort == cohort)
            if people.sum() < 2:
                run.say(f"left out: {roll.names[cohort]}, {whom}: nobody to be told apart from")
                continue
            seen.append(seen_windows(roll, cohort, people, whom, models, settings, run.progress(f"link {whom}")))
    return reidentification(seen, draws=settings.draws, seed=settings.seed)
