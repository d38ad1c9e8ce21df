"""Refuters: what passes when all is well, and that each fails where it should."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from hdt_fm.explain.causal import refute as refuters
from hdt_fm.explain.causal.design import design_of
from hdt_fm.explain.causal.effect import estimate
from hdt_fm.explain.causal.observed import control_rows, observed
from hdt_fm.explain.causal.question import Question
from hdt_fm.explain.causal.refute import refute, scale_of, shuffled
from hdt_fm.schema.what_if import Refuter

NewTable = Callable[..., tuple[dict[str, np.ndarray], np.ndarray]]
NAMES = ["placebo treatment", "random common cause", "subset of people", "negative control"]


@pytest.fixture(autouse=True)
def _few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PLACEBOS", "CAUSES", "SUBSETS"):
        monkeypatch.setattr(refuters, name, 5)


def tried(question: Question, table: tuple[dict[str, np.ndarray], np.ndarray], seed: int = 0) -> dict[str, Refuter]:
    some = observed(question, *table)
    design = design_of(some, within=question.within_people, seed=0)
    control = control_rows(question, *table)
    made: Sequence[Refuter] = refute(some, design, estimate(design), control=control, seed=seed)
    assert [one.name for one in made] == NAMES
    return {one.name: one for one in made}


def test_all_pass_where_all_is_measured(question: Question, new_table: NewTable) -> None:
    made = tried(question, new_table(0))
    assert {one.passed for one in made.values()} == {True}
    assert abs(made["placebo treatment"].found) < 0.1
    assert made["random common cause"].expected == made["subset of people"].expected != 0


def test_the_same_seed_gives_the_same_draws(question: Question, new_table: NewTable) -> None:
    table = new_table(1)
    assert tried(question, table) == tried(question, table)
    assert tried(question, table)["subset of people"] != tried(question, table, seed=1)["subset of people"]


def test_placebo_keeps_each_persons_own_share(question: Question, new_table: NewTable) -> None:
    some = observed(question, *new_table(0))
    design = design_of(some, within=True, seed=0)
    dealt = shuffled(design, np.random.default_rng(0))
    for who in range(design.people):
        mine = design.person == who
        assert sorted(dealt.treatment[mine]) == sorted(design.treatment[mine])
    assert (dealt.treatment != design.treatment).mean() > 0.3


def test_placebo_fails_where_people_differ_and_are_compared(question: Question, new_table: NewTable) -> None:
    asked = replace(question, within_people=False)
    assert tried(asked, new_table(2, by_person=1.5))["placebo treatment"].passed is False


def test_the_control_fails_where_something_unseen_lasts(question: Question, new_table: NewTable) -> None:
    """A state of a few rows that moves both."""
    columns, person = new_table(3)
    generator = np.random.default_rng(3)
    order = np.argsort(person, kind="stable")
    state = np.empty(len(person))
    state[order] = np.repeat(generator.normal(size=len(person) // 4), 4)
    columns["activity"] = (state + 0.8 * columns["hour"] + generator.logistic(size=len(person)) > 0).astype(float)
    columns["heart_rate"] = columns["hour"] + 2 * state + generator.normal(size=len(person))
    made = tried(question, (columns, person))
    assert made["negative control"].passed is False
    assert made["negative control"].found > 0.1
    assert made["placebo treatment"].passed is True


def test_a_column_as_control(question: Question, new_table: NewTable) -> None:
    columns, person = new_table(4)
    asked = replace(question, negative_control="shoe")
    generator = np.random.default_rng(0)
    fine = generator.normal(size=len(person))
    assert tried(asked, ({**columns, "shoe": fine}, person))["negative control"].passed is True
    moved = fine + columns["activity"]
    assert tried(asked, ({**columns, "shoe": moved}, person))["negative control"].passed is False
    assert tried(replace(question, negative_control=None), (columns, person))["negative control"].passed is None


def test_an_effect_that_hangs_on_who_is_there_is_found(question: Question, new_table: NewTable) -> None:
    """The interval is made too narrow on purpose; leaving people out then moves the effect out of it."""
    some = observed(question, *new_table(5, people=14))
    design = design_of(some, within=True, seed=0)
    found = estimate(design)
    narrow = refute(some, design, replace(found, error=found.error / 30), seed=0)
    assert [one.name for one in narrow if one.passed is False] == ["subset of people"]


def test_too_few_rows_cannot_say(question: Question, new_table: NewTable) -> None:
    made = tried(question, new_table(0, people=12, rows=4))
    for one in made.values():
        off = abs(one.found - one.expected) > one.allowed
        assert one.passed is (False if off else True if one.allowed <= refuters.SAYS_NOTHING else None)
    assert sum(one.passed is None for one in made.values()) >= 2
    assert np.isnan(made["negative control"].found)  # too few people have whole rows of the window before


def test_numbers_are_in_spreads_of_the_outcome(question: Question, new_table: NewTable) -> None:
    columns, person = new_table(6)
    one = tried(question, (columns, person))
    other = tried(question, ({**columns, "heart_rate": 10 * columns["heart_rate"] + 60}, person))
    for name in NAMES:
        assert other[name].found == pytest.approx(one[name].found)
    some = observed(question, columns, person)
    design = design_of(some, within=True, seed=0)
    assert one["subset of people"].expected == pytest.approx(estimate(design).value / design.outcome_sd)
    assert scale_of(design) == 1 / design.outcome_sd
