"""`hdt-fm pretrain`: shards -> encoder. Started again after a stop, it goes on where it was."""

import json
from pathlib import Path
from typing import Any

from hdt_fm.checkpoint import model_digest
from hdt_fm.cli.cohorts import Cohorts
from hdt_fm.cli.compose import Config
from hdt_fm.cli.held_out import PARTS, PEOPLE_NAME
from hdt_fm.cli.private import in_words, private_over, promise
from hdt_fm.cli.run import Run, peak_memory_gb, write_text
from hdt_fm.cli.settings import SeriesSettings, TrainingSettings
from hdt_fm.cli.trial import trial
from hdt_fm.cli.workflow import asked_covariates, open_cohorts, prepare_machine, train_over
from hdt_fm.schema.result import RunRecord


def run(run: Run) -> RunRecord:
    """Pretrain to the last step and leave the checkpoint folder."""
    config = run.config
    prepare_machine(config)
    cohorts = open_cohorts(config)
    # Whom the encoder sees is written before it sees anyone: evaluation refuses an encoder without this list.
    write_people(run.folder, cohorts)
    model, outcome = train_over(config, cohorts, run.folder, progress=run.progress("pretrain"), say=run.say)
    private = private_over(config, cohorts)
    promised = promise(config, private, outcome.steps) if private else None
    outputs = {"metrics": run.folder / "metrics.csv"}
    if outcome.checkpoint:
        outputs["checkpoint"] = outcome.checkpoint
    return run.finish(
        outputs=outputs,
        following=_following(config) if outcome.finished else (f"hdt-fm pretrain {config.chosen}",),
        summary={
            "steps": outcome.steps,
            **({"cohorts": _in_words(cohorts)} if len(cohorts.folders) > 1 else {}),
            **({"covariates": ", ".join(asked_covariates(config))} if asked_covariates(config) else {}),
            "people in training": sum(len(people.train) for people in cohorts.people.values()),
            "parameters": sum(weight.numel() for weight in model.parameters()),
            "windows/s": round(outcome.windows / outcome.seconds, 1) if outcome.seconds else None,
            **{name: round(value, 4) for name, value in outcome.metrics.items() if name in ("train/loss", "val/loss")},
            **({"privacy": in_words(promised)} if promised else {}),
            "resumed from step": outcome.resumed_from,
            "stopped by": outcome.stopped_by,
        },
        provenance={
            "config": config.digest("encoder", "projection", "loss", "training", "split", *_of_people(config)),
            "shards": cohorts.digest,
            "model": model_digest(model),
            **({"private": promised} if promised else {}),
        },
    )


def write_people(folder: Path, cohorts: Cohorts) -> None:
    """Pseudonyms by part; stays in the run folder and is never published."""
    parts: dict[str, list[str]] = {name: [] for name in PARTS}
    for cohort, people in cohorts.people.items():
        subjects = cohorts.folders[cohort].manifest.subjects
        for name in PARTS:
            parts[name] += [subjects[row].subject for row in getattr(people, name)]
    write_text(folder / PEOPLE_NAME, json.dumps(parts, indent=1) + "\n")


def plan(config: Config) -> dict[str, Any]:
    """Build everything, run a few steps, and say what the whole would take."""
    prepare_machine(config)
    training = config.section("training", TrainingSettings)
    cohorts = open_cohorts(config)
    tried = trial(config, cohorts)
    private = private_over(config, cohorts)
    promised = promise(config, private, training.steps) if private else None
    return {
        **({"cohorts": _in_words(cohorts)} if len(cohorts.folders) > 1 else {}),
        "people (train, validation, test)": ", ".join(
            str(sum(len(getattr(people, name)) for people in cohorts.people.values())) for name in PARTS
        ),
        "training windows": tried.windows,
        "parameters": tried.parameters,
        **({} if tried.loss is None else {"loss of the first batches": round(tried.loss, 4)}),
        **({"privacy": in_words(promised), **_dials(promised)} if promised else {}),
        "seconds a step": round(tried.seconds, 3),
        "estimated minutes": round(tried.seconds * training.steps / 60, 1),
        "peak memory GB": peak_memory_gb(),
        "passes over the data": round(training.steps * tried.windows_a_step / max(tried.windows, 1), 1),
    }


def _dials(promised: dict[str, Any]) -> dict[str, Any]:
    """What keeps the promise, in a plan's words."""
    return {
        "noise, in clips": promised["noise_multiplier"],
        "share of people at a step": promised["sampling_rate"],
        "steps": promised["steps"],
        "units (people, whole groups as one)": promised["units"],
    }


def _following(config: Config) -> tuple[str, ...]:
    # A signal that is forecast itself has no label that `evaluate` could ask about, and `finetune` embeds it.
    if config.section("series", SeriesSettings).modality:
        return (f"hdt-fm finetune {config.chosen}",)
    return (f"hdt-fm evaluate {config.chosen}", f"hdt-fm embed {config.chosen}")


def _of_people(config: Config) -> tuple[str, ...]:
    """Sections that count only where facts about people are an input, so that other runs keep their digest."""
    return ("covariates", "static") if asked_covariates(config) else ()


def _in_words(cohorts: Cohorts) -> str:
    """Each cohort with its share of the batches."""
    return ", ".join(f"{name} {share:.0%}" for name, share in cohorts.shares.items())
