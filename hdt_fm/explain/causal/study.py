"""A causal question put to rows: overlap first, then the effect, what speaks against it, and one verdict."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from numpy.typing import ArrayLike

from hdt_fm.explain.causal import effect as effects
from hdt_fm.explain.causal.back_door import BackDoor, back_door
from hdt_fm.explain.causal.design import design_of
from hdt_fm.explain.causal.e_value import EValue, e_value_of
from hdt_fm.explain.causal.effect import Effect
from hdt_fm.explain.causal.graph import Graph, question_graph
from hdt_fm.explain.causal.observed import control_rows, observed
from hdt_fm.explain.causal.overlap import Overlap, overlap_of
from hdt_fm.explain.causal.question import Question
from hdt_fm.explain.causal.refute import refute
from hdt_fm.schema.what_if import Refuter

# As verdicts of a plan's effect are called, and two more: what the graph itself says, and no overlap.
HOLDS, HOLDS_THINLY, FAILS, PARTLY, UNTESTED, LEFT_OPEN, NO_OVERLAP = (
    "holds up",
    "holds up on thin support",
    "does not hold up",
    "partly tested",
    "not tested",
    "left open by its own graph",
    "no estimate",
)


@dataclass(frozen=True, kw_only=True)
class Study:
    """All that came of a question.

    Attributes:
        effect, e_value: None where there is no overlap, and then nothing was refuted either.
        reasons: By which attempts, arms or open causes the verdict is so.
        left_out, people_left_out: Rows that lacked a value; people without a row, or within people without both
            treatments.
    """

    question: Question
    graph: Graph
    back_door: BackDoor
    overlap: Overlap
    effect: Effect | None
    e_value: EValue | None
    refuters: tuple[Refuter, ...]
    verdict: str
    reasons: tuple[str, ...]
    left_out: int
    people_left_out: int


def study(question: Question, columns: Mapping[str, ArrayLike], person: ArrayLike, *, seed: int = 0) -> Study:
    """Put a question to rows.

    Args:
        columns: Each (row,), by name; rows of a person stand in order of time.
        person: (row,) who, as any integers.
        seed: Of the folds and of all draws.

    Raises:
        ExplainError: If the graph cannot be, people are too few, or a treatment is not what it is said to be.
        UnknownNameError: If a column or node is not there.
    """
    graph = question_graph(question)
    door = back_door(graph)
    some = observed(question, columns, person)
    design = design_of(some, within=question.within_people, seed=seed)
    found = effects.estimate(design)
    overlap = overlap_of(some, design, found)
    effect, value = None, None
    tried: tuple[Refuter, ...] = ()
    if overlap.verdict != "none":
        effect = effects.told(design, some, found, widen=overlap.widen)
        value = e_value_of(effect)
        tried = refute(some, design, found, control=control_rows(question, columns, person), seed=seed)
    name, reasons = verdict(tried, overlap, door)
    return Study(
        question=question,
        graph=graph,
        back_door=door,
        overlap=overlap,
        effect=effect,
        e_value=value,
        refuters=tried,
        verdict=name,
        reasons=reasons,
        left_out=some.left_out,
        people_left_out=some.people_left_out,
    )


def verdict(refuters: Sequence[Refuter], overlap: Overlap, door: BackDoor) -> tuple[str, tuple[str, ...]]:
    """Whether an effect holds up, and why not.

    The first that applies: no overlap, no estimate; a refuter failed, it does not hold up; its own graph leaves a back
    door open, it stays open; none could say, it is not tested; some could not, it is partly tested; all passed, it
    holds up, on thin support where that is thin.
    """
    failed = tuple(one.name for one in refuters if one.passed is False)
    unsaid = tuple(one.name for one in refuters if one.passed is None)
    if overlap.verdict == "none":
        return NO_OVERLAP, overlap.reasons
    if failed:
        return FAILS, failed
    if not door.closed:
        return LEFT_OPEN, door.unmeasured + door.fixable
    if len(unsaid) == len(refuters):
        return UNTESTED, unsaid
    if unsaid:
        return PARTLY, unsaid
    return (HOLDS_THINLY, overlap.reasons) if overlap.verdict == "thin" else (HOLDS, ())
