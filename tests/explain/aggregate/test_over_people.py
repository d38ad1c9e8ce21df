"""Means over people: the same intervals as the bootstrap of metrics, all entries at once."""

import numpy as np

from hdt_fm.explain.aggregate.over_people import mean_over, of_units, shown
from hdt_fm.metrics.bootstrap import subject_bootstrap


def test_intervals_are_those_of_the_bootstrap_over_people() -> None:
    rng = np.random.default_rng(3)
    subject = np.repeat([11, 5, 8, 2, 40, 7], 4)
    rows = rng.normal(size=(24, 3)) + subject[:, None]
    units, over = of_units(rows, subject)
    found = mean_over(units, draws=300, seed=9)
    assert over == "people"
    for k in range(3):
        want = subject_bootstrap(lambda v: float(np.mean(v)), np.arange(6), units[:, k], draws=300, seed=9)
        np.testing.assert_allclose([found.value[k], found.low[k], found.high[k]], want, atol=1e-12)


def test_each_person_weighs_the_same_and_what_is_not_known_is_left_out() -> None:
    rows = np.array([[1.0, np.nan], [3.0, np.nan], [10.0, np.nan], [20.0, 5.0]])
    units, _ = of_units(rows, np.array([1, 1, 1, 2]))
    np.testing.assert_allclose(units, [[14 / 3, np.nan], [20.0, 5.0]])
    found = mean_over(units, draws=200)
    np.testing.assert_allclose(found.value, [(14 / 3 + 20) / 2, 5.0])
    assert found.count.tolist() == [2, 1]
    assert np.isnan(found.low[1])
    assert found.low[0] == 14 / 3


def test_a_lone_person_is_told_over_windows_and_few_people_are_not_told() -> None:
    units, over = of_units(np.arange(6.0).reshape(3, 2), np.array([4, 4, 4]))
    assert (units.shape, over) == ((3, 2), "windows")
    assert shown(1, "windows")
    assert not shown(0, "windows")
    assert not shown(4, "people")
    assert shown(5, "people")
