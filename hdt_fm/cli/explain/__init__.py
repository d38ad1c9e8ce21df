"""`hdt-fm explain`: why a model answers what it answers, for a window, a person or a cohort; its reliability first."""

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from hdt_fm.checkpoint import Model, load, model_digest
from hdt_fm.cli.compose import Config
from hdt_fm.cli.explain.answer import Wanted
from hdt_fm.cli.explain.answers import answers
from hdt_fm.cli.explain.happenings import happenings, marks
from hdt_fm.cli.explain.parts import sections_of
from hdt_fm.cli.explain.reference import OTHERS, reference_of
from hdt_fm.cli.explain.told import Told
from hdt_fm.cli.progress import Report
from hdt_fm.cli.run import Run
from hdt_fm.cli.settings import ExplainSettings
from hdt_fm.cli.workflow import open_shards, prepare_machine
from hdt_fm.data.shards import ShardFolder
from hdt_fm.explain.attribution import attribute
from hdt_fm.explain.explanation import Explanation
from hdt_fm.explain.fitness.table import Fit, fit_methods
from hdt_fm.explain.gate.exam import Exam
from hdt_fm.explain.gate.examine import examined
from hdt_fm.explain.page.document import PDF_NAME, PNG_NAME, write_report
from hdt_fm.schema.batch import Batch
from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.result import RunRecord

# Windows that are explained to see how long the others take; what the gate costs beside the maps, as was measured.
TRIAL, GATE_OVER_MAPS = 2, 10


def run(run: Run) -> RunRecord:
    """Attribute, examine, and write the page, its data and its pictures."""
    prepare_machine(run.config)
    told = _told(run.config)
    settings, answer, asked = told.settings, told.answer, told.asked
    fit = _fit(run, told)
    run.say(f"explaining {len(asked)} windows: about {_seconds(told):.0f} s")
    explanation = _mapped(told, asked.batch, progress=run.progress("maps"))
    events = happenings(told.folder, asked.batch, treatments=settings.treatments)
    exam = Exam.of(
        answer.function,
        asked.batch,
        explanation,
        skill=answer.skill(),
        fitness=fit.fitness,
        events=events,
        labels=told.labels,
        seed=settings.seed,
    )
    explanation = replace(explanation, reliability=examined(exam))
    sections, left_out = sections_of(told, replace(exam, explanation=explanation), events, run.progress("sections"))
    for name, reason in left_out.items():
        run.say(f"left out: {name}: {reason}")
    files = write_report(
        explanation,
        run.folder,
        title=f"Attribution: {answer.words}",
        scope=asked.scope,
        output_unit=answer.unit,
        sections=sections,
        alternative=_alternative(told),
        events=marks(events, asked.batch),
        withhold_waveforms=settings.withhold_waveforms,
        pictures=settings.pictures,
    )
    return _finish(run, explanation, files, left_out)


def plan(config: Config) -> dict[str, Any]:
    """Build the target and explain a few windows, to know how long all of them take."""
    told = _told(config)
    return {
        "target": told.answer.words,
        "scope": told.asked.scope,
        "windows": len(told.asked),
        "estimated seconds": round(_seconds(told)),
    }


def _told(config: Config) -> Told:
    """The shards with the facts about people that the model reads, the answer, and the windows."""
    settings = config.section("explain", ExplainSettings)
    model = load(settings.checkpoint)
    folder = open_shards(config).with_static(model.config.covariates)
    wanted = Wanted(**settings.model_dump(include=set(Wanted.__dataclass_fields__)))
    answer = answers(model, folder, settings, wanted, pretrained=Path(config.value("checkpoint")))
    return Told(config, settings, folder, model, answer, answer.windows())


def _fit(run: Run, told: Told) -> Fit:
    """What planted signals said of the methods; the leading one must not be known to fail."""
    methods = told.settings.methods
    fit = fit_methods(told.model.config, methods)
    if (reason := fit.unfit.get(methods[0])) is not None:
        raise ConfigError(
            f"The method {methods[0]} does not find planted signals in models of this kind",
            where="explain.methods",
            got=reason,
            expected=f"one that does first, such as: {', '.join(fit.fit) or 'none of these'}",
        )
    for name, reason in fit.unfit.items():
        run.say(f"{name} is unfit for this kind of model: {reason}")
    return fit


def _mapped(told: Told, batch: Batch, *, progress: Report | None = None) -> Explanation:
    settings = told.settings
    return attribute(
        told.answer.function,
        batch,
        target=told.answer.target,
        target_name=told.answer.words,
        methods=settings.methods,
        reference=reference_of(told, settings.reference),
        steps=settings.steps,
        segments=told.segments,
        seed=settings.seed,
        provenance=_provenance(told.config, told.folder, told.model, settings),
        progress=progress,
    )


def _alternative(told: Told) -> Explanation | None:
    """The leading map against another reference, to stand beside; zero where others cannot stand in."""
    settings = told.settings
    other = "zero" if settings.alternative == OTHERS and told.answer.label is None else settings.alternative
    if other is None or other == settings.reference:
        return None
    return attribute(
        told.answer.function,
        told.asked.batch,
        target=told.answer.target,
        target_name=told.answer.words,
        methods=settings.methods[:1],
        reference=reference_of(told, other),
        steps=settings.steps,
        segments=told.segments,
        seed=settings.seed,
    )


def _provenance(config: Config, folder: ShardFolder, model: Model, settings: ExplainSettings) -> dict[str, str]:
    whom = {"unseen": "people whom the encoder never saw", "all": "all people of the shards"}
    return {
        "checkpoint": model_digest(model)[:16],
        "config": config.digest("explain")[:16],
        "shards": folder.digest[:16],
        "split": whom[settings.people] if settings.scope == "cohort" else "one person, whom training may have seen",
    }


def _seconds(told: Told) -> float:
    """What a trial of few windows took, for all of them, and the gate, which repeats the leading map on few."""
    few = told.asked.batch.select(torch.arange(min(TRIAL, len(told.asked))))
    began = time.perf_counter()
    _mapped(told, few)
    trial = time.perf_counter() - began
    return trial * (len(told.asked) / len(few) + GATE_OVER_MAPS)


def _finish(run: Run, explanation: Explanation, files: tuple[Path, Path], left_out: Mapping[str, str]) -> RunRecord:
    reliability = explanation.reliability
    assert reliability is not None
    outputs = {"report": files[0], "json": files[1]}
    beside = {"pdf": run.folder / PDF_NAME, "picture": run.folder / PNG_NAME}
    outputs |= {name: path for name, path in beside.items() if path.is_file()}
    return run.finish(
        outputs=outputs,
        following=(f"hdt-fm publish {run.config.chosen}",),
        summary={
            "verdict": reliability.verdict,
            **{check.name: check.verdict for check in reliability.checks},
            **({"left out": ", ".join(left_out)} if left_out else {}),
        },
        provenance={"shards": explanation.provenance["shards"]},
    )
