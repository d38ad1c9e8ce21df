"""The causal section as plain data for machines; its contract is `page/schema/causal.json`."""

from dataclasses import asdict
from typing import Any

from hdt_fm.explain.causal import estimand
from hdt_fm.explain.causal.back_door import BackDoor
from hdt_fm.explain.causal.e_value import EValue
from hdt_fm.explain.causal.effect import Effect
from hdt_fm.explain.causal.graph import Graph, model_graph
from hdt_fm.explain.causal.overlap import Overlap
from hdt_fm.explain.causal.plan_effect import PlanEffect
from hdt_fm.explain.causal.study import Study
from hdt_fm.schema.what_if import Refuter


def record_of(target: str, *, found: Study | None = None, plan: PlanEffect | None = None) -> dict[str, Any]:
    """All of the section; `study` and `plan` are null where there is none."""
    return {
        "banner": estimand.BANNER,
        "of_model": estimand.of_model(target),
        "graph": _graph(model_graph() if found is None else found.graph),
        "study": None if found is None else _study(found),
        "plan": None if plan is None else _plan(plan),
    }


def _graph(graph: Graph) -> dict[str, Any]:
    return {
        "nodes": [{"name": name, "role": role} for name, role in graph.nodes.items()],
        "edges": [list(edge) for edge in graph.edges],
    }


def _study(found: Study) -> dict[str, Any]:
    question = found.question
    return {
        "estimand": estimand.of_body(question),
        "treatment": question.treatment,
        "form": question.form,
        "outcome": question.outcome,
        "unit": question.unit,
        "adjusted": list(question.adjusted),
        "unmeasured": list(question.unmeasured),
        "within_people": question.within_people,
        "negative_control": question.negative_control,
        "back_door": _door(found.back_door),
        "overlap": _overlap(found.overlap),
        "effect": None if found.effect is None else _effect(found.effect),
        "refuters": [_refuter(one) for one in found.refuters],
        "e_value": None if found.e_value is None else _e_value(found.e_value),
        "verdict": {"name": found.verdict, "reasons": list(found.reasons)},
        "left_out": {"rows": found.left_out, "people": found.people_left_out},
        "assumptions": list(estimand.untestable(question)),
    }


def _door(door: BackDoor) -> dict[str, Any]:
    return {
        "closed": door.closed,
        "paths": [list(path) for path in door.paths],
        "unmeasured": list(door.unmeasured),
        "fixable": list(door.fixable),
    }


def _overlap(one: Overlap) -> dict[str, Any]:
    return {
        "verdict": one.verdict,
        "reasons": list(one.reasons),
        "widen": one.widen,
        "outside": one.outside,
        "left": one.left,
        "effective": list(one.effective),
        "arms": list(one.arms),
        "balance": [asdict(row) for row in one.balance],
        "edges": one.edges,
        # A count that too few people are behind is not told.
        "counts": [[None if count < 0 else count for count in side] for side in one.counts.tolist()],
    }


def _effect(one: Effect) -> dict[str, Any]:
    ratio = one.risk_ratio
    return {
        "value": one.value,
        "low": one.low,
        "high": one.high,
        "naive": one.naive,
        "standardised": _interval(one.standardised),
        "risk_ratio": None if ratio is None else _interval(ratio),
        "people": one.people,
        "rows": one.rows,
        "method": one.method,
    }


def _interval(ends: tuple[float, float, float]) -> dict[str, float]:
    return dict(zip(("value", "low", "high"), ends, strict=True))


def _e_value(one: EValue) -> dict[str, Any]:
    return asdict(one)


def _refuter(one: Refuter) -> dict[str, Any]:
    numbers = {"found": one.found, "expected": one.expected, "allowed": one.allowed}
    return {"name": one.name, "done": one.words, **numbers, "passed": one.passed}


def _plan(one: PlanEffect) -> dict[str, Any]:
    return {
        "kind": one.kind,
        "modality": one.modality,
        "unit": one.unit,
        "promised": one.promised,
        "plan": one.plan,
        "against": one.against,
        "verdict": {"name": one.verdict, "reasons": list(one.reasons)},
        "effects": [dict(row) for row in one.effects],
        "overlap": {name: dict(row) for name, row in one.support.items()},
        "refuters": [dict(row) for row in one.refuters],
        "sensitivity": one.sensitivity,
        "assumptions": list(one.assumptions),
        "caution": one.caution,
    }
