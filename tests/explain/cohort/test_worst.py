"""Worst cases: chosen by the number that is told, of enough people, and beside the others."""

from collections.abc import Callable

import numpy as np
import pytest

from hdt_fm.explain.cohort.worst import Worst, agreement_by_window, error_by_window, worst
from hdt_fm.explain.explanation import Explanation
from hdt_fm.explain.gate.agreement import segment_sizes
from hdt_fm.explain.gate.judge import mean_rank

PERSON = np.repeat(np.arange(10), 10)


def told(badness: np.ndarray, shares: np.ndarray | None = None, person: np.ndarray = PERSON) -> Worst | None:
    shares = np.full((100, 2), 0.5) if shares is None else shares
    return worst("output misses its label", badness, badness, shares, 2 * badness, person)


def test_the_worst_tenth_by_hand() -> None:
    badness = np.arange(100.0) % 10 * 10 + np.arange(100) // 10  # each person has one window of each ten
    found = told(badness)
    assert (found.windows, found.people, found.other_windows, found.other_people) == (10, 10, 90, 10)
    assert found.score == pytest.approx(np.arange(90, 100).mean())
    assert found.other_score == pytest.approx(np.arange(90).mean())
    assert found.output == pytest.approx(2 * found.score)
    np.testing.assert_allclose(found.shares, 0.5)


def test_more_windows_are_taken_until_enough_people_are_among_them() -> None:
    found = told(100.0 - np.arange(100))  # all of the worst tenth are one person's
    assert (found.windows, found.people) == (41, 5)
    assert (found.other_windows, found.other_people) == (59, 6)
    means = [np.mean(100.0 - np.arange(10 * k, 10 * k + 10)) for k in range(4)]
    assert found.score == pytest.approx(np.mean([*means, 60.0]))  # each person once


def test_nothing_is_told_where_one_side_would_be_a_few_people() -> None:
    assert told(100.0 - np.arange(100), person=np.arange(100) % 5) is not None
    assert told(100.0 - np.arange(100), person=np.repeat(np.arange(5), 20)) is None  # one would be left
    shares = np.full((100, 2), 0.5)
    shares[30:, 1] = np.nan  # the second signal is held by three people
    assert told(np.random.default_rng(0).random(100), shares) is None
    assert told(np.full(100, np.nan)) is None


def test_agreement_by_window_is_that_of_the_gate(new_cohort: Callable[..., Explanation]) -> None:
    made = new_cohort(np.array([[0.5, 0.3, 0.2], [0.7, 0.3, 0.0]]), windows=4)
    found = agreement_by_window(made)
    sizes = [segment_sizes(made, one.method) for one in made.maps]
    for row in range(len(made)):
        assert found[row] == pytest.approx(mean_rank(sizes[0][row : row + 1], sizes[1][row : row + 1]))
    assert np.isnan(agreement_by_window(made, methods=("occlusion",))).all()


def test_errors_by_hand() -> None:
    output, label = np.array([2.0, -1.0, 0.5]), np.array([1.0, 0.0, np.nan])
    np.testing.assert_allclose(error_by_window(output, label, positive_class=None), [1.0, 1.0, np.nan])
    want = [-np.log(1 / (1 + np.exp(-2.0))), -np.log(1 - 1 / (1 + np.exp(1.0))), np.nan]
    np.testing.assert_allclose(error_by_window(output, label, positive_class=1), want)
