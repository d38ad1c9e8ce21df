"""The causal section of a report: the banner first, the assumed graph, what is asked, and how far an answer goes."""

from collections.abc import Mapping
from typing import Any

from hdt_fm.explain.causal import estimand, graph, words
from hdt_fm.explain.causal.graph import Graph
from hdt_fm.explain.causal.graph_figure import graph_figure
from hdt_fm.explain.causal.overlap_figure import overlap_figure
from hdt_fm.explain.causal.plan_effect import plan_effect_from
from hdt_fm.explain.causal.record import record_of
from hdt_fm.explain.causal.study import Study
from hdt_fm.explain.page.section import Section

KEY, HEADING = "causal", "What this says about causes"
GLOSSARY = {
    "Held fixed (adjusted)": "Rows are compared that are alike in it, as far as a model of it can make them so.",
    "Back door": "A way by which treatment and outcome go together though the one does nothing to the other.",
    "Overlap": "Whether rows with the treatment have rows without it to be compared with.",
    "Refuter": "An attempt to show that an effect is not what the rows say; passing it is no proof.",
    "E-value": "How strongly something unmeasured had to go with both treatment and outcome to explain an effect away.",
}


def section(
    target: str, *, found: Study | None = None, plan: Mapping[str, Any] | None = None, where: str = ""
) -> Section:
    """The section of one report.

    Args:
        target: The explained output, in words.
        found: Of a question about the body; None if none was stated.
        plan: The record of two plans, as the twin wrote it, where a plan's effect is what the report explains.
        where: Of which people or windows the question was asked, in words.

    Raises:
        ExplainError: If the record of two plans lacks a part.
    """
    told = None if plan is None else plan_effect_from(plan)
    return Section(
        key=KEY,
        heading=HEADING,
        record=record_of(target, found=found, plan=told),
        view={
            "banner": estimand.BANNER,
            "of_model": estimand.of_model(target),
            "graph": _drawn(found),
            "not_asked": estimand.NOT_ASKED,
            "study": None if found is None else _study(found, where),
            "plan": told,
            "plan_effects": [] if told is None else words.plan_effects(told),
            "plan_rows": [] if told is None else [words.plan_refuter_row(one) for one in told.refuters],
        },
        words=GLOSSARY if found else {},
        cautions=() if found is None else (words.caution(found),),
    )


def _drawn(found: Study | None) -> dict[str, Any]:
    drawn: Graph = graph.model_graph() if found is None else found.graph
    said = words.sayer(found)
    return {
        "figure": graph_figure(drawn, said=said, door=None if found is None else found.back_door),
        "arrows": [f"{said(cause)} → {said(effect)}" for cause, effect in drawn.edges],
        "closed": "" if found is None else words.doors(found),
        "open": [] if found is None else words.open_paths(found),
    }


def _study(found: Study, where: str) -> dict[str, Any]:
    binary = found.question.binary
    sides = ("with it", "without it") if binary else ("as it is", "what is left")
    axis = "Chance of being treated, by what is held fixed" if binary else "Treatment in SDs, as it is and what is left"
    return {
        "stamp": words.stamp(found),
        "verdict": words.judged(found),
        "where": where,
        "estimand": estimand.of_body(found.question),
        "effect": words.effect(found),
        "overlap": words.overlap(found),
        "overlap_figure": overlap_figure(found.overlap, labels=sides, axis=axis),
        "balance": [
            (
                words.said_column(found, one.name),
                f"{round(one.before, 2) + 0.0:+.2f}",
                f"{round(one.after, 2) + 0.0:+.2f}",
            )
            for one in found.overlap.balance
        ],
        "balance_unit": "difference in SDs between both arms" if binary else "correlation with the treatment",
        "refuters": [words.refuter_row(one) for one in found.refuters],
        "e_value": words.e_value(found),
        "untestable": estimand.untestable(found.question),
    }
