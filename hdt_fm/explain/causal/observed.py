"""The rows that a causal question is asked of: columns by name become treatment, outcome and what is held fixed."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import ArrayLike

from hdt_fm.explain.causal.question import PREVIOUS_OUTCOME, Question
from hdt_fm.schema.errors import ExplainError, ShapeError, unknown_name


@dataclass(frozen=True, kw_only=True)
class Observed:
    """Rows without gaps.

    Attributes:
        person: 0 and up, without holes.
        treatment: 0 or 1 where binary.
        names: Of the covariates.
        left_out: Rows that lacked a value.
        people_left_out: Who has no row left, or within people never had both treatments.
    """

    person: Int[np.ndarray, " row"]
    treatment: Float[np.ndarray, " row"]
    outcome: Float[np.ndarray, " row"]
    covariates: Float[np.ndarray, "row covariate"]
    names: tuple[str, ...]
    binary: bool
    left_out: int = 0
    people_left_out: int = 0

    @property
    def people(self) -> int:
        return int(self.person.max(initial=-1)) + 1


def observed(question: Question, columns: Mapping[str, ArrayLike], person: ArrayLike) -> Observed:
    """Rows of a question.

    Args:
        columns: Each (row,); rows of a person stand in order of time.
        person: (row,) who, as any integers.

    Raises:
        UnknownNameError: If a column is not there.
        ShapeError: If lengths differ.
        ExplainError: If a binary treatment has other values than 0 and 1, or no row is whole.
    """
    found = {name: _column(columns, name, len(np.asarray(person))) for name in _needed(question)}
    treatment = _treatment(question, found[question.treatment], np.asarray(person))
    held = np.stack([found[name] for name in question.adjusted], axis=1) if question.adjusted else None
    return _whole(question, np.asarray(person), treatment, found[question.outcome], held, question.adjusted)


def control_rows(question: Question, columns: Mapping[str, ArrayLike], person: ArrayLike) -> Observed | None:
    """The same with the negative control for an outcome; None where the question has none.

    The outcome before is that of the row before, of the same person. A treatment that lasts goes with the outcome
    before because it was there already: so the treatment before and all that was held fixed then are held fixed too.
    """
    if question.negative_control is None:
        return None
    who = np.asarray(person)
    needed = _needed(question)
    if question.negative_control != PREVIOUS_OUTCOME:
        needed = (*needed, question.negative_control)
    found = {name: _column(columns, name, len(who)) for name in needed}
    treatment = _treatment(question, found[question.treatment], who)
    held = [found[name] for name in question.adjusted]
    names = list(question.adjusted)
    if question.negative_control == PREVIOUS_OUTCOME:
        outcome = previous(found[question.outcome], who)
        names += [f"{name}, before" for name in (question.treatment, *question.adjusted)]
        held += [previous(one, who) for one in (treatment, *held)]
    else:
        outcome = found[question.negative_control]
    return _whole(question, who, treatment, outcome, np.stack(held, axis=1) if held else None, tuple(names))


def previous(values: Float[np.ndarray, " row"], person: Int[np.ndarray, " row"]) -> Float[np.ndarray, " row"]:
    """Of each row the value of the person's row before; NaN at the first."""
    order = np.argsort(person, kind="stable")
    before = np.full(len(values), np.nan)
    follows = np.flatnonzero(np.diff(person[order]) == 0)
    before[order[follows + 1]] = values[order[follows]]
    return before


def mean_by_person(
    values: Float[np.ndarray, " row"], person: Int[np.ndarray, " row"], people: int
) -> Float[np.ndarray, " person"]:
    """Every person has a row."""
    return np.bincount(person, values, people) / np.bincount(person, minlength=people)


def kept_people(some: Observed, keep: Bool[np.ndarray, " person"]) -> Observed:
    """Rows of some people, who are counted anew."""
    rows = keep[some.person]
    return replace(
        some,
        person=(np.cumsum(keep) - 1)[some.person[rows]],
        treatment=some.treatment[rows],
        outcome=some.outcome[rows],
        covariates=some.covariates[rows],
    )


def _needed(question: Question) -> tuple[str, ...]:
    return question.treatment, question.outcome, *question.adjusted


def _column(columns: Mapping[str, ArrayLike], name: str, rows: int) -> np.ndarray:
    if name not in columns:
        raise unknown_name("column", name, columns, where="causal")
    values = np.asarray(columns[name], dtype=np.float64)
    if values.shape != (rows,):
        raise ShapeError(
            f"Column {name} does not fit the rows", expected=f"shape ({rows},)", got=str(values.shape), where="causal"
        )
    return values


def _treatment(question: Question, values: np.ndarray, person: np.ndarray) -> np.ndarray:
    known = np.isfinite(values)
    if question.form == "above_own_median":
        above = np.full(len(values), np.nan)
        for who in np.unique(person[known]):
            mine = known & (person == who)
            above[mine] = values[mine] > np.median(values[mine])
        return above
    if question.form == "binary" and not np.isin(values[known], (0, 1)).all():
        raise ExplainError(
            "A binary treatment has other values than 0 and 1",
            where=f"column {question.treatment}",
            expected="0 where it was not given, 1 where it was, NaN where unknown",
            fix="form: above_own_median or continuous, or make the column 0 and 1",
        )
    return values


def _whole(
    question: Question,
    person: np.ndarray,
    treatment: np.ndarray,
    outcome: np.ndarray,
    held: np.ndarray | None,
    names: tuple[str, ...],
) -> Observed:
    covariates = np.empty((len(person), 0)) if held is None else held
    rows = np.isfinite(treatment) & np.isfinite(outcome) & np.isfinite(covariates).all(axis=1)
    if not rows.any():
        raise ExplainError(
            "No row has all that the causal question needs",
            where="causal",
            expected=f"rows with {', '.join(dict.fromkeys((question.treatment, question.outcome, *names)))}",
        )
    everybody = len(np.unique(person))
    _, codes = np.unique(person[rows], return_inverse=True)
    some = Observed(
        person=codes,
        treatment=treatment[rows],
        outcome=outcome[rows],
        covariates=covariates[rows],
        names=names,
        binary=question.binary,
        left_out=int((~rows).sum()),
    )
    if question.within_people:
        own = mean_by_person(some.treatment, some.person, some.people)
        varies = mean_by_person(np.abs(some.treatment - own[some.person]), some.person, some.people) > 0
        some = kept_people(some, varies)
    return replace(some, people_left_out=everybody - some.people)
