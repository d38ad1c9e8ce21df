"""`hdt-fm explain`: an attribution report of a probe for a person's windows, its reliability first."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hdt_fm.checkpoint import Model, load
from hdt_fm.cli.compose import Config
from hdt_fm.cli.held_out import people_of_checkpoint
from hdt_fm.cli.run import Run
from hdt_fm.cli.settings import ExplainSettings
from hdt_fm.cli.workflow import open_shards, prepare_machine
from hdt_fm.data.shards import ShardFolder
from hdt_fm.data.stream import OrderedBatches
from hdt_fm.explain.attribution import attribute
from hdt_fm.explain.gate.examine import examine
from hdt_fm.explain.gate.skill import Skill, skill_of
from hdt_fm.explain.page.document import write_report
from hdt_fm.explain.targets.probe import ProbeTarget, probe_target
from hdt_fm.schema.batch import Batch
from hdt_fm.schema.errors import ConfigError, unknown_name
from hdt_fm.schema.result import RunRecord


def run(run: Run) -> RunRecord:
    """Attribute, examine, and write one HTML file and one JSON file."""
    config = run.config
    prepare_machine(config)
    settings = config.section("explain", ExplainSettings)
    folder, model = _folder_and_model(config, settings)
    function, label, target, words = _function(model, folder, settings)
    batch = _windows_of(folder, settings)
    run.say(f"explaining {len(batch)} windows: about {_seconds(batch, settings):.0f} s")
    explanation = attribute(
        function,
        batch,
        target=target,
        target_name=words,
        methods=settings.methods,
        steps=settings.steps,
        segments=max(2, round(folder.header.window_s / settings.occlusion_s)),
        provenance={"shards": folder.digest[:16], "checkpoint": Path(settings.checkpoint).name},
    )
    skill = _skill(config, function, folder, label, target)
    explanation = replace(explanation, reliability=examine(function, batch, explanation, skill=skill))
    page, record = write_report(
        explanation, run.folder, title=f"Attribution: {words}", withhold_waveforms=settings.withhold_waveforms
    )
    reliability = explanation.reliability
    assert reliability is not None
    return run.finish(
        outputs={"report": page, "json": record},
        following=(f"hdt-fm publish {config.chosen}",),
        summary={"verdict": reliability.verdict, **{check.name: check.verdict for check in reliability.checks}},
        provenance={"shards": folder.digest},
    )


def plan(config: Config) -> dict[str, Any]:
    """Build the target and run one window through it."""
    settings = config.section("explain", ExplainSettings)
    folder, model = _folder_and_model(config, settings)
    function, label, _, words = _function(model, folder, settings)
    batch = _windows_of(folder, settings)
    with torch.no_grad():
        function(batch.select(torch.arange(1)))
    return {
        "target": words,
        "label": label,
        "windows": len(batch),
        "estimated seconds": round(_seconds(batch, settings)),
    }


def _folder_and_model(config: Config, settings: ExplainSettings) -> tuple[ShardFolder, Model]:
    """The shards, with the facts about people that the model reads."""
    model = load(settings.checkpoint)
    return open_shards(config).with_static(model.config.covariates), model


def _function(model: Model, folder: ShardFolder, settings: ExplainSettings) -> tuple[ProbeTarget, str, int, str]:
    """The explained output: the last class of a class probe, or the value."""
    name = settings.head
    if name not in model.heads:
        raise unknown_name("head", name, model.heads.keys(), where="explain.head")
    label = name.removeprefix("probe_")
    if not name.startswith("probe_"):
        raise ConfigError(
            "Only a probe can be explained so far", where="explain.head", got=name, expected="probe_LABEL"
        )
    column = next((one for one in folder.header.labels if one.name == label), None)
    target = len(column.classes) - 1 if column and column.classes else 0
    words = f"log-odds of {column.classes[target]}" if column and column.classes else label
    return probe_target(model, name), label, target, words


def _windows_of(folder: ShardFolder, settings: ExplainSettings) -> Batch:
    """A person's windows, spread over the recording."""
    own = np.flatnonzero(folder.subject_rows == settings.subject)
    if not len(own):
        raise ConfigError(
            f"There is no window of subject row {settings.subject}",
            where="explain.subject",
            expected=f"0 to {len(folder.manifest.subjects) - 1}",
        )
    own = own[np.argsort(folder.t0_ns[own])]
    return folder.gather(own[np.linspace(0, len(own) - 1, min(settings.windows, len(own))).astype(int)])


def _skill(config: Config, function: ProbeTarget, folder: ShardFolder, label: str, target: int) -> Skill | None:
    """Measured on the people that the encoder and the head were kept from."""
    people = people_of_checkpoint(Path(config.value("checkpoint")))["test"]
    numbers = [row for row, subject in enumerate(folder.manifest.subjects) if subject.subject in set(people)]
    positions = np.flatnonzero(np.isin(folder.subject_rows, numbers) & np.isfinite(folder.labels[label]))
    if not len(positions):
        return None
    with torch.no_grad():
        outputs = [function(batch)[:, target].numpy() for batch in OrderedBatches(folder, positions, batch_size=256)]
    column = next(one for one in folder.header.labels if one.name == label)
    return skill_of(
        np.concatenate(outputs),
        folder.labels[label][positions],
        folder.subject_rows[positions],
        positive_class=target if column.kind == "class" else None,
    )


def _seconds(batch: Batch, settings: ExplainSettings) -> float:
    """A rough guess: most of the time goes to paths and occluded copies."""
    return 0.02 * len(batch) * (settings.steps + 40) + 5
