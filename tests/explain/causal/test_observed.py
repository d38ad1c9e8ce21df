"""Columns become rows without gaps."""

from dataclasses import replace

import numpy as np
import pytest

from hdt_fm.explain.causal.observed import control_rows, observed, previous
from hdt_fm.explain.causal.question import Question
from hdt_fm.schema.errors import ExplainError, ShapeError, UnknownNameError

PERSON = np.array([7, 3, 7, 3, 7, 3, 9, 9])
COLUMNS = {
    "activity": np.array([0, 1, 1, 0, np.nan, 1, 1, 1.0]),
    "heart_rate": np.arange(8.0),
    "hour": np.array([0, 1, 2, 3, 4, np.nan, 6, 7.0]),
    "posture": np.ones(8),
}


def test_the_value_before_is_the_persons_own() -> None:
    np.testing.assert_array_equal(previous(COLUMNS["heart_rate"], PERSON), [np.nan, np.nan, 0, 1, 2, 3, np.nan, 6])


def test_rows_with_gaps_and_people_of_one_treatment_are_left_out(question: Question) -> None:
    made = observed(question, COLUMNS, PERSON)
    np.testing.assert_array_equal(made.outcome, [0, 1, 2, 3])
    np.testing.assert_array_equal(made.person, [1, 0, 1, 0])
    assert (made.people, made.left_out, made.people_left_out) == (2, 2, 1)
    compared = observed(replace(question, within_people=False), COLUMNS, PERSON)
    assert (compared.people, compared.people_left_out, len(compared.person)) == (3, 0, 6)


def test_above_ones_own_median(question: Question) -> None:
    columns = {**COLUMNS, "activity": np.array([1, 10, 2, 20, 3, 30, 5, 5.0])}
    made = observed(replace(question, form="above_own_median", adjusted=()), columns, PERSON)
    np.testing.assert_array_equal(made.treatment, [0, 0, 0, 0, 1, 1])  # who never moves has nothing above


def test_the_outcome_before_comes_with_what_was_then(question: Question) -> None:
    columns = {**COLUMNS, "activity": np.array([0, 1, 1, 0, 0, 1, 1, 0.0]), "hour": np.arange(8.0)}
    made = control_rows(replace(question, within_people=False), columns, PERSON)
    assert made is not None
    assert made.names == ("hour", "posture", "activity, before", "hour, before", "posture, before")
    np.testing.assert_array_equal(made.outcome, [0, 1, 2, 3, 6])
    np.testing.assert_array_equal(made.covariates[:, 2], [0, 1, 1, 0, 1])
    assert control_rows(replace(question, negative_control=None), columns, PERSON) is None
    named = control_rows(
        replace(question, negative_control="shoe", within_people=False), columns | {"shoe": PERSON}, PERSON
    )
    assert named is not None
    np.testing.assert_array_equal(named.outcome, PERSON)


def test_what_does_not_fit_is_refused(question: Question) -> None:
    with pytest.raises(UnknownNameError, match="column 'hour'"):
        observed(question, {name: one for name, one in COLUMNS.items() if name != "hour"}, PERSON)
    with pytest.raises(ShapeError, match="Column hour does not fit"):
        observed(question, {**COLUMNS, "hour": np.ones(3)}, PERSON)
    with pytest.raises(ExplainError, match="other values than 0 and 1"):
        observed(question, {**COLUMNS, "activity": np.arange(8.0)}, PERSON)
    with pytest.raises(ExplainError, match="No row has all"):
        observed(question, {**COLUMNS, "hour": np.full(8, np.nan)}, PERSON)
