"""Means and gaps over people against closed forms, scipy and planted differences."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import permutation_test

from hdt_fm.explain.cohort.cells import Fact, Group
from hdt_fm.explain.cohort.shares import Gap, drift_from, gap, gaps_of, holm, joined, means, shares_of_people
from hdt_fm.explain.explanation import Explanation


def test_shares_of_people_are_those_that_were_planted(new_cohort: Callable[..., Explanation]) -> None:
    planted = np.array([[0.2, 0.5, 0.3], [0.6, 0.4, 0.0], [0.1, 0.0, 0.9]])
    found = shares_of_people(new_cohort(planted))
    np.testing.assert_allclose(found["ppg"], planted[:, 0], rtol=1e-5)
    np.testing.assert_allclose(found["acc"], [0.5, 0.4, np.nan], rtol=1e-5)
    np.testing.assert_allclose(found["eda"], [0.3, np.nan, 0.9], rtol=1e-5)
    np.testing.assert_allclose(joined(found, ["acc", "eda"]), [0.8, 0.4, 0.9], rtol=1e-5)
    told = means(np.column_stack(list(found.values())), list(found), draws=100, seed=0)
    assert [one.people for one in told] == [3, 2, 2]
    assert told[1].mean == pytest.approx(0.45)


def test_a_gaps_p_is_that_of_the_permutation_test() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.normal(-0.6, 1.0, 7), rng.normal(size=9)
    found = gap(one, other, "sex", "f", "ppg", draws=500, shuffles=20_000, seed=1)
    want = permutation_test((one, other), lambda a, b: a.mean() - b.mean(), n_resamples=20_000, rng=2)
    assert found.value == pytest.approx(want.statistic)
    assert 0.1 < want.pvalue < 0.9
    assert found.p == pytest.approx(want.pvalue, abs=0.02)
    assert found.low < found.value < found.high


def test_holm_by_hand() -> None:
    ps = [0.01, 0.04, 0.03, 0.005]
    gaps = [Gap("a", "b", "c", 0.0, 0.0, 0.0, p, 5, 5) for p in ps]
    assert [one.p_holm for one in holm(gaps)] == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == ()


def facts_of(size: int, people: int) -> list[Fact]:
    first = np.arange(people) < size
    return [Fact("device", (Group("a", first), Group("b", ~first)))]


def test_a_planted_gap_is_found_and_its_absence_is_not() -> None:
    rng = np.random.default_rng(3)
    units = rng.dirichlet([6, 3, 1], 40)
    units[:15] = rng.dirichlet([3, 6, 1], 15)
    found = gaps_of(facts_of(15, 40), units, ["ppg", "acc", "eda"], draws=300, shuffles=1999, seed=0)
    assert [one.column for one in found] == ["ppg", "acc", "eda"]  # one gap a signal: the other group is its mirror
    assert found[0].value == pytest.approx(units[:15, 0].mean() - units[15:, 0].mean())
    assert found[0].high < 0 < found[1].low
    assert max(found[0].p_holm, found[1].p_holm) < 0.01
    assert found[2].p > 0.05
    assert all(one.p_holm >= one.p for one in found)


def test_three_groups_are_each_set_against_the_others() -> None:
    band = np.repeat([0, 1, 2], 6)
    fact = Fact("age", tuple(Group(str(k), band == k) for k in range(3)))
    units = np.array([0.1, 0.2, 0.6])[band][:, None] + np.linspace(0, 0.01, 18)[:, None]
    found = gaps_of([fact], units, ["ppg"], draws=100, shuffles=499, seed=0)
    assert [one.which for one in found] == ["0", "1", "2"]
    assert found[2].value == pytest.approx(units[band == 2].mean() - units[band != 2].mean())
    assert found[2].people, found[2].others == (6, 12)


def test_the_level_of_gaps_holds() -> None:
    rng = np.random.default_rng(5)
    hits = [
        min(
            one.p_holm
            for one in gaps_of(
                facts_of(8, 20), rng.dirichlet([4, 3, 2], 20), ["a", "b", "c"], draws=20, shuffles=199, seed=k
            )
        )
        < 0.05
        for k in range(100)
    ]
    assert np.mean(hits) < 0.12


def test_drift_is_told_only_of_what_enough_of_both_hold() -> None:
    rng = np.random.default_rng(1)
    units = rng.dirichlet([6, 3], 20)
    training = {"ppg": rng.beta(3, 6, 30), "acc": np.where(np.arange(30) < 3, 0.4, np.nan)}
    found = drift_from(training, units, {"PPG": ["ppg"], "Acceleration": ["acc"]}, draws=200, shuffles=999, seed=0)
    assert [one.column for one in found] == ["PPG"]
    assert found[0].value == pytest.approx(units[:, 0].mean() - training["ppg"].mean())
    assert found[0].low > 0.1
    assert (found[0].people, found[0].others) == (20, 30)
