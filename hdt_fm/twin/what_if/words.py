"""What a record of two plans says, in sentences: the answer first, then how far to trust it."""

from collections.abc import Mapping
from typing import Any

from hdt_fm.schema.modalities import modality
from hdt_fm.twin.forecast.told import newest
from hdt_fm.twin.what_if.told import FAILS, HEADLINE_MIN, HOLDS, HOLDS_THINLY, PARTLY, PLANS, SHOWN_MIN, UNTESTED

CALLED = {"plan": "the plan", "against": "the other"}
SUPPORTED = {"inside": "inside what people do", "thin": "thin support, few do so"}
_LAW_ALONE = "read the effect as the law's alone"
# {named}: by which refuters or treatments it is so.
VERDICTS = {
    HOLDS: "It holds up: no attempt to refute it succeeded, and people dose so at such a moment.",
    HOLDS_THINLY: "It holds up on thin support: no attempt to refute it succeeded, but few dose so at such a moment "
    "({named}), and the interval is wider for it.",
    FAILS: f"It does not hold up: the person's own record speaks against it ({{named}}), {_LAW_ALONE}.",
    PARTLY: "It was partly tested on this person: no attempt to refute it succeeded, but the record is too short for "
    "some of them ({named}).",
    UNTESTED: f"It was not tested on this person: the record is too short to speak for or against it, {_LAW_ALONE}.",
}


def lines(told: Mapping[str, Any]) -> list[str]:
    """A record for a person to read."""
    return [
        headline(told),
        judged(told),
        f"This is an {told['kind']}.",
        *(f"{CALLED[name]}: {told['plans'][name]['words']}" for name in PLANS),
        start(told),
        *(sentence(told, one) for one in shown(told)),
        *overlap(told),
        *(f"{one['name']}: {outcome(one)}. {one['done']}" for one in told["refuters"]),
        *own(told),
        *(f"assumption: {one}" for one in told["assumptions"]),
        *(f"note: {one}" for one in told["notes"]),
        told["caution"],
    ]


def start(told: Mapping[str, Any]) -> str:
    """Where both plans begin, in a sentence."""
    return f"{newest(told)}, and both plans begin there"


def headline(told: Mapping[str, Any]) -> str:
    """The answer in one sentence, and a second one where not even its direction is settled."""
    plan, other = (said(told["plans"][name]["words"]) for name in PLANS)
    one = min(told["ahead"], key=lambda ahead: abs(ahead["min"] - HEADLINE_MIN))
    effect, when = one["effect"], after(one["min"])
    open_yet = " Whether it would be lower or higher is not settled." if effect["low"] < 0 < effect["high"] else ""
    return (
        f"With {plan} instead of {other} glucose would be {about(effect['point'], told['unit'])} in {when} "
        f"({times_in_ten(told)} {between(effect['low'], effect['high'])}), if the assumptions below hold.{open_yet}"
    )


def judged(told: Mapping[str, Any]) -> str:
    """The verdict as a sentence."""
    return VERDICTS[told["verdict"]["name"]].format(named=", ".join(told["verdict"]["reasons"]))


def sentence(told: Mapping[str, Any], one: Mapping[str, Any]) -> str:
    """What is expected at one time, under both plans."""
    clock = f" ({one['time'][-5:]})" if one["time"] else ""
    levels = [
        f"about {one[name]['point']:.0f} {told['unit']} with {CALLED[name]} ({times_in_ten(told)} {_range(one[name])})"
        for name in PLANS
    ]
    effect = one["effect"]
    return (
        f"In {after(one['min'])}{clock}: {', '.join(levels)}; {about(effect['point'], told['unit'])} by the plan, "
        f"{times_in_ten(told)} {between(effect['low'], effect['high'])}."
    )


def overlap(told: Mapping[str, Any]) -> list[str]:
    """Whether people do what is asked, a line for each plan."""
    return [f"{CALLED[name].capitalize()}: {_supported(told['overlap'][name])}" for name in PLANS]


def own(told: Mapping[str, Any]) -> list[str]:
    """What this person's own record says of the effect, and how easily it would be overturned."""
    one = told["own"]
    taught = f"{one['actions']} of their own doses and meals taught it"
    if one["share"] is None:
        found = f"This person's own record is too short to say how much of the law's effect it shows; {taught}."
    else:
        found = (
            f"This person's own record shows {percent(one['share'])} of the law's effect ({times_in_ten(told)} between "
            f"{percent(one['low'])} and {percent(one['high'])}); {taught}.{_against_law(one['low'], one['high'])}"
        )
    if one["sensitivity"] is None:
        return [found, "How strong something unseen would have to be to explain the effect away cannot be said here."]
    return [
        found,
        f"To explain the effect in the record away, something unseen would have to account for "
        f"{percent(one['sensitivity'])} of what is left both of what was taken and of glucose; what is weaker in both "
        "could not.",
    ]


def shown(told: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The times that words and tables tell; all of them where none is usual."""
    return [one for one in told["ahead"] if one["min"] in SHOWN_MIN] or list(told["ahead"])


def outcome(refuter: Mapping[str, Any]) -> str:
    """How an attempt to refute the effect ended."""
    return {True: "passed", False: "failed", None: "too little record"}[refuter["passed"]]


def said(plan: str) -> str:
    """A plan inside a sentence."""
    *first, last = plan.split("; ")
    return f"{', '.join(first)} and {last}" if first else last


def about(value: float, unit: str) -> str:
    """An effect in words."""
    return f"about {abs(value):.0f} {unit} {_way(value)}" if round(value) else "about the same"


def between(low: float, high: float) -> str:
    """An interval of an effect in words."""
    if not round(low) and not round(high):
        return "the same within 1"
    if round(low) < 0 < round(high):
        return f"between {-low:.0f} lower and {high:.0f} higher"
    near, far = sorted((abs(low), abs(high)))
    return f"between {near:.0f} and {far:.0f} {_way(low if round(low) < 0 else high)}"


def signed(value: float) -> str:
    """An effect in a figure or a cell; nothing has no sign."""
    return f"{value:+.0f}" if round(value) else "0"


def after(minute: int) -> str:
    """How long that is, in words."""
    return f"{minute / 60:g} h" if minute % 60 == 0 else f"{minute:g} min"


def percent(share: float | None) -> str:
    """A share in words; nothing where it is not known."""
    return "" if share is None else f"{100 * share + 0.0:.0f} %"


def times_in_ten(told: Mapping[str, Any]) -> str:
    """How often an interval holds by promise."""
    return f"{10 * told['promised']:g} times in 10"


def _supported(one: Mapping[str, Any]) -> str:
    what = modality(one["treatment"]).label.lower()
    widened = f" The interval was made {one['widen']:g} times as wide." if one["widen"] > 1 else ""
    return (
        f"{SUPPORTED[one['verdict']]} at such a moment. Of those who then take {what}, nine in ten take {one['low']:g} "
        f"to {one['high']:g} {one['unit']}; what is asked of it is {one['density']:.2g} times as likely as what is "
        f"likeliest; {one['effective_size']:g} of the person's own doses and meals are like it (effective sample size)."
        f"{widened}"
    )


def _against_law(low: float, high: float) -> str:
    if low <= 0:
        none = " It does not show that there is any."
        return " That speaks neither for the law nor against it." if high >= 1 else none
    if high < 1:
        return " That is less than the law says."
    return " That is more than the law says." if low > 1 else ""


def _range(one: Mapping[str, Any]) -> str:
    return f"between {one['low']:.0f} and {one['high']:.0f}"


def _way(value: float) -> str:
    return "lower" if value < 0 else "higher"
