"""Named features: what is refused, how numbers are rounded, and that folds keep people apart."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from hdt_fm.explain.distil.named import NamedFeatures, digits_of, people_folds, told
from hdt_fm.explain.distil.teacher import Teacher, chance
from hdt_fm.schema.errors import ExplainError


def test_what_does_not_fit_is_refused(named: NamedFeatures, new_people: Callable[..., NamedFeatures]) -> None:
    with pytest.raises(ExplainError, match=r"do not fit their names[\s\S]*\(420, 4\)[\s\S]*\(420, 3\)"):
        replace(named, values=named.values[:, :3])
    with pytest.raises(ExplainError, match=r"occurs twice[\s\S]*ppg\.hr"):
        replace(named, features=(named.features[0], named.features[0], *named.features[2:]))
    infinite = named.values.copy()
    infinite[3, 2] = np.inf
    with pytest.raises(ExplainError, match=r"infinite[\s\S]*acc\.move"):
        replace(named, values=infinite)
    with pytest.raises(ExplainError, match=r"Too few people[\s\S]*at least 10 people[\s\S]*9 people"):
        new_people(9)
    assert new_people(10).people == 10


def test_sums_over_modalities_are_those_of_their_features(named: NamedFeatures) -> None:
    parts = np.array([[1.0, 2.0, 4.0, 8.0]])
    assert named.modalities == ("ppg", "acc", "temp")
    np.testing.assert_array_equal(named.over_modalities(parts), [[3.0, 4.0, 8.0]])


@pytest.mark.parametrize(
    ("low", "high", "digits"), [(60.0, 110.0, 0), (0.0, 0.5, 2), (0.0, 4.9, 2), (36.0, 36.5, 2), (0.0, 50_000.0, -3)]
)
def test_a_feature_is_told_in_fiftieths_of_its_spread_or_finer(low: float, high: float, digits: int) -> None:
    # Four fifths of the range lie between the quantiles that count.
    values = np.linspace(low - (high - low) / 8, high + (high - low) / 8, 1001)
    assert digits_of(values) == digits
    assert 10.0**-digits <= (high - low) / 50 * 1.0001


def test_numbers_are_told_with_their_unit_and_without_a_sign_before_zero() -> None:
    assert told(92.26, 0, "per minute") == "92 per minute"
    assert told(-0.001, 2) == "0.00"
    assert told(12_345.0, -2, "ms") == "12300 ms"
    assert digits_of(np.full(5, 3.0)) == 0
    assert digits_of(np.full(5, np.nan)) == 0


def test_folds_keep_a_person_together_and_are_even() -> None:
    subject = np.random.default_rng(0).integers(0, 23, 500) * 11
    fold = people_folds(subject, 5, seed=3)
    homes = [set(fold[subject == one]) for one in np.unique(subject)]
    assert all(len(one) == 1 for one in homes)
    assert sorted(sum(home == {k} for home in homes) for k in range(5)) == [4, 4, 5, 5, 5]
    assert not np.array_equal(fold, people_folds(subject, 5, seed=4))
    assert set(people_folds(np.arange(3), 5, seed=0)) == {0, 1, 2}


def test_a_teacher_is_finite_and_its_label_fits() -> None:
    output = np.array([0.0, 1.0, -1.0])
    with pytest.raises(ExplainError, match="output is not finite"):
        Teacher(np.array([0.0, np.nan]), "y", "", "value")
    with pytest.raises(ExplainError, match=r"Labels do not fit[\s\S]*\(3,\)[\s\S]*\(2,\)"):
        Teacher(output, "y", "", "value", label=output[:2])
    with pytest.raises(ExplainError, match="neither 0 nor 1"):
        Teacher(output, "y", "log-odds", "class", label=np.array([0.0, 2.0, np.nan]))
    teacher = Teacher(output, "y", "log-odds", "class", label=np.array([0.0, np.nan, 1.0]))
    assert teacher.decides_at == 0.0
    assert teacher.known.tolist() == [True, False, True]
    assert Teacher(output, "y", "", "value").decides_at is None
    np.testing.assert_allclose(chance(np.array([0.0, np.log(3.0), -1e4])), [0.5, 0.75, 0.0], atol=1e-12)
