"""Measures of cells against the plain formulas, row by row."""

import numpy as np
import pytest

from hdt_fm.audit.fairness.answers import Answers, Asked, as_common_as_taught, check_answers, half_widths
from hdt_fm.audit.fairness.cells import columns_of
from hdt_fm.audit.fairness.gaps import apart, deals_of, holm
from hdt_fm.audit.fairness.measures import measures_of
from hdt_fm.metrics.classification import balanced_accuracy, ece
from hdt_fm.schema.errors import ShapeError

PEOPLE = 13


def asked(kind: str, windows: int = 7, seed: int = 0) -> tuple[Asked, np.ndarray]:
    generator = np.random.default_rng(seed)
    person = np.repeat(np.arange(PEOPLE), windows)
    fold = person % 3
    if kind == "value":
        truth = generator.normal(size=len(person))
        return Asked("rate", truth, person, fold, (), "bpm", np.zeros((len(person), 0))), (
            truth + 0.3 + generator.normal(size=len(person))
        )[:, None]
    truth = (generator.random(len(person)) < 0.3).astype(np.float64)
    chance = np.clip(0.35 * truth + generator.random(len(person)) * 0.65, 0.01, 0.99)
    prior = np.tile([0.7, 0.3], (len(person), 1))
    return Asked("stress", truth, person, fold, ("rest", "stress"), "", prior), np.stack([1 - chance, chance], axis=1)


def cell_value(name: str, given: Asked, scores: np.ndarray, people: list[int]) -> float:
    measure = next(one for one in measures_of(given) if one.name == name)
    counts = np.isin(np.arange(PEOPLE), people).astype(np.float64)[None]
    return float(measure.score(scores).over(counts)[0])


def test_classes_by_hand() -> None:
    given, scores = asked("class")
    some = [0, 1, 4, 6, 7]
    rows = np.isin(given.person, some)
    truth, called = given.truth[rows], scores[rows].argmax(axis=1)
    assert cell_value("balanced_accuracy", given, scores, some) == pytest.approx(balanced_accuracy(called, truth))
    assert cell_value("true_positive_rate", given, scores, some) == pytest.approx(called[truth == 1].mean())
    assert cell_value("false_positive_rate", given, scores, some) == pytest.approx(called[truth == 0].mean())
    chance = as_common_as_taught(scores, given.prior)[rows][:, 1]
    assert cell_value("calibration_error", given, scores, some) == pytest.approx(ece(chance, truth, bins=10))


def test_values_by_hand() -> None:
    given, scores = asked("value")
    some = [2, 3, 5, 8, 11, 12]
    wrong = np.array([(scores[:, 0] - given.truth)[given.person == one] for one in some])
    assert cell_value("mae", given, scores, some) == pytest.approx(np.abs(wrong).mean(axis=1).mean())
    assert cell_value("bias", given, scores, some) == pytest.approx(wrong.mean())
    width = half_widths(given, scores[:, 0] - given.truth)
    inside = np.array([(np.abs(scores[:, 0] - given.truth) <= width)[given.person == one].mean() for one in some])
    assert cell_value("coverage_of_80", given, scores, some) == pytest.approx(inside.mean())


def test_intervals_are_as_wide_as_other_people_need() -> None:
    given, scores = asked("value", windows=200)
    wrong = scores[:, 0] - given.truth
    for fold in range(3):
        own = np.unique(half_widths(given, wrong)[given.fold == fold])
        assert len(own) == 1
        others = np.abs(wrong[given.fold != fold])
        assert (others <= own[0]).mean() == pytest.approx(0.8, abs=0.01)


def test_gap_is_the_largest_less_the_smallest_and_p_counts_deals() -> None:
    given, scores = asked("value")
    (column,) = columns_of([{"site": "abc"[min(one // 4, 2)]} for one in range(PEOPLE)], min_people=4).shown
    deals = deals_of(column, draws=50, permutations=300, seed=0)
    found = apart(measures_of(given)[0], scores, deals, min_people=4)
    each = [cell_value("mae", given, scores, list(np.flatnonzero(column.cell == cell))) for cell in range(3)]
    assert found.drawn[0] == pytest.approx(each)
    assert found.gaps[0] == pytest.approx(max(each) - min(each))
    assert found.p == pytest.approx((1 + (found.dealt >= found.gaps[0] - 1e-12).sum()) / 301)
    # A deal moves people, and leaves cells as large as they were.
    assert (deals.dealt.sum(axis=2) == deals.own.sum(axis=1)).all()
    assert (deals.dealt.sum(axis=1) == 1).all()
    # A draw keeps to the people of its cell.
    assert not (deals.drawn * (deals.own == 0)).any()
    assert (deals.drawn.sum(axis=2) == deals.own.sum(axis=1)).all()


def test_a_rate_of_few_who_have_the_class_is_not_shown() -> None:
    given, scores = asked("class")
    # Of the second cell only two people were ever stressed.
    truth = np.where((given.person >= 8), 0.0, given.truth)
    given = Asked(given.name, truth, given.person, given.fold, given.classes, "", given.prior)
    (column,) = columns_of([{"sex": "F" if one < 7 else "M"} for one in range(PEOPLE)]).shown
    deals = deals_of(column, draws=20, permutations=20, seed=0)
    by_name = {one.name: one for one in measures_of(given)}
    assert apart(by_name["true_positive_rate"], scores, deals, min_people=5) is None
    assert apart(by_name["false_positive_rate"], scores, deals, min_people=5) is not None


def test_holm_by_hand() -> None:
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])


@pytest.mark.parametrize("break_it", ["short", "unknown"])
def test_answers_must_fit(break_it: str) -> None:
    given, scores = asked("value")
    scores = scores[1:] if break_it == "short" else np.where(np.arange(len(scores))[:, None] == 3, np.nan, scores)
    with pytest.raises(ShapeError, match="do not fit the scored windows"):
        check_answers(given, [Answers("made", "ours", "before", scores)])
