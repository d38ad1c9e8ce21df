"""The section of the report on curves: what happens to the output when segments go, by method, beside random orders."""

from dataclasses import dataclass

import numpy as np

from hdt_fm.explain.gate.cumulative import Cumulative, at_random, cumulative
from hdt_fm.explain.gate.curve_figure import Band, curve_figure
from hdt_fm.explain.gate.deletion import Curve, band, curve
from hdt_fm.explain.gate.exam import Exam
from hdt_fm.explain.gate.infidelity import Infidelity, infidelity
from hdt_fm.explain.gate.removal import LEVELS, Bench
from hdt_fm.explain.gate.sensitivity import max_sensitivity
from hdt_fm.explain.gate.sparseness import described
from hdt_fm.explain.methods import METHODS
from hdt_fm.explain.page.section import Section

_ENDS = (0.05, 0.5, 0.95)
_SUMS = {"cpd": "difference", "cpp": "preservation"}
WORDS = {
    "Deletion and insertion": "Segments take their reference values, those of most credit first (deletion), or come "
    "back into an input of reference values (insertion). Good maps reach the whole change after few segments.",
    "CPD and CPP": "The output's steps, added up in size, while the half of most credit goes (difference, high is "
    "good) or the half of least credit (preservation, low is good).",
    "Infidelity": "How much of what happens when random segments go is not foretold by their credits: 0 is nothing, "
    "1 is all.",
    "Max-sensitivity": "The largest change of a map, as a share of its size, under nudges too small to see.",
    "Gini index and entropy": "How few samples hold the credit: a Gini index near 1 and a low entropy are a sparse "
    "map. Neither is better by itself.",
}


@dataclass(frozen=True)
class Traced:
    """What was measured of one method."""

    method: str
    curve: Curve
    cumulative: Cumulative
    infidelity: Infidelity
    max_sensitivity: float
    gini: float
    entropy: float


@dataclass(frozen=True)
class Curves:
    """All methods over the same windows; the leading one first.

    Attributes:
        levels: Shares of the segments that go.
        random, random_sums: The same of random orders.
    """

    levels: tuple[float, ...]
    methods: tuple[Traced, ...]
    random: tuple[Curve, ...]
    random_sums: tuple[Cumulative, ...]
    windows: int


def traced(exam: Exam) -> Curves:
    """Measure all methods of an exam; what its tests have measured already is not measured again."""
    found = []
    for one in exam.explanation.maps:
        gini, entropy = described(one)
        found.append(
            Traced(
                method=one.method,
                curve=curve(exam, one.method),
                cumulative=cumulative(exam, one.method),
                infidelity=infidelity(exam, one.method),
                max_sensitivity=max_sensitivity(exam, one.method),
                gini=gini,
                entropy=entropy,
            )
        )
    return Curves(LEVELS, tuple(found), band(exam), at_random(exam), len(Bench.of(exam).rows))


def section(curves: Curves) -> Section:
    """The section `curves`; without figures where the output does not move."""
    bands = _bands(curves)
    rows = [_row(one) for one in curves.methods]
    sums = {kind: _band([[getattr(one, name)] for one in curves.random_sums]) for kind, name in _SUMS.items()}
    record = {
        "levels": list(curves.levels),
        "windows": curves.windows,
        "random_orders": len(curves.random),
        "methods": {row["method"]: {k: v for k, v in row.items() if k not in ("method", "title")} for row in rows},
        "random": {
            **{kind: {"low": one.low, "median": one.middle, "high": one.high} for kind, one in bands.items()},
            **{kind: {"low": one.low[0], "median": one.middle[0], "high": one.high[0]} for kind, one in sums.items()},
        },
    }
    moves = bool(np.isfinite(sums["cpd"].middle[0]))
    figures = [
        curve_figure(METHODS[one.method].title, curves.levels, _lines(one), bands) for one in curves.methods if moves
    ]
    view = {
        "rows": rows,
        "figures": figures,
        "windows": curves.windows,
        "orders": len(curves.random),
        "random": record["random"],
        "moves": moves,
    }
    return Section(
        key="curves", heading="Deletion, insertion and other measures", record=record, view=view, words=WORDS
    )


def _lines(one: Traced) -> dict[str, list[float]]:
    return {"deletion": one.curve.deletion.tolist(), "insertion": one.curve.insertion.tolist()}


def _bands(curves: Curves) -> dict[str, Band]:
    return {kind: _band([getattr(one, kind).tolist() for one in curves.random]) for kind in ("deletion", "insertion")}


def _band(values: list[list[float]]) -> Band:
    return Band(*np.quantile(np.array(values), _ENDS, axis=0).tolist())


def _row(one: Traced) -> dict[str, object]:
    return {
        "method": one.method,
        "title": METHODS[one.method].title,
        **_lines(one),
        "cpd": one.cumulative.difference,
        "cpp": one.cumulative.preservation,
        "infidelity": one.infidelity.stretched,
        "infidelity_plain": one.infidelity.plain,
        "max_sensitivity": one.max_sensitivity,
        "gini": one.gini,
        "entropy": one.entropy,
    }
