"""The section `cohort` of a report."""

from dataclasses import asdict
from typing import Any

import numpy as np

from hdt_fm.explain.cohort.cells import MINIMUM_CELL, NOT_KNOWN
from hdt_fm.explain.cohort.figures import gap_figure, pattern_figure
from hdt_fm.explain.cohort.prototypes import CLEAR
from hdt_fm.explain.cohort.view import CohortView
from hdt_fm.explain.methods import METHODS
from hdt_fm.explain.page.axis import TimeAxis
from hdt_fm.explain.page.drawing import share_bar
from hdt_fm.explain.page.section import Section

KEY = "cohort"
_MOST_GAPS = 24


def section(view: CohortView, *, window_s: float) -> Section:
    """Tables and figures of a cohort's view; no waveform is in it.

    Args:
        window_s: Length of a window, for the axis of patterns.
    """
    window = TimeAxis.of(window_s).words
    most = max(float(one.pattern.max()) for one in view.patterns.found)
    shown = {
        "cohort": view,
        "method": METHODS[view.method].title,
        "fewest": MINIMUM_CELL,
        "not_known": NOT_KNOWN,
        "least_silhouette": CLEAR,
        "shares": [(one, share_bar(one.mean, one.low, one.high)) for one in view.shares],
        "channels": [(one, share_bar(one.mean, one.low, one.high)) for one in view.channels],
        "facts": [
            {
                "name": fact.name,
                "hidden": fact.hidden,
                "groups": [
                    {"name": group.name, "people": group.people, "shares": {one.column: one for one in group.shares}}
                    for group in fact.groups
                ],
            }
            for fact in view.facts
        ],
        "gaps": sorted(view.gaps, key=lambda one: (one.p, -abs(one.value))),
        "gap_figure": gap_figure(_first(view.gaps), "Gaps between subgroups") if view.gaps else "",
        "drift_figure": gap_figure(view.drift, "Drift from the people of training") if view.drift else "",
        "patterns": [
            {
                "found": one,
                "figure": pattern_figure(
                    one.pattern, list(view.columns), name=f"Typical pattern {place}", scale=most, window=window
                ),
            }
            for place, one in enumerate(view.patterns.found, 1)
        ],
        "worst": [
            {"found": one, "rows": list(zip(view.columns, one.shares, one.other_shares, strict=True))}
            for one in view.worst
        ],
    }
    words = {
        "Subgroup gap": "Mean share of a subgroup's people less that of all other people. It is not adjusted for "
        "anything: groups may differ in age, device or illness at once.",
        "p after Holm": "How often chance alone would part people as unevenly, corrected for how many gaps were looked "
        "at.",
        "Typical pattern": "A group of windows whose credit lies in the same signals at the same times, shown as a "
        "mean over its people.",
    }
    cautions = (
        f"Groups of fewer than {MINIMUM_CELL} people are joined with others, so that nobody can be told apart; a "
        "gap between subgroups shows that the model reads them differently, not that it is worse for one of them.",
    )
    return Section(KEY, "The people together", _record(view), shown, words, cautions)


def _first(gaps: tuple[Any, ...]) -> list[Any]:
    return sorted(gaps, key=lambda one: (one.p, -abs(one.value)))[:_MOST_GAPS]


def _record(view: CohortView) -> dict[str, Any]:
    columns = list(view.columns)

    def by_column(values: Any) -> dict[str, float]:
        return {name: float(value) for name, value in zip(columns, values, strict=True) if np.isfinite(value)}

    return {
        "target": view.target,
        "method": view.method,
        "people": view.people,
        "windows": view.windows,
        "columns": {name: list(names) for name, names in view.columns.items()},
        "shares": [asdict(one) for one in view.shares],
        "channels": [asdict(one) for one in view.channels],
        "facts": [asdict(fact) for fact in view.facts],
        "gaps": [asdict(one) for one in view.gaps],
        "patterns": {
            "silhouette": view.patterns.silhouette,
            "found": [
                {"windows": one.windows, "people": one.people, "pattern": one.pattern} for one in view.patterns.found
            ],
        },
        "worst": [
            {**asdict(one), "shares": by_column(one.shares), "other_shares": by_column(one.other_shares)}
            for one in view.worst
        ],
        "drift": {"training_people": view.training_people, "gaps": [asdict(one) for one in view.drift]},
    }
