"""`hdt-fm explain`: why a model answers what it answers, for a window, a person or a cohort; its reliability first."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from hdt_fm.checkpoint import load, model_digest
from hdt_fm.cli.compose import Config
from hdt_fm.cli.explain.answer import Wanted
from hdt_fm.cli.explain.answers import answers
from hdt_fm.cli.explain.estimate import seconds
from hdt_fm.cli.explain.fitness import own_table, planned_table
from hdt_fm.cli.explain.happenings import happenings, marks, of_enough_people
from hdt_fm.cli.explain.mapping import alternative, chosen, mapped
from hdt_fm.cli.explain.parts import sections_of
from hdt_fm.cli.explain.told import Told
from hdt_fm.cli.run import Run
from hdt_fm.cli.settings import ExplainSettings
from hdt_fm.cli.workflow import open_shards, prepare_machine
from hdt_fm.explain.explanation import Explanation
from hdt_fm.explain.gate.exam import Exam
from hdt_fm.explain.gate.examine import examined
from hdt_fm.explain.page.document import PDF_NAME, PNG_NAME, write_report
from hdt_fm.explain.page.report import Report
from hdt_fm.schema.result import RunRecord


def run(run: Run) -> RunRecord:
    """Attribute, examine, and write the page, its data and its pictures."""
    prepare_machine(run.config)
    told = _told(run.config)
    settings, answer, asked = told.settings, told.answer, told.asked
    methods = chosen(told, own_table(told, run))
    for name, reason in methods.left_out.items():
        run.say(f"left out: {name}: {reason}")
    for name, reason in methods.unknown.items():
        run.say(f"not judged: {name}: {reason}")
    run.say(f"explaining {_counted(len(asked))}: about {seconds(told, methods):.0f} s")
    explanation = replace(mapped(told, methods.names, run.progress("maps")), provenance=_provenance(told))
    events = happenings(told.folder, asked.batch, treatments=settings.treatments)
    if asked.scope == "cohort":
        events = of_enough_people(events, explanation.person)
    exam = Exam.of(
        answer.function,
        asked.batch,
        explanation,
        skill=answer.skill(),
        fitness=methods.fitness,
        events=events,
        labels=told.labels,
        seed=settings.seed,
    )
    explanation = replace(explanation, reliability=examined(exam, run.progress("tests")))
    sections, left_out = sections_of(told, replace(exam, explanation=explanation), events, run.progress("sections"))
    for name, reason in left_out.items():
        run.say(f"left out: {name}: {reason}")
    files = write_report(
        Report(
            explanation,
            title=f"Attribution: {answer.words}",
            scope=asked.scope,
            output_unit=answer.unit,
            sections=sections,
            alternative=alternative(told, methods.lead),
            events=marks(events, asked.batch),
            withheld=settings.withhold_waveforms,
        ),
        run.folder,
        pictures=settings.pictures,
    )
    return _finish(run, explanation, files, {**methods.left_out, **left_out})


def plan(config: Config) -> dict[str, Any]:
    """Build the target and explain a few windows, to know how long all of them take."""
    told = _told(config)
    own, to_measure = planned_table(told)
    methods = chosen(told, own)
    return {
        "target": told.answer.words,
        "scope": told.asked.scope,
        "windows": len(told.asked),
        "methods": ", ".join(methods.names),
        **({"left out": ", ".join(methods.left_out)} if methods.left_out else {}),
        **to_measure,
        "estimated seconds": round(seconds(told, methods)),
    }


def _told(config: Config) -> Told:
    """The shards with the facts about people that the model reads, the answer, and the windows."""
    settings = config.section("explain", ExplainSettings)
    model = load(settings.checkpoint)
    folder = open_shards(config).with_static(model.config.covariates)
    wanted = Wanted(**settings.model_dump(include=set(Wanted.__dataclass_fields__)))
    answer = answers(model, folder, settings, wanted, pretrained=Path(config.value("checkpoint")))
    return Told(config, settings, folder, model, answer, answer.windows())


def _provenance(told: Told) -> dict[str, str]:
    settings = told.settings
    whom = {"unseen": "people whom the encoder never saw", "all": "all people of the shards"}
    return {
        "checkpoint": model_digest(told.model)[:16],
        "config": told.config.digest("explain")[:16],
        "shards": told.folder.digest[:16],
        "split": whom[settings.people] if settings.scope == "cohort" else "one person, whom training may have seen",
    }


def _counted(windows: int) -> str:
    return "1 window" if windows == 1 else f"{windows} windows"


def _finish(run: Run, explanation: Explanation, files: tuple[Path, Path], left_out: Mapping[str, str]) -> RunRecord:
    reliability = explanation.reliability
    assert reliability is not None
    outputs = {"report": files[0], "json": files[1]}
    beside = {"pdf": run.folder / PDF_NAME, "picture": run.folder / PNG_NAME}
    if run.config.value("explain.pictures"):
        outputs |= beside
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
