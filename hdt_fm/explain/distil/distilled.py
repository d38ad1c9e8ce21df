"""A model's students, from its outputs and named features to everything that the report says of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
from jaxtyping import Float

from hdt_fm.explain.distil.bands import Band, bands
from hdt_fm.explain.distil.calibration import Calibration, calibration
from hdt_fm.explain.distil.credit import Credit, TeacherShares, credit_of
from hdt_fm.explain.distil.disagreement import Disagreement, disagreement
from hdt_fm.explain.distil.fidelity import FOLDS, R2, Progress, Said, Score, beyond, fidelity, out_of_fold
from hdt_fm.explain.distil.named import NamedFeatures
from hdt_fm.explain.distil.shapes import Curve, Effect, curves, effects
from hdt_fm.explain.distil.students import ADDITIVE, KINDS, LINEAR, OURS, SINGLE, ReadableStudent
from hdt_fm.explain.distil.teacher import Teacher
from hdt_fm.explain.distil.terms import Terms
from hdt_fm.metrics.bootstrap import Interval
from hdt_fm.schema.errors import ExplainError

Follows = Literal["no", "weakly", "well"]
HALF = 0.5


@dataclass(frozen=True)
class Distilled:
    """All that was found.

    Attributes:
        said: Out-of-fold answers by student; for further work, never for the report.
        scores: Fidelity to the teacher, floors and ceiling beside.
        over_single: R2 of each student less that of the best single feature.
        students: Fitted on everybody, for their words.
        lead: The student of highest R2, whose disagreements and bands are told.
    """

    teacher: Teacher
    named: NamedFeatures
    folds: int
    said: Mapping[str, Said]
    scores: tuple[Score, ...]
    over_single: Mapping[str, Interval]
    students: Mapping[str, ReadableStudent]
    lead: str
    effects: tuple[Effect, ...]
    curves: tuple[Curve, ...]
    calibration: Calibration | None
    disagreement: Disagreement
    credit: Credit
    bands: tuple[Band, ...]

    def score(self, model: str, metric: str) -> Score:
        """A number of the fidelity table; raises KeyError when it is not there."""
        for one in self.scores:
            if (one.model, one.metric) == (model, metric):
                return one
        raise KeyError(f"no {metric} of {model}")

    def follows(self, student: str) -> Follows:
        """`no` where the interval of R2 reaches 0 or cannot be said: its words would describe nothing."""
        found = self.score(student, R2)
        if not found.low > 0:
            return "no"
        return "well" if found.value >= HALF else "weakly"

    def stood_in(self, student: str) -> float:
        """Share of windows in which the mean stood in for a chosen feature, too few lacking it to learn from."""
        fitted = self.students[student]
        if not isinstance(fitted, Terms) or not fitted.chosen:
            return 0.0
        return float(fitted.basis.unforeseen(self.named.values, np.array(fitted.chosen)).mean())


def distil(
    teacher: Teacher,
    named: NamedFeatures,
    *,
    shares: TeacherShares | None = None,
    groups: Mapping[str, Sequence[str]] | None = None,
    folds: int = FOLDS,
    draws: int = 1000,
    seed: int = 0,
    progress: Progress | None = None,
) -> Distilled:
    """Fit students to a model's output and find out how far they may stand for it.

    Args:
        teacher: The model's output for each window; the model is one and the same for all of them.
        named: Features of the same windows, of at least ten people.
        shares: Of the teacher's maps, where it was explained.
        groups: Levels of covariates, one a window.
        folds: Over people; each is asked of a student that never saw them.
        draws: Of people, for intervals.

    Raises:
        ExplainError: If windows do not fit, or the teacher says the same of all.
    """
    if len(teacher.output) != len(named):
        raise ExplainError(
            "Outputs and features are not of the same windows", expected=str(len(named)), got=str(len(teacher.output))
        )
    if not float(np.ptp(teacher.output)) > 1e-9 * max(1.0, float(np.abs(teacher.output).max())):
        raise ExplainError(
            "The model says the same of every window, so there is nothing to distil",
            expected="outputs that differ",
            fix="see the gate's test of dependence",
        )
    said = out_of_fold(teacher, named, folds=folds, seed=seed, progress=progress)
    scores = fidelity(teacher, said, named.subject, draws=draws, seed=seed)
    students = {name: _fitted(name, teacher.output, named, seed) for name in OURS}
    lead = max(OURS, key=lambda name: next(one.value for one in scores if (one.model, one.metric) == (name, R2)))
    return Distilled(
        teacher=teacher,
        named=named,
        folds=folds,
        said=said,
        scores=scores,
        over_single={
            name: beyond(teacher, said[name], said[SINGLE], named.subject, draws=draws, seed=seed) for name in OURS
        },
        students=students,
        lead=lead,
        effects=effects(cast(Terms, students[LINEAR]), named, teacher.output, seed=seed),
        curves=curves(cast(Terms, students[ADDITIVE]), named, teacher.output, seed=seed),
        calibration=calibration(teacher, said, named.subject, lead=lead, draws=draws, seed=seed),
        disagreement=disagreement(teacher, lead, said[lead], named, draws=draws, seed=seed),
        credit=credit_of(students, named, shares, draws=draws, seed=seed),
        bands=bands(teacher, said[lead], named.subject, groups or {}, draws=draws, seed=seed),
    )


def _fitted(name: str, output: Float[np.ndarray, " window"], named: NamedFeatures, seed: int) -> ReadableStudent:
    student = KINDS[name].fit(named.values, output, named.subject, seed=seed)
    assert isinstance(student, ReadableStudent)
    return student
