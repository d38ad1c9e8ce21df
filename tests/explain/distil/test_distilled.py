"""The whole way: a known function is told in words, a teacher that nobody can follow is not."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from hdt_fm.explain.distil.credit import TeacherShares
from hdt_fm.explain.distil.distilled import Distilled, distil
from hdt_fm.explain.distil.fidelity import R2
from hdt_fm.explain.distil.named import NamedFeatures
from hdt_fm.explain.distil.rules import lines
from hdt_fm.explain.distil.students import ADDITIVE, OURS, TREE
from hdt_fm.explain.distil.teacher import Teacher
from hdt_fm.schema.errors import ExplainError


def _step(named: NamedFeatures) -> Teacher:
    """High where the heart is fast, of people whose label is mostly right."""
    output = np.where(named.values[:, 0] > 85, 2.0, -2.0)
    right = np.random.default_rng(1).random(len(named)) < 0.85
    label = np.where(right, output > 0, output < 0).astype(float)
    return Teacher(output, "log-odds of stress", "log-odds", "class", label=label)


@pytest.fixture(scope="module")
def found(new_people: Callable[..., NamedFeatures]) -> Distilled:
    named = new_people()
    shares = np.tile([0.9, 0.1], (len(named), 1))
    return distil(
        _step(named),
        named,
        shares=TeacherShares("integrated gradients", ("ppg", "acc"), shares),
        groups={"sex": ["F" if one % 2 else "M" for one in named.subject]},
        draws=100,
    )


def test_a_function_of_one_feature_is_found(found: Distilled) -> None:
    first, second = lines(found.students[TREE].root, found.named, "log-odds", 1)
    assert first.startswith("PPG: heart rate at most 8")
    assert second.startswith("PPG: heart rate above 8")
    assert found.follows(TREE) == "well"
    assert found.lead == TREE
    assert found.effects[0].feature == 0
    assert found.curves[0].feature == 0
    assert found.curves[0].adds[-1] - found.curves[0].adds[0] == pytest.approx(4.0, abs=1.0)
    assert found.credit.students[TREE]["ppg"].value > 0.95
    assert found.credit.overlap[TREE].value == pytest.approx(0.9, abs=0.05)
    assert [one.level for one in found.bands] == ["F", "M"]
    assert found.calibration is not None
    assert set(found.over_single) == set(OURS)


def test_a_teacher_that_nobody_can_follow_is_told_as_such(named: NamedFeatures) -> None:
    noise = np.random.default_rng(0).standard_normal(len(named))
    found = distil(Teacher(noise, "y", "", "value"), named, draws=100)
    assert [found.follows(name) for name in OURS] == ["no"] * 3
    assert max(found.score(name, R2).value for name in OURS) < 0.05


def test_a_teacher_that_knows_persons_is_not_followed(new_people: Callable[..., NamedFeatures]) -> None:
    # It says something else of everyone, and the features cannot tell who is who.
    named = new_people(20, 20)
    output = np.random.default_rng(2).standard_normal(20)[np.unique(named.subject, return_inverse=True)[1]]
    found = distil(Teacher(output, "y", "", "value"), named, draws=100)
    assert "well" not in [found.follows(name) for name in OURS]


def test_the_same_seed_finds_the_same_whatever_people_are_called(new_people: Callable[..., NamedFeatures]) -> None:
    named = new_people(10, 12)
    renamed = replace(named, subject=named.subject * 3 - 20_000)
    one, other = (distil(_step(some), some, draws=20, seed=5) for some in (named, renamed))
    assert str(one.scores) == str(other.scores)
    np.testing.assert_array_equal(one.said[ADDITIVE], other.said[ADDITIVE])
    assert one.effects == other.effects


def test_what_cannot_be_distilled_is_refused(named: NamedFeatures) -> None:
    teacher = _step(named)
    with pytest.raises(ExplainError, match=r"not of the same windows[\s\S]*420[\s\S]*419"):
        distil(Teacher(teacher.output[1:], "y", "", "value"), named)
    with pytest.raises(ExplainError, match="says the same of every window"):
        distil(Teacher(np.full(420, 3.0), "y", "", "value"), named)
    with pytest.raises(KeyError, match="no AUROC of tree"):
        distil(teacher, named, draws=10).score(TREE, "AUROC")
