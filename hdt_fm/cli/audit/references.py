"""Reference models: trained as the audited one was, each on a random half of the people."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from hdt_fm.audit.halves import random_halves
from hdt_fm.checkpoint.model import Model
from hdt_fm.cli.audit.members import Roll
from hdt_fm.cli.compose import Config, compose_config
from hdt_fm.cli.progress import Report
from hdt_fm.cli.settings import AuditSettings, TrainingSettings
from hdt_fm.cli.workflow import train_over

# Share of a reference's steps that at most warm up: few steps must still come to their learning rate.
MOST_WARMUP = 0.1


def halves_of(roll: Roll, settings: AuditSettings) -> Bool[np.ndarray, "reference person"]:
    """Who teaches each reference: half of the groups of each cohort.

    Raises:
        ConfigError: If a cohort has fewer than four groups of people.
    """
    halves = np.zeros((settings.references, len(roll.row)), dtype=np.bool_)
    for number in np.unique(roll.cohort):
        own = roll.cohort == number
        groups = [group for group, here in zip(roll.group, own, strict=True) if here]
        halves[:, own] = random_halves(groups, references=settings.references, seed=settings.seed + int(number))
    return halves


def steps_of(config: Config, settings: AuditSettings) -> int:
    """Steps of each reference."""
    return settings.reference_steps or config.section("training", TrainingSettings).steps


def reference_config(config: Config, settings: AuditSettings, number: int) -> Config:
    """The run's config with a reference's steps and a seed of its own, so that references differ as retrainings do.

    Those of a private model are private too, to the same epsilon (or with the same noise) over their own people and
    steps: references that learn more than the target make a weaker attacker. They are not handed out and cost nothing.
    """
    steps = steps_of(config, settings)
    warmup = min(config.section("training", TrainingSettings).warmup_steps, int(MOST_WARMUP * steps))
    own = [f"training.steps={steps}", f"training.warmup_steps={warmup}", f"seed={settings.seed + 1 + number}"]
    return compose_config("audit", [*config.overrides, *own])


def trained_references(
    config: Config,
    roll: Roll,
    settings: AuditSettings,
    halves: Bool[np.ndarray, "reference person"],
    folder: Path,
    *,
    progress: Report,
    say: Any,
) -> Iterator[Model]:
    """One reference after another, each kept in a folder of its own, where the same command goes on.

    Raises:
        KeyboardInterrupt: If a signal stopped a reference: its step is saved, and the same command goes on.
    """
    each = steps_of(config, settings)
    done = len(halves) * each
    for number, chosen in enumerate(halves):
        own = reference_config(config, settings, number)

        def report(step: int, steps: int, note: str = "", *, first: int = number * each) -> None:
            progress(first + step, done, note)

        model, outcome = train_over(
            own, roll.taught_by(chosen), folder / _name(roll, chosen, number), progress=report, say=say
        )
        if not outcome.finished:
            raise KeyboardInterrupt
        yield model


def _name(roll: Roll, chosen: Bool[np.ndarray, " person"], number: int) -> str:
    """A folder a half: other people make another folder, and its name says of nobody whether they are in it."""
    digest = hashlib.sha256(roll.cohorts.digest.encode() + np.packbits(chosen).tobytes()).hexdigest()[:8]
    return f"reference_{number}_{digest}"
