"""The section `students` of a report: how far a student may stand for the model, and only then what it says."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hdt_fm.explain.distil.credit import Credit
from hdt_fm.explain.distil.distilled import Distilled
from hdt_fm.explain.distil.fidelity import Score
from hdt_fm.explain.distil.named import digits_of, told
from hdt_fm.explain.distil.pictures import curve_figure, effect_bar, in_words
from hdt_fm.explain.distil.record import out_digits, record_of
from hdt_fm.explain.distil.students import ADDITIVE, KINDS, OURS
from hdt_fm.explain.page.drawing import share_bar
from hdt_fm.explain.page.section import Section
from hdt_fm.schema.modalities import modality as look_up_modality

KEY, HEADING = "students", "Simple students of the model"
WORDS = {
    "Student": "A small model that people can read, fitted to what this model says, not to what is true.",
    "Fidelity (R2)": "Share of the spread of the model's output that a student foretells on people it was not fitted "
    "to. 1 is all of it, 0 is no better than the mean.",
    "Kappa": "How often two decisions are the same, beyond what chance would give: 1 always, 0 by chance.",
    "Best single feature": "The floor: a curve of one feature. A student that does not beat it has one thing to say.",
    "Gradient boosting": "The ceiling: a hundred trees on the same features. What it misses, the named features do "
    "not hold.",
}
CAUTIONS = (
    "A student describes the part of the model that it follows, on the named features alone. What it does not follow "
    "stays unexplained.",
    "A student's rule says what the model goes by, not what makes a person well or ill.",
)


def section(found: Distilled) -> Section:
    """The section; of a student that does not follow the model on people left out, no words are shown."""
    shown = {name for name in OURS if found.follows(name) != "no"}
    record = record_of(found, shown)
    return Section(KEY, HEADING, record, _view(found, shown, record), WORDS, CAUTIONS)


def _view(found: Distilled, shown: set[str], record: Mapping[str, Any]) -> dict[str, Any]:
    """What the template needs beside the record: figures, and tables turned the way that they are read."""
    unit, digits, named = found.teacher.unit, out_digits(found), found.named
    largest = max((abs(end) for one in found.effects for end in one.per_sd), default=0.0) or 1.0
    tall = max((float(np.abs([one.low, one.high]).max()) for one in found.curves), default=0.0) or 1.0
    places = [(one, named.features[one.feature], digits_of(named.values[:, one.feature])) for one in found.curves]
    figures = [
        {
            "words": feature.words,
            "trend": one.trend,
            "text": in_words(one, feature, digits=place, unit=unit, out_digits=digits),
            "picture": curve_figure(one, feature, digits=place, scale=tall, unit=unit, out_digits=digits),
        }
        for one, feature, place in places
    ]
    return {
        "record": record,
        "unit": unit,
        "titles": {name: kind.title for name, kind in KINDS.items()},
        "meanings": {name: kind.meaning for name, kind in KINDS.items()},
        "fidelity": _turned(found.scores),
        "against_truth": _turned(found.calibration.scores) if found.calibration else None,
        "follows": {name: found.follows(name) for name in OURS},
        "rules": _nested(record["tree"] or []),
        "bars": [effect_bar(one.per_sd, largest) for one in found.effects],
        "curves": figures if ADDITIVE in shown else [],
        "shares": _share_rows(found.credit, shown),
        "overlap": {name: _number(one.value, 2) for name, one in found.credit.overlap.items() if name in shown},
        "foretold": f"{100 * max(found.disagreement.foretold.value, 0.0):.0f} %",
        "number": lambda value: _number(value, digits),
    }


def _turned(scores: tuple[Score, ...]) -> dict[str, Any]:
    """A row a model, a column a metric."""
    metrics = list(dict.fromkeys(one.metric for one in scores))
    models = list(dict.fromkeys(one.model for one in scores))
    cells = {(one.model, one.metric): one for one in scores}
    units = {one.metric: one.unit for one in scores}
    return {
        "metrics": [f"{one} ({units[one]})" if units[one] else one for one in metrics],
        "rows": [(model, [_cell(cells[model, metric]) for metric in metrics]) for model in models],
    }


def _cell(one: Score) -> str:
    ends = [end for end in (one.value, one.low, one.high) if np.isfinite(end)]
    words = [f"{end:.3g}" if one.unit else told(end, 2) for end in ends]
    return "not said" if not words else words[0] if len(words) < 3 else f"{words[0]} ({words[1]} to {words[2]})"


def _number(value: float | None, digits: int) -> str:
    return "not said" if value is None or not np.isfinite(value) else told(value, digits)


def _nested(rules: Sequence[str]) -> list[tuple[int, str]]:
    """Depth and words of each line, for the page's own indents."""
    return [((len(one) - len(one.lstrip())) // 2, one.strip()) for one in rules]


def _share_rows(credit: Credit, shown: set[str]) -> list[dict[str, Any]]:
    columns = [own for name, own in credit.students.items() if name in shown]
    columns += [credit.teacher] if credit.teacher else []
    return [
        {
            "label": look_up_modality(name).label,
            "cells": [
                {"text": f"{100 * own[name].value:.0f} %", "bar": share_bar(own[name].value)} if name in own else None
                for own in columns
            ],
        }
        for name in credit.modalities
    ]
