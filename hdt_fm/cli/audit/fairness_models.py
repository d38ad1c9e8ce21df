"""The models that a fairness audit compares, made from the encoders of folds; and who the scored people are."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from hdt_fm.audit.fairness.answers import Answers, Asked, When
from hdt_fm.audit.fairness.cells import Columns, columns_of
from hdt_fm.audit.fairness.remedies import (
    NAMES,
    Remedy,
    class_loss,
    group_dro,
    squared_loss,
    weighing_alike,
)
from hdt_fm.cli.audit.fairness_tuning import Moving, Weighing, tuned_scores
from hdt_fm.cli.progress import Report
from hdt_fm.cli.settings import AuditSettings
from hdt_fm.evaluation.baselines import HAND, RANDOM_ENCODER
from hdt_fm.evaluation.contenders import Role
from hdt_fm.evaluation.contest import OURS, Contest
from hdt_fm.evaluation.probes import Fit, best_strength, constant, logistic, most_common, out_of_fold, ridge
from hdt_fm.schema.embedding import EmbeddingTable

PROBE = "linear probe"
BEFORE, AFTER = f"frozen {OURS} + {PROBE}", f"fine-tuned {OURS}"
COMMONEST, MEAN = "commonest class", "training mean"
# A fact that is made here: which modalities a person wore.
WORN = "modalities"


def facts_of(table: EmbeddingTable, covariates: Sequence[Mapping[str, str]], without: str) -> dict[int, dict[str, str]]:
    """Group of people -> what is known of it; and what it did not wear for half of its windows, where people differ.

    Args:
        covariates: One mapping a subject, in the order of `table.subjects`.
        without: A column that is no fact about people.
    """
    found: dict[int, dict[str, str]] = {}
    worn: dict[int, str] = {}
    for group in np.unique(table.group):
        rows = table.group == group
        found[int(group)] = {
            name: value
            for subject in np.unique(table.subject[rows])
            for name, value in covariates[int(subject)].items()
            if name != without
        }
        lacks = [
            name for name, share in zip(table.modalities, table.present[rows].mean(axis=0), strict=True) if share < 0.5
        ]
        worn[int(group)] = f"without {', '.join(lacks)}" if lacks else "all"
    if len(set(worn.values())) > 1:
        for group, value in worn.items():
            found[group][WORN] = value
    return found


def asked_of(contest: Contest) -> Asked:
    """The scored windows of a contest."""
    rows, target, table = contest.scored, contest.target, contest.table
    _, person = np.unique(table.group[rows], return_inverse=True)
    fold = np.full(len(table), -1)
    prior = np.zeros((len(table), len(target.classes)))
    for number, one in enumerate(contest.folds):
        fold[one.test] = number
        if contest.is_class:
            held = np.bincount(target.values[contest.training(one)].astype(np.int64), minlength=contest.outputs)
            prior[one.test] = held / held.sum()
    return Asked(
        name=target.name,
        truth=target.values[rows],
        person=person.astype(np.int64),
        fold=fold[rows],
        classes=target.classes,
        unit=target.unit,
        prior=prior[rows],
    )


def columns_in(contest: Contest, facts: Mapping[int, dict[str, str]], settings: AuditSettings) -> Columns:
    """Cells of the scored people."""
    people = [facts[int(group)] for group in np.unique(contest.table.group[contest.scored])]
    return columns_of(people, by=settings.by, min_people=settings.min_people)


def answers_of(
    contest: Contest,
    columns: Columns,
    facts: Mapping[int, dict[str, str]],
    settings: AuditSettings,
    moving: Moving | None,
    progress: Report,
) -> list[Answers]:
    """Floors, then the frozen encoder's probe and the fine-tuned encoder, each with its remedies behind it.

    Args:
        moving: How encoders are fine-tuned; None leaves that out.
    """
    features = {one.name: [some.values for some in one.features] for one in contest.makers}
    found: list[Answers] = []

    def answer(model: str, role: Role, when: When, scores: NDArray[np.float64], **more: str) -> None:
        found.append(Answers(model, role, when, scores[contest.scored], **more))

    def probed(fit: Fit, maker: str) -> NDArray[np.float64]:
        one = contest.target.values, contest.table.group, contest.folds
        return out_of_fold(fit, features[maker], *one, outputs=contest.outputs)

    plain = most_common(contest.outputs) if contest.is_class else constant(np.mean)
    answer(COMMONEST if contest.is_class else MEAN, "baseline", "floor", probed(plain, HAND))
    for maker in (HAND, RANDOM_ENCODER):
        answer(f"{maker} + {PROBE}", "baseline", "floor", probed(contest.base(), maker))
    answer(BEFORE, "ours", "before", probed(contest.base(), OURS))
    weighings = _weighings(contest, columns, facts, settings.remedies)
    for column, one in weighings:
        name = f"{BEFORE}, {NAMES[one.remedy]} by {column}"
        more = {"column": column, "remedy": one.remedy}
        answer(name, "ours", "before", probed(_remedied(contest, one), OURS), against=BEFORE, **more)
    if moving is not None:
        answer(AFTER, "ours", "after", tuned_scores(contest, moving, progress), against=BEFORE)
        for column, one in weighings:
            name = f"{AFTER}, {NAMES[one.remedy]} by {column}"
            more = {"column": column, "remedy": one.remedy}
            answer(name, "ours", "after", tuned_scores(contest, moving, progress, one), against=AFTER, **more)
    return found


def _weighings(
    contest: Contest, columns: Columns, facts: Mapping[int, dict[str, str]], remedies: Sequence[Remedy]
) -> list[tuple[str, Weighing]]:
    """Each remedy by each column. People who are not scored are in the cell of those who share their facts."""
    scored = np.unique(contest.table.group[contest.scored])
    found = []
    for column in columns.shown:
        parts = column.name.split("+")

        def value(group: int, parts: Sequence[str] = parts) -> tuple[str | None, ...]:
            return tuple(facts[group].get(part) for part in parts)

        cell_of = {value(int(group)): int(cell) for group, cell in zip(scored, column.cell, strict=True)}
        cells = {group: cell_of.get(value(group), -1) for group in facts}
        found += [(column.name, Weighing(remedy, cells, len(column.cells))) for remedy in remedies]
    return found


def _remedied(contest: Contest, weighing: Weighing) -> Fit:
    """The linear probe under a remedy; how strongly it is held down is found as for the plain one."""

    def settle(x: np.ndarray, y: np.ndarray, group: np.ndarray) -> Fit:
        if not contest.is_class:
            return ridge(seed=contest.seed)
        strength = best_strength(x, y, group, contest.outputs, contest.seed)
        return logistic(contest.outputs, seed=contest.seed, strength=strength)

    if weighing.remedy == "group_dro":
        loss = class_loss(contest.outputs) if contest.is_class else squared_loss
        return group_dro(settle, weighing.cells, weighing.count, loss=loss)
    return lambda x, y, group: weighing_alike(settle(x, y, group), weighing.cells, weighing.count)(x, y, group)
