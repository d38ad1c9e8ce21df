"""The further parts of a report: which of them a request can have, and why it has not the others."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hdt_fm.cli.explain.answer import spread
from hdt_fm.cli.explain.features import named_features
from hdt_fm.cli.explain.happenings import AFTER, BEFORE
from hdt_fm.cli.explain.mapping import one_line, one_map
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
from hdt_fm.explain.cohort.cells import enough
from hdt_fm.explain.cohort.shares import shares_of_people
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
from hdt_fm.explain.page.shares import MINIMUM_CELL
from hdt_fm.explain.targets import routes, routes_section
from hdt_fm.explain.targets.forecast import SeriesTarget
from hdt_fm.schema.errors import ConfigError, ExplainError

Made = Callable[[Told, Exam, Sequence[Events]], Section]
# Windows that students are taught on: what a small tree can learn from more is little.
MOST_TAUGHT = 2000
# People whom the encoder learned from and windows of each, that a cohort's shares are held against.
MOST_TRAINING, MOST_OF_ONE = 20, 3
NOT_KNOWN = "not known"


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
            left_out[name] = one_line(error)
    progress(len(wanted), len(wanted), "")
    return made, left_out


def _modalities(told: Told, exam: Exam, events: Sequence[Events]) -> Section:
    answer = told.answer
    found = modality_shapley.modality_shapley(
        answer.function, exam.batch, target=answer.target, target_name=answer.words
    )
    return modality_section.section(found, unit=answer.unit)


def _routes(told: Told, exam: Exam, events: Sequence[Events]) -> Section:
    answer = told.answer
    if not isinstance(answer.function, SeriesTarget):
        raise NotApplicableError("of forecasts and risks alone")
    found = routes.route_credit(
        answer.function, exam.batch, column=answer.target, target_name=answer.words, reference=exam.against
    )
    return routes_section.section(found, unit=answer.unit)


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
        facts=_facts(told, told.asked.positions),
        label=told.labels,
        positive_class=told.positive_class,
        training=_training(told, exam),
        seed=told.settings.seed,
    )
    return cohort.section(view, window_s=exam.explanation.window_s)


def _training(told: Told, exam: Exam) -> dict[str, NDArray[np.float64]] | None:
    """Mean shares of people whom the encoder learned from, to see drift; None where they are shown themselves."""
    if told.answer.label is None or told.settings.people == "all":
        return None
    taught = set(people_of_checkpoint(Path(told.config.value("checkpoint")))["train"])
    subjects = told.folder.manifest.subjects
    rows = [row for row in np.unique(told.folder.subject_rows).tolist() if subjects[row].subject in taught]
    if len(rows) < MINIMUM_CELL:
        return None
    each = min(MOST_OF_ONE, told.settings.windows)
    chosen = spread(np.array(rows), MOST_TRAINING)
    positions = [spread(np.flatnonzero(told.folder.subject_rows == row), each) for row in chosen]
    return shares_of_people(one_map(told, told.folder.gather(np.concatenate(positions)), exam.lead))


def _facts(told: Told, positions: NDArray[np.int64]) -> dict[str, list[str]]:
    """Of each window what is known of its person: sex, age band, device; empty where it is not."""
    people = [told.folder.manifest.subjects[row] for row in told.folder.subject_rows[positions]]
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
    facts = _facts(told, positions)
    groups = {name: [value or NOT_KNOWN for value in values] for name, values in facts.items()}
    return students.section(distil(teacher, named, shares=shares, groups=groups, seed=told.settings.seed))


def _shares(exam: Exam, explained: NDArray[np.int64], positions: NDArray[np.int64]) -> TeacherShares:
    """The leading map's shares, in the rows of the students' windows; none where a mean would tell of a few people."""
    made = exam.explanation
    values = np.full((len(positions), len(made.modalities)), np.nan)
    held = np.stack([made.present[made.person == who].any(0) for who in np.unique(made.person)])
    if enough(held):
        values[np.searchsorted(positions, explained)] = made.shares(exam.lead)
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
    "routes": _routes,
    "bands": _bands,
    "events": _events,
    "curves": _curves,
    "cohort": _cohort,
    "students": _students,
    "causal": _causal,
}
