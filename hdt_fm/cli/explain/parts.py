"""The further parts of a report: which of them a request can have, and why it has not the others."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hdt_fm.cli.explain.features import named_features
from hdt_fm.cli.explain.happenings import AFTER, BEFORE
from hdt_fm.cli.explain.told import Told
from hdt_fm.cli.held_out import people_of_checkpoint
from hdt_fm.cli.progress import Report
from hdt_fm.data.stream import OrderedBatches
from hdt_fm.explain import modality_section, modality_shapley
from hdt_fm.explain.aggregate import bands, bands_section, events_section
from hdt_fm.explain.aggregate.events import event_aligned
from hdt_fm.explain.causal import section as causal
from hdt_fm.explain.causal.question import question_from
from hdt_fm.explain.causal.study import study
from hdt_fm.explain.cohort import section as cohort
from hdt_fm.explain.cohort.view import cohort_view
from hdt_fm.explain.distil import report as students
from hdt_fm.explain.distil.credit import TeacherShares
from hdt_fm.explain.distil.distilled import distil
from hdt_fm.explain.distil.teacher import Teacher
from hdt_fm.explain.gate import curves
from hdt_fm.explain.gate.events import Events
from hdt_fm.explain.gate.exam import Exam
from hdt_fm.explain.methods import METHODS
from hdt_fm.explain.page.section import Section
from hdt_fm.schema.errors import ConfigError, ExplainError, HdtError

Made = Callable[[Told, Exam, Sequence[Events]], Section]
# Windows that students are taught on: what a small tree can learn from more is little.
MOST_TAUGHT = 2000


class NotApplicableError(Exception):
    """A part that this request cannot have; says why, in one line."""


def sections_of(
    told: Told, exam: Exam, events: Sequence[Events], progress: Report
) -> tuple[list[Section], dict[str, str]]:
    """The parts that the settings name, in the order of the page, and why some are left out."""
    wanted: list[str] = [name for name in PARTS if name in told.settings.sections]
    made: list[Section] = []
    left_out: dict[str, str] = {}
    for number, name in enumerate(wanted):
        progress(number, len(wanted), name)
        try:
            made.append(PARTS[name](told, exam, events))
        except NotApplicableError as reason:
            left_out[name] = str(reason)
        except (ExplainError, ConfigError) as error:
            left_out[name] = _one_line(error)
    progress(len(wanted), len(wanted), "")
    return made, left_out


def _one_line(error: HdtError) -> str:
    return "; ".join(str(error).splitlines()[:2])


def _modalities(told: Told, exam: Exam, events: Sequence[Events]) -> Section:
    answer = told.answer
    found = modality_shapley.modality_shapley(
        answer.function, exam.batch, target=answer.target, target_name=answer.words
    )
    return modality_section.section(found, unit=answer.unit)


def _curves(told: Told, exam: Exam, events: Sequence[Events]) -> Section:
    return curves.section(curves.traced(exam))


def _bands(told: Told, exam: Exam, events: Sequence[Events]) -> Section:
    found = bands.band_credit(
        told.answer.function,
        exam.batch,
        target=told.answer.target,
        target_name=told.answer.words,
        reference=exam.explanation.against,
        steps=told.settings.steps,
    )
    return bands_section.section(found)


def _events(told: Told, exam: Exam, events: Sequence[Events]) -> Section:
    if not events:
        raise NotApplicableError("no beat, breath, meal or dose was found in these windows")
    found = [
        event_aligned(exam.explanation, one, before_s=BEFORE * one.width_s, after_s=AFTER * one.width_s)
        for one in events
    ]
    return events_section.section(found, withhold_waveforms=told.settings.withhold_waveforms)


def _cohort(told: Told, exam: Exam, events: Sequence[Events]) -> Section:
    if told.asked.scope != "cohort":
        raise NotApplicableError("of cohorts alone (explain.scope=cohort)")
    view = cohort_view(
        exam.explanation,
        facts=_facts(told),
        label=told.labels,
        positive_class=told.positive_class,
        seed=told.settings.seed,
    )
    return cohort.section(view, window_s=exam.explanation.window_s)


def _facts(told: Told) -> dict[str, list[str]]:
    """Of each window what is known of its person: sex, age band, device; empty where it is not."""
    people = [told.folder.manifest.subjects[row] for row in told.folder.subject_rows[told.asked.positions]]
    facts = {name: [one.covariates.get(name, "") for one in people] for name in told.settings.subgroups}
    return {name: values for name, values in facts.items() if any(values)}


def _students(told: Told, exam: Exam, events: Sequence[Events]) -> Section:
    if told.answer.label is None:
        raise NotApplicableError("of answers about the windows of the shards alone")
    positions, unseen = _taught_on(told)
    output = _outputs(told, positions)
    label = np.where(unseen, told.folder.labels[told.answer.label][positions], np.nan)
    of_class = told.positive_class is not None
    if of_class:
        label = np.where(np.isfinite(label), (label == told.positive_class).astype(float), np.nan)
    teacher = Teacher(output, told.answer.words, told.answer.unit, "class" if of_class else "value", label=label)
    signals = [name for name in told.model.modalities if name in told.folder.modalities]
    named = named_features(told.folder, positions, modalities=signals)
    shares = _shares(exam, told.asked.positions, positions) if told.asked.scope == "cohort" else None
    return students.section(distil(teacher, named, shares=shares, seed=told.settings.seed))


def _shares(exam: Exam, explained: NDArray[np.int64], positions: NDArray[np.int64]) -> TeacherShares:
    """The leading map's shares, in the rows of the students' windows."""
    values = np.full((len(positions), len(exam.explanation.modalities)), np.nan)
    values[np.searchsorted(positions, explained)] = exam.explanation.shares(exam.lead)
    return TeacherShares(METHODS[exam.lead].title, exam.explanation.modalities, values)


def _taught_on(told: Told) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Windows of everybody, evenly, with those that are explained; which of them the encoder never saw."""
    every = np.arange(told.folder.windows)
    spread = every[np.linspace(0, len(every) - 1, min(MOST_TAUGHT, len(every))).astype(int)]
    positions = np.union1d(spread, told.asked.positions)
    unseen = set(people_of_checkpoint(Path(told.config.value("checkpoint")))["test"])
    rows = [row for row, one in enumerate(told.folder.manifest.subjects) if one.subject in unseen]
    return positions, np.isin(told.folder.subject_rows[positions], rows)


def _outputs(told: Told, positions: NDArray[np.int64]) -> NDArray[np.float64]:
    function, target = told.answer.function, told.answer.target
    with torch.no_grad():
        found = [
            function(batch)[:, target].double() for batch in OrderedBatches(told.folder, positions, batch_size=256)
        ]
    return torch.cat(found).numpy()


def _causal(told: Told, exam: Exam, events: Sequence[Events]) -> Section:
    plan = None if told.settings.what_if is None else _read(Path(told.settings.what_if))
    if told.settings.question is None:
        return causal.section(told.answer.words, plan=plan)
    question = question_from(told.settings.question)
    positions, _ = _taught_on(told)
    named = named_features(told.folder, positions)
    columns = {one.name: named.values[:, k] for k, one in enumerate(named.features)}
    columns |= {name: values[positions] for name, values in told.folder.labels.items()}
    if told.answer.label is not None:
        columns["output"] = _outputs(told, positions)
    found = study(question, columns, told.folder.subject_rows[positions], seed=told.settings.seed)
    return causal.section(told.answer.words, found=found, plan=plan, where="windows of all people of the shards")


def _read(path: Path) -> dict[str, Any]:
    """What `hdt-fm twin what-if` wrote.

    Raises:
        ConfigError: If it is no such file.
    """
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(
            "The record of two plans cannot be read",
            where="explain.what_if",
            expected="what_if.json, as `hdt-fm twin what-if` writes it",
            got=type(error).__name__,
        ) from error


PARTS: Mapping[str, Made] = {
    "modalities": _modalities,
    "bands": _bands,
    "events": _events,
    "curves": _curves,
    "cohort": _cohort,
    "students": _students,
    "causal": _causal,
}
