"""What the section `students` leaves in the JSON: plain data that keeps `page/schema/students.json`."""

from typing import Any

from hdt_fm.explain.distil.credit import Credit
from hdt_fm.explain.distil.distilled import Distilled
from hdt_fm.explain.distil.fidelity import Score
from hdt_fm.explain.distil.named import digits_of
from hdt_fm.explain.distil.rules import lines
from hdt_fm.explain.distil.students import ADDITIVE, LINEAR, OURS, TREE
from hdt_fm.explain.distil.tree import Tree
from hdt_fm.metrics.bootstrap import Interval


def record_of(found: Distilled, shown: set[str]) -> dict[str, Any]:
    """Of everything that was found; words of those students alone that are shown."""
    teacher, named = found.teacher, found.named
    return {
        "teacher": {
            "words": teacher.words,
            "unit": teacher.unit,
            "kind": teacher.kind,
            "threshold": teacher.decides_at,
        },
        "people": named.people,
        "windows": len(named),
        "features": len(named.features),
        "folds": found.folds,
        "lead": found.lead if shown else None,
        "fidelity": [_score(one) for one in found.scores],
        "students": {
            name: {
                "follows": found.follows(name),
                "over_best_single_feature": _interval(found.over_single[name]),
                "windows_in_which_a_mean_stood_in": found.stood_in(name),
            }
            for name in OURS
        },
        "tree": _rules(found) if TREE in shown else None,
        "linear": _effects(found) if LINEAR in shown else None,
        "additive": _curves(found) if ADDITIVE in shown else None,
        "calibration": _calibration(found),
        "disagreement": _disagreement(found) if shown else None,
        "credit": _credit(found.credit, shown),
        "subgroups": [
            {
                "name": one.name,
                "level": one.level,
                "people": one.people,
                "gap": _interval(one.gap),
                "bias": _interval(one.bias),
            }
            for one in found.bands
        ]
        if shown
        else [],
    }


def _score(one: Score) -> dict[str, Any]:
    return {
        "model": one.model,
        "role": one.role,
        "metric": one.metric,
        **_interval(Interval(one.value, one.low, one.high)),
        "unit": one.unit,
    }


def _interval(one: Interval) -> dict[str, float]:
    return {"value": one.value, "low": one.low, "high": one.high}


def out_digits(found: Distilled) -> int:
    """Decimals of the output."""
    return max(digits_of(found.teacher.output), 0)


def _rules(found: Distilled) -> list[str]:
    tree = found.students[TREE]
    assert isinstance(tree, Tree)
    return list(lines(tree.root, found.named, found.teacher.unit, out_digits(found)))


def _effects(found: Distilled) -> list[dict[str, Any]]:
    return [
        {
            "feature": found.named.features[one.feature].words,
            "modality": found.named.features[one.feature].modality,
            "sd": one.sd,
            "unit": found.named.features[one.feature].unit,
            "per_sd": _interval(one.per_sd),
            "not_known": one.not_known,
            "chosen_again": one.chosen_again,
        }
        for one in found.effects
    ]


def _curves(found: Distilled) -> list[dict[str, Any]]:
    return [
        {
            "feature": found.named.features[one.feature].words,
            "modality": found.named.features[one.feature].modality,
            "unit": found.named.features[one.feature].unit,
            "trend": one.trend,
            "at": one.at,
            "adds": one.adds,
            "low": one.low,
            "high": one.high,
            "not_known": one.not_known,
        }
        for one in found.curves
    ]


def _calibration(found: Distilled) -> dict[str, Any] | None:
    made = found.calibration
    if made is None:
        return None
    return {
        "people": made.people,
        "windows": made.windows,
        "scores": [_score(one) for one in made.scores],
        "gaps": [_score(one) for one in made.gaps],
        "levels": [
            {"people": one.people, "teacher": one.teacher, "student": one.student, "truth": one.truth}
            for one in made.levels
        ],
    }


def _disagreement(found: Distilled) -> dict[str, Any]:
    made = found.disagreement
    return {
        "student": made.student,
        "gap": _interval(made.gap),
        "foretold": _interval(made.foretold),
        "regions": [
            {
                "conditions": list(one.conditions),
                "windows": one.windows,
                "people": one.people,
                "gap": _interval(one.gap),
                "bias": one.bias,
                "teacher_error": one.errors[0] if one.errors else None,
                "student_error": one.errors[1] if one.errors else None,
            }
            for one in made.regions
        ],
    }


def _credit(made: Credit, shown: set[str]) -> dict[str, Any]:
    return {
        "method": made.method,
        "teacher": {name: _interval(one) for name, one in made.teacher.items()},
        "students": {
            student: {name: _interval(one) for name, one in own.items()}
            for student, own in made.students.items()
            if student in shown
        },
        "overlap": {student: _interval(one) for student, one in made.overlap.items() if student in shown},
    }
