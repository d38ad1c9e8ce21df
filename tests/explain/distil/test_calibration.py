"""Against the truth: numbers of other libraries, people whom the model was trained on left out, five people or none."""

import numpy as np
import pytest

from hdt_fm.explain.distil.calibration import (
    AUROC,
    BRIER,
    CORRELATION,
    ECE,
    ERROR,
    INTERCEPT,
    SLOPE,
    TEACHER,
    auroc_of_ranks,
    calibration,
    labelled_error,
)
from hdt_fm.explain.distil.students import KINDS, LINEAR, MEAN
from hdt_fm.explain.distil.teacher import Teacher, chance
from hdt_fm.metrics.classification import auroc, ece

ROWS, PEOPLE = 600, 12
DRAWS = np.random.default_rng(0)
SUBJECT = np.repeat(np.arange(PEOPLE), ROWS // PEOPLE)
OUTPUT = DRAWS.standard_normal(ROWS) * 1.5
SAID = dict.fromkeys(KINDS, OUTPUT + 0.5 * DRAWS.standard_normal(ROWS))


def _score(found: object, model: str, metric: str, *, gaps: bool = False) -> float:
    rows = found.gaps if gaps else found.scores
    return next(one.value for one in rows if (one.model, one.metric) == (model, metric))


def test_of_a_class_on_people_whom_the_model_was_not_trained_on() -> None:
    label = (DRAWS.random(ROWS) < chance(OUTPUT)).astype(float)
    trained = SUBJECT < 6
    teacher = Teacher(OUTPUT, "y", "log-odds", "class", label=np.where(trained, np.nan, label))
    found = calibration(teacher, SAID, SUBJECT, lead=LINEAR, draws=50)
    assert (found.people, found.windows) == (6, 300)
    asked, truth = chance(OUTPUT[~trained]), label[~trained]
    assert _score(found, TEACHER, BRIER) == pytest.approx(np.square(asked - truth).mean())
    assert _score(found, TEACHER, ECE) == pytest.approx(ece(asked, truth, bins=10))
    assert _score(found, TEACHER, AUROC) == pytest.approx(auroc(asked, truth))
    student = chance(SAID[LINEAR][~trained])
    assert _score(found, LINEAR, AUROC, gaps=True) == pytest.approx(auroc(student, truth) - auroc(asked, truth))
    assert _score(found, LINEAR, BRIER, gaps=True) == pytest.approx(
        np.square(student - truth).mean() - np.square(asked - truth).mean()
    )
    assert MEAN not in {one.model for one in found.scores}
    assert len(found.levels) == 5
    assert found.levels[0].teacher == pytest.approx(np.sort(asked)[:60].mean())
    assert found.levels[0].teacher < found.levels[4].teacher


def test_auroc_of_ranks_is_that_of_scores_with_ties_and_weights() -> None:
    score = np.round(OUTPUT, 1)
    label = (DRAWS.random(ROWS) < 0.3).astype(float)
    weight = DRAWS.integers(0, 4, ROWS)
    rank = np.unique(score, return_inverse=True)[1]
    assert auroc_of_ranks(rank, label, weight=weight) == pytest.approx(auroc(score, label, weight=weight), rel=1e-12)
    assert np.isnan(auroc_of_ranks(rank, np.ones(ROWS)))


def test_of_a_value_far_from_zero() -> None:
    output = 1e4 + OUTPUT
    label = 2 * output - 1e4 + 0.1 * DRAWS.standard_normal(ROWS)
    teacher = Teacher(output, "y", "mg/dL", "value", label=label)
    found = calibration(teacher, {name: one + 1e4 for name, one in SAID.items()}, SUBJECT, lead=LINEAR, draws=50)
    slope, intercept = np.polyfit(output, label, 1)
    assert _score(found, TEACHER, SLOPE) == pytest.approx(slope, rel=1e-8)
    assert _score(found, TEACHER, INTERCEPT) == pytest.approx(intercept, rel=1e-6)
    assert _score(found, TEACHER, CORRELATION) == pytest.approx(np.corrcoef(output, label)[0, 1])
    assert _score(found, TEACHER, ERROR) == pytest.approx(np.abs(output - label).mean())
    assert next(one.unit for one in found.scores if one.metric == ERROR) == "mg/dL"


def test_four_people_are_not_told_of() -> None:
    label = np.where(SUBJECT < 4, 1.0, np.nan)
    teacher = Teacher(OUTPUT, "y", "", "value", label=label)
    assert calibration(teacher, SAID, SUBJECT, lead=LINEAR) is None
    assert calibration(Teacher(OUTPUT, "y", "", "value"), SAID, SUBJECT, lead=LINEAR) is None
    assert labelled_error(teacher, SAID[LINEAR], np.ones(ROWS, dtype=bool), SUBJECT) is None


def test_a_fifth_of_four_people_is_not_shown() -> None:
    output = OUTPUT + 100.0 * (SUBJECT < 4)  # the highest third of the windows is of four people
    teacher = Teacher(output, "y", "", "value", label=output)
    found = calibration(teacher, SAID, SUBJECT, lead=LINEAR, draws=20)
    top = found.levels[-1]
    assert (top.people, top.teacher, top.student, top.truth) == (0, None, None, None)
    assert found.levels[0].truth is not None
