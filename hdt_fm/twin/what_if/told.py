"""What a `Compared` says, as plain data for machines; `words` makes sentences of it.

The verdict's rule stands in `verdict` and nowhere else.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdt_fm.metrics.events import EVENTS
from hdt_fm.schema.errors import RecordingError
from hdt_fm.schema.modalities import modality
from hdt_fm.schema.treatment import Plan
from hdt_fm.schema.what_if import PLANNED_MIN, Compared, DoseResponse, Refuter, Support

VERSION = 1
KIND = "interventional forecast under stated assumptions"
MODALITY, UNIT, PROMISED = "glucose", "mg/dL", 0.9
SHOWN_S = 12 * 3600.0
# Told in words and tables; the figure and the JSON have every minute.
SHOWN_MIN = (30, 60, 120, 180, 240)
HEADLINE_MIN = 120
PLANS = ("plan", "against")
HOLDS, HOLDS_THINLY, FAILS, PARTLY, UNTESTED = (
    "holds up",
    "holds up on thin support",
    "does not hold up",
    "partly tested",
    "not tested on this person",
)
ASSUMPTIONS = (
    "Nothing unseen moves both what is taken and glucose, beyond what was adjusted for: the newest reading, its trend, "
    "and what still acts of insulin and food. Exercise, illness, stress and sleep are not in it.",
    "What was logged is all that was taken, in the amount and at the time that is written there.",
    "The law has the right form: how meals and insulin act is one law for all people, and only its numbers are this "
    "person's.",
    f"After the first {PLANNED_MIN} minutes life goes on as usual under both plans: later meals, doses and what a pump "
    "gives by itself are in both courses as they were in other people's, and what a plan gives later comes on top.",
    "What the frozen encoder adds to the forecast moves both plans alike: the effect is the law's, without it.",
)
NO_ADVICE = (
    "It is no medical advice and no alarm: no dose, meal or drive may rest on it. It claims no chance of a low or a "
    "high, and nobody has tried the plans."
)


def record(
    compared: Compared,
    plans: tuple[Plan, Plan],
    shown: tuple[NDArray[np.float64], NDArray[np.float64]],
    *,
    age_s: float = 0.0,
    clock: str = "local",
    dates: bool = True,
    source: str = "",
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """All of it as numbers and words that JSON has.

    Args:
        plans: The plan, then the other.
        shown: Readings up to the newest, where plans begin: times on the person's own clock, in seconds, and values.
        age_s: Of the newest reading.
        clock: Of `hdt_fm.twin.forecast.told.CLOCKS`.
        dates: False tells times by minutes from the newest reading alone.
        source: What was read: a format or cohort, never a name or path.
        notes: What should be known of how it was read.

    Raises:
        RecordingError: If a plan lies outside what people do.
    """
    _check_support(compared.support)
    now_s, reading = float(shown[0][-1]), float(shown[1][-1])
    name, reasons = verdict(compared.refuters, compared.support)
    return {
        "version": VERSION,
        "kind": KIND,
        "source": source,
        "modality": MODALITY,
        "unit": UNIT,
        "clock": clock if dates else None,
        "newest": {"time": _moment(now_s, dates), "value": _rounded(reading), "age_min": round(age_s / 60, 1)},
        "plans": {name: _plan(one) for name, one in zip(PLANS, plans, strict=True)},
        "promised": PROMISED,
        "thresholds": [event.threshold for event in EVENTS[MODALITY]],
        "ahead": [_ahead(compared, at, now_s, dates) for at in range(len(compared.minutes))],
        "verdict": {"name": name, "reasons": reasons},
        "overlap": {name: _overlap(one) for name, one in zip(PLANS, compared.support, strict=True)},
        "refuters": [_refuter(one) for one in compared.refuters],
        "own": {
            "actions": compared.own_actions,
            **{key: _share(value) for key, value in zip(("share", "low", "high"), compared.own_share, strict=True)},
            "sensitivity": _share(compared.sensitivity),
        },
        "curves": [_curve(one, plans[0]) for one in compared.curves],
        "readings": [
            {"min": round((at - now_s) / 60, 1), "value": _rounded(value)}
            for at, value in zip(*(column.tolist() for column in shown), strict=True)
            if -SHOWN_S <= at - now_s <= 0
        ],
        "assumptions": list(ASSUMPTIONS),
        "notes": list(notes),
        "caution": NO_ADVICE,
    }


def verdict(refuters: Sequence[Refuter], support: Sequence[Support]) -> tuple[str, list[str]]:
    """Whether the effect holds up for this person, and by which refuters or treatments it is so.

    The first that applies: a refuter failed, it does not hold up; none could say, it is not tested; some could not, it
    is partly tested; all passed, it holds up, on thin support where that of either plan is thin.
    """
    failed = [one.name for one in refuters if one.passed is False]
    unsaid = [one.name for one in refuters if one.passed is None]
    thin = [one.treatment for one in support if one.verdict == "thin"]
    if failed:
        return FAILS, failed
    if len(unsaid) == len(refuters):
        return UNTESTED, unsaid
    if unsaid:
        return PARTLY, unsaid
    return (HOLDS_THINLY, sorted(set(thin))) if thin else (HOLDS, [])


def _check_support(support: Sequence[Support]) -> None:
    outside = [one for one in support if one.verdict == "outside"]
    if outside:
        names = [f"{one.treatment} {one.low:.3g} to {one.high:.3g} {modality(one.treatment).unit}" for one in outside]
        raise RecordingError(
            "People do not dose so at such a moment, so that nothing is known of what would follow",
            where="plan",
            expected=", ".join(dict.fromkeys(names)),
            got="a dose outside",
            fix="ask for a dose in it, or at another moment with at=TIME",
        )


def _plan(plan: Plan) -> dict[str, Any]:
    parts = [
        {
            "kind": one.kind,
            "dose": one.dose,
            "unit": one.unit,
            "onset_min": one.onset_s / 60,
            "duration_min": one.duration_s / 60,
        }
        for one in plan.interventions
    ]
    return {"words": plan.words, "interventions": parts}


def _ahead(compared: Compared, at: int, now_s: float, dates: bool) -> dict[str, Any]:
    levels = zip(PLANS, compared.level, compared.level_low, compared.level_high, strict=True)
    effect = (compared.effect, compared.effect_low, compared.effect_high)
    return {
        "min": compared.minutes[at],
        "time": _moment(now_s + 60 * compared.minutes[at], dates),
        **{name: _interval(*(float(one[at]) for one in values)) for name, *values in levels},
        "effect": _interval(*(float(one[at]) for one in effect)),
    }


def _interval(point: float, low: float, high: float) -> dict[str, float | None]:
    return {"point": _rounded(point), "low": _rounded(low), "high": _rounded(high)}


def _overlap(one: Support) -> dict[str, Any]:
    return {
        "verdict": one.verdict,
        "treatment": one.treatment,
        "unit": modality(one.treatment).unit,
        "density": _share(one.density),
        "effective_size": _rounded(one.effective_size),
        "low": _rounded(one.low),
        "high": _rounded(one.high),
        "widen": _rounded(one.widen),
    }


def _refuter(one: Refuter) -> dict[str, Any]:
    numbers = {"found": _share(one.found), "expected": _share(one.expected), "allowed": _share(one.allowed)}
    return {"name": one.name, "done": one.words, **numbers, "passed": one.passed}


def _curve(one: DoseResponse, plan: Plan) -> dict[str, Any]:
    columns = (one.dose, one.effect, one.low, one.high)
    points = [
        {"dose": _share(dose), **_interval(*rest), "supported": supported}
        for dose, *rest, supported in zip(*(c.tolist() for c in columns), one.supported.tolist(), strict=True)
    ]
    asked = float(sum(part.dose for part in plan.interventions if part.kind == one.treatment))
    return {"treatment": one.treatment, "unit": one.unit, "min": one.minute, "asked": asked, "points": points}


def _moment(time_s: float, dates: bool) -> str | None:
    return str(np.datetime64(round(time_s), "s").astype("datetime64[m]")) if dates else None


def _rounded(value: float) -> float | None:
    """A tenth; None for what is not known."""
    return round(float(value), 1) + 0.0 if np.isfinite(value) else None


def _share(value: float) -> float | None:
    return round(float(value), 3) + 0.0 if np.isfinite(value) else None
