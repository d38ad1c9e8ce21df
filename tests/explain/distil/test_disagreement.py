"""Disagreement, shares of credit, and parts of the people: hand numbers and small cells."""

import numpy as np
import pytest

from hdt_fm.explain.distil.bands import bands
from hdt_fm.explain.distil.credit import TeacherShares, credit_of, shares
from hdt_fm.explain.distil.disagreement import disagreement
from hdt_fm.explain.distil.named import NamedFeatures
from hdt_fm.explain.distil.students import LINEAR
from hdt_fm.explain.distil.teacher import Teacher
from hdt_fm.explain.distil.terms import fit_terms
from hdt_fm.schema.errors import ExplainError


def test_where_the_student_errs_is_told_by_conditions(named: NamedFeatures) -> None:
    wrong = (named.values[:, 0] > 90) & (named.values[:, 2] > 0.2)
    output = np.random.default_rng(0).standard_normal(len(named))
    teacher = Teacher(output, "y", "points", "value", label=output)
    found = disagreement(teacher, LINEAR, output + 2.0 * wrong, named, draws=100)
    worst = found.regions[0]
    assert worst.conditions[0].startswith(("PPG: heart rate above ", "Acceleration: movement above 0."))
    assert {one.split(" above")[0] for one in worst.conditions} == {"PPG: heart rate", "Acceleration: movement"}
    assert worst.gap.value > 1.5
    assert worst.bias == pytest.approx(worst.gap.value)
    assert worst.errors == (0.0, pytest.approx(worst.gap.value))
    assert found.gap.value == pytest.approx(2 * wrong.mean())
    assert found.foretold.low > 0.5
    assert sum(one.windows for one in found.regions) == len(named)
    assert min(one.people for one in found.regions) >= 5
    assert [one.gap.value for one in found.regions] == sorted((one.gap.value for one in found.regions), reverse=True)


def test_differences_without_a_pattern_have_no_conditions(named: NamedFeatures) -> None:
    draws = np.random.default_rng(3)
    output = draws.standard_normal(len(named))
    found = disagreement(
        Teacher(output, "y", "", "value"), LINEAR, output + draws.standard_normal(len(named)), named, draws=50
    )
    assert [one.conditions for one in found.regions] == [()]
    assert found.regions[0].errors is None
    assert not found.foretold.low > 0


def test_shares_of_a_student_are_those_of_what_its_modalities_add(named: NamedFeatures) -> None:
    x = (named.values - named.values.mean(0)) / named.values.std(0)
    student = fit_terms(named.values, 3 * x[:, 0] + x[:, 2], named.subject, shape="line")
    expected = np.abs(np.stack([3 * x[:, 0], x[:, 2], 0 * x[:, 0]], axis=1))
    expected /= expected.sum(1, keepdims=True)
    np.testing.assert_allclose(shares(student, named), expected, atol=0.05)


def test_overlap_with_the_teachers_shares_by_hand(named: NamedFeatures) -> None:
    student = fit_terms(named.values, named.values[:, 0].copy(), named.subject, shape="line")
    told = np.full((len(named), 2), np.nan)
    explained = np.flatnonzero(np.arange(len(named)) % 3 == 0)
    told[explained] = [0.3, 0.7]
    found = credit_of({LINEAR: student}, named, TeacherShares("maps", ("ppg", "ecg"), told), draws=50)
    assert found.modalities == ("ppg", "acc", "temp", "ecg")
    assert found.students[LINEAR]["ppg"].value == pytest.approx(1.0)
    assert [round(one.value, 9) for one in found.teacher.values()] == [0.3, 0.0, 0.0, 0.7]
    assert found.overlap[LINEAR].value == pytest.approx(0.3)
    same = credit_of({LINEAR: student}, named, TeacherShares("maps", ("ppg",), np.ones((len(named), 1))), draws=50)
    assert same.overlap[LINEAR].value == pytest.approx(1.0)
    assert credit_of({LINEAR: student}, named, draws=50).overlap == {}


def test_maps_of_four_people_are_not_shown_and_strange_ones_refused(named: NamedFeatures) -> None:
    student = fit_terms(named.values, named.values[:, 0].copy(), named.subject, shape="line")
    told = np.full((len(named), 1), np.nan)
    told[np.isin(named.subject, np.unique(named.subject)[:4])] = 1.0
    found = credit_of({LINEAR: student}, named, TeacherShares("maps", ("ppg",), told), draws=50)
    assert (found.teacher, found.overlap) == ({}, {})
    with pytest.raises(ExplainError, match=r"Shares do not fit[\s\S]*\(420, 1\)[\s\S]*\(3, 1\)"):
        credit_of({LINEAR: student}, named, TeacherShares("maps", ("ppg",), told[:3]))


def test_parts_of_the_people_and_those_too_small_to_show() -> None:
    subject = np.repeat(np.arange(20), 10)
    teacher = Teacher(np.zeros(200), "y", "", "value")
    said = np.where(subject < 8, 1.0, -2.0)
    sex = ["F" if one < 8 else "M" for one in subject]
    found = bands(teacher, said, subject, {"sex": sex}, draws=50)
    assert [(one.level, one.people, one.gap.value, one.bias.value) for one in found] == [
        ("F", 8, 1.0, 1.0),
        ("M", 12, 2.0, -2.0),
    ]
    # Three and two people together are five.
    ages = np.select([subject < 3, subject < 5, subject < 12], ["20", "30", "40"], "50").tolist()
    assert [(one.level, one.people) for one in bands(teacher, said, subject, {"age": ages}, draws=20)] == [
        ("40", 7),
        ("50", 8),
        ("others", 5),
    ]
    # Three alone would be given away by the whole: the smallest shown part joins them.
    ages = np.select([subject < 3, subject < 10], ["20", "40"], "50").tolist()
    assert [(one.level, one.people) for one in bands(teacher, said, subject, {"age": ages}, draws=20)] == [
        ("50", 10),
        ("others", 10),
    ]
    assert bands(teacher, said, subject, {"device": ["one"] * 200}) == ()
    with pytest.raises(ExplainError, match=r"Levels of a group[\s\S]*sex[\s\S]*200[\s\S]*got: 2"):
        bands(teacher, said, subject, {"sex": ["F", "M"]})
