"""What a study says, in sentences for people who did not make it."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from hdt_fm.explain.causal import estimand
from hdt_fm.explain.causal.back_door import MOST_TOLD
from hdt_fm.explain.causal.graph import PERSON, arrows
from hdt_fm.explain.causal.overlap import COMMON
from hdt_fm.explain.causal.plan_effect import PlanEffect
from hdt_fm.explain.causal.study import (
    FAILS,
    HOLDS,
    HOLDS_THINLY,
    LEFT_OPEN,
    NO_OVERLAP,
    PARTLY,
    UNTESTED,
    Study,
)
from hdt_fm.schema.what_if import Refuter

# {named}: by which attempts, causes or arms it is so.
VERDICTS = {
    HOLDS: "It holds up: no attempt to refute it succeeded, and like is compared with like. That is no proof.",
    HOLDS_THINLY: "It holds up on thin support: no attempt to refute it succeeded, but the comparison rests on "
    "{named}.",
    FAILS: "It does not hold up: the rows themselves speak against it ({named}). Read it as an association.",
    LEFT_OPEN: "It stays open: by the question's own graph, treatment and outcome go together in other ways too "
    "({named}). Read it as an association.",
    PARTLY: "It was partly tested: no attempt to refute it succeeded, but some could not say ({named}).",
    UNTESTED: "It was not tested: no attempt to refute it could say anything.",
    NO_OVERLAP: "There is no estimate: like cannot be compared with like here ({named}).",
}
STAMPS = {HOLDS: "pass", FAILS: "fail", NO_OVERLAP: "fail"}
ENDED = {True: "passed", False: "failed", None: "cannot say"}


def stamp(found: Study) -> str:
    """pass, warn or fail, as the page colours its boxes."""
    return STAMPS.get(found.verdict, "warn")


def judged(found: Study) -> str:
    """The verdict as a sentence."""
    said = sayer(found)
    return VERDICTS[found.verdict].format(named=", ".join(said(one) for one in found.reasons))


def sayer(found: Study | None) -> Callable[[str], str]:
    """How nodes are called."""
    if found is None:
        return str
    words = dict(found.question.words)
    return lambda name: words.get(name, name if name == PERSON else name.replace("_", " "))


def said_column(found: Study, name: str) -> str:
    """A column that is held fixed."""
    return found.question.said(name)


def caution(found: Study) -> str:
    """For the top of the report."""
    return (
        f"The causal section asks for an effect in the body, which no map shows, and the answer rests on assumptions "
        f"that no record can test. Its verdict: {found.verdict}."
    )


def doors(found: Study) -> str:
    """What the graph itself says of the comparison."""
    door = found.back_door
    if door.closed:
        return (
            "If these arrows are right and none is missing, what is held fixed closes every back door between "
            "treatment and outcome."
        )
    named = estimand.listed([sayer(found)(one) for one in door.unmeasured + door.fixable])
    fix = estimand.listed([sayer(found)(one) for one in door.fixable])
    more = f" Holding {fix} fixed too may close some of them." if fix else ""
    many = f"{len(door.paths)}{' or more' if len(door.paths) == MOST_TOLD else ''}"
    stay = "one back door stays" if len(door.paths) == 1 else f"{many} back doors stay"
    return f"By these arrows, {stay} open, through {named}.{more}"


def open_paths(found: Study) -> list[str]:
    """Each way that is left open."""
    said = sayer(found)
    return [arrows(found.graph, path, said=said) for path in found.back_door.paths]


def effect(found: Study) -> str:
    """The estimate in two or three sentences; empty where there is none."""
    one, question = found.effect, found.question
    if one is None:
        return ""
    unit = f" {question.unit}" if question.unit else ""
    outcome = question.said(question.outcome)
    middle = "it holds 0" if one.low <= 0 <= one.high else "it does not hold 0"
    gone = f" {found.people_left_out} people could not be compared." if found.people_left_out else ""
    return (
        f"{outcome[:1].upper()}{outcome[1:]} would be {abs(one.value):.3g}{unit} {_side(one.value)} "
        f"{estimand.contrast(question)} (95 % interval over people {one.low:+.3g} to {one.high:+.3g}{unit}, {middle}), "
        f"if the assumptions below hold. With nothing held fixed it is {one.naive:+.3g}{unit}. "
        f"{one.rows} windows of {one.people} people; {one.method}.{gone}"
    )


def overlap(found: Study) -> str:
    """Whether like is compared with like."""
    one = found.overlap
    reasons = f" ({estimand.listed(list(one.reasons))})" if one.reasons else ""
    wider = f" The interval is {one.widen:g} times as wide for it." if one.widen > 1 else ""
    if len(one.arms) == 1:
        return (
            f"Overlap is {one.verdict}{reasons}: what is held fixed leaves {100 * one.left:.0f} % of the treatment's "
            f"variance; {one.arms[0]} windows tell as much as {one.effective[0]:.0f} that count alike.{wider}"
        )
    return (
        f"Overlap is {one.verdict}{reasons}: {100 * one.outside:.1f} % of the windows are such that nearly all or "
        f"nearly none are treated (chance under {COMMON[0]:g} or over {COMMON[1]:g}). Weighted, {one.arms[0]} windows "
        f"with the treatment tell as much as {one.effective[0]:.0f} that count alike, and {one.arms[1]} without it as "
        f"much as {one.effective[1]:.0f}.{wider}"
    )


def e_value(found: Study) -> str:
    """How strong something unmeasured had to be."""
    one = found.e_value
    if one is None:
        return ""
    treatment, outcome = (found.question.said(name) for name in (found.question.treatment, found.question.outcome))
    first = (
        f"An unmeasured cause would have to be associated with both {treatment} and {outcome} by a factor of at least "
        f"{one.estimate:.2f} each, beyond what is held fixed, to explain the estimate away"
    )
    if one.interval <= 1:
        return f"{first}. The interval holds 0 already, and for that nothing unmeasured is needed."
    scale = (
        "" if one.scale == "risk ratio" else " (Of a risk ratio that stands for the effect in SDs: an approximation.)"
    )
    return f"{first}, and by at least {one.interval:.2f} to bring the end of the interval to no effect.{scale}"


def refuter_row(one: Refuter) -> dict[str, str]:
    """A row of the table."""
    return {
        "name": one.name,
        "done": one.words,
        "found": _number(one.found, "+.2f"),
        "expected": _number(one.expected, "+.2f"),
        "allowed": _number(one.allowed, ".2f"),
        "ended": ENDED[one.passed],
        "stamp": {True: "pass", False: "fail", None: "warn"}[one.passed],
    }


def plan_refuter_row(one: Mapping[str, Any]) -> dict[str, str]:
    """The same of an attempt that the twin made."""
    numbers = {key: np.nan if one[key] is None else one[key] for key in ("found", "expected", "allowed")}
    return refuter_row(Refuter(name=one["name"], passed=one["passed"], words=one["done"], **numbers))


def plan_effects(plan: PlanEffect) -> list[tuple[str, ...]]:
    """Minutes from now, and the effect with both ends of its interval."""
    ends = ("point", "low", "high")
    return [
        (str(row["min"]), *("not known" if row[end] is None else f"{row[end]:+.1f}" for end in ends))
        for row in plan.effects
    ]


def _side(value: float) -> str:
    return "higher" if value >= 0 else "lower"


def _number(value: float, form: str) -> str:
    # No minus before a zero.
    return format(round(value, 2) + 0.0, form) if np.isfinite(value) else "not known"
