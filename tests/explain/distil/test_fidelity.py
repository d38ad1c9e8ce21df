"""Fidelity: measures against scikit-learn and scipy, intervals against the bootstrap of rows, people left out."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import cohen_kappa_score, r2_score

from hdt_fm.explain.distil import fidelity as module
from hdt_fm.explain.distil.fidelity import (
    AGREEMENT,
    GAP,
    KAPPA,
    R2,
    RANK,
    WITHIN,
    beyond,
    fidelity,
    measures,
    out_of_fold,
    over_people,
)
from hdt_fm.explain.distil.named import NamedFeatures
from hdt_fm.explain.distil.students import CEILING, KINDS, LINEAR, MEAN, OURS, SINGLE, TREE, Constant, Kind
from hdt_fm.explain.distil.teacher import Teacher
from hdt_fm.metrics.bootstrap import subject_bootstrap
from hdt_fm.metrics.regression import r2


def _pair() -> tuple[Teacher, np.ndarray, np.ndarray]:
    draws = np.random.default_rng(0)
    subject = draws.integers(0, 11, 300)
    output = draws.standard_normal(300) + 0.3 * subject
    return Teacher(output, "y", "points", "value", threshold=1.5), output + draws.standard_normal(300), subject


def test_measures_are_those_of_other_libraries() -> None:
    teacher, said, subject = _pair()
    found = {name: score(*columns) for name, (score, columns) in measures(teacher, said, subject).items()}
    assert found[R2] == pytest.approx(r2_score(teacher.output, said))
    assert found[RANK] == pytest.approx(spearmanr(teacher.output, said).statistic)
    assert found[GAP] == pytest.approx(np.abs(said - teacher.output).mean())
    yes, also = teacher.output > 1.5, said > 1.5
    assert found[AGREEMENT] == pytest.approx((yes == also).mean())
    assert found[KAPPA] == pytest.approx(cohen_kappa_score(yes, also))
    own = np.stack([subject == one for one in np.unique(subject)])
    mean = (own @ teacher.output / own.sum(1))[subject], (own @ said / own.sum(1))[subject]
    assert found[WITHIN] == pytest.approx(r2_score(teacher.output - mean[0], said - mean[1]))


def test_the_interval_of_sums_is_that_of_the_rows() -> None:
    teacher, said, subject = _pair()
    score, columns = measures(teacher, said, subject)[R2]
    ours = over_people(score, columns, draws=200, seed=4)
    theirs = subject_bootstrap(r2, subject, said, teacher.output, draws=200, seed=4)
    np.testing.assert_allclose(ours, theirs, rtol=1e-9)


def test_nobody_is_asked_of_a_student_that_saw_them(named: NamedFeatures, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[set[int]] = []

    def spy(values: np.ndarray, output: np.ndarray, subject: np.ndarray, *, seed: int = 0) -> Constant:
        seen.append(set(subject.tolist()))
        return Constant(float(len(seen)))

    monkeypatch.setattr(module, "KINDS", {MEAN: Kind("baseline", spy, "", "")})
    # The output names the person, which a student could only know by having seen them.
    said = out_of_fold(Teacher(named.subject.astype(float), "y", "", "value"), named)[MEAN]
    assert len(seen) == 5
    for fold, people in enumerate(seen, start=1):
        asked = set(named.subject[said == fold].tolist())
        assert asked
        assert not asked & people
        assert asked | people == set(named.subject.tolist())


def test_a_known_function_is_followed_and_a_shuffled_one_is_not(new_people: Callable[..., NamedFeatures]) -> None:
    named = new_people(12, 25)
    line = 0.2 * named.values[:, 0] - 15 * named.values[:, 2]
    teacher = Teacher(line, "y", "points", "value", threshold=float(np.median(line)))
    said = out_of_fold(teacher, named)
    scores = {(one.model, one.metric): one for one in fidelity(teacher, said, named.subject, draws=200)}
    assert scores[LINEAR, R2].value > 0.99
    assert scores[LINEAR, KAPPA].value > 0.9
    assert 0.5 < scores[SINGLE, R2].value < scores[TREE, R2].value < scores[LINEAR, R2].value
    assert scores[MEAN, R2].value == pytest.approx(0.0, abs=0.05)
    assert scores[MEAN, RANK].value == 0.0
    assert np.isnan(scores[MEAN, RANK].low)
    assert scores[LINEAR, GAP].unit == "points"
    better = beyond(teacher, said[LINEAR], said[SINGLE], named.subject, draws=200)
    assert better.value == pytest.approx(scores[LINEAR, R2].value - scores[SINGLE, R2].value)
    assert better.low > 0

    shuffled = replace(teacher, output=np.random.default_rng(1).permutation(line))
    said = out_of_fold(shuffled, named)
    for one in fidelity(shuffled, said, named.subject, draws=200):
        if one.metric == R2:
            assert one.value < 0.1, one.model
            assert not one.low > 0


def test_every_kind_has_words_and_a_role() -> None:
    assert {name: kind.role for name, kind in KINDS.items()} == {
        **dict.fromkeys(OURS, "ours"),
        MEAN: "baseline",
        SINGLE: "baseline",
        CEILING: "reference",
    }
    assert len(OURS) == 3
    assert all(kind.title and kind.meaning.endswith(".") for kind in KINDS.values())
