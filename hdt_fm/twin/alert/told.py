"""What an `AlertReport` says: as plain data for machines, and in words."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from hdt_fm.twin.alert.cusum import NIGHTS_PER_YEAR
from hdt_fm.twin.alert.episodes import Alert
from hdt_fm.twin.alert.report import AlertReport
from hdt_fm.twin.alert.watcher import ABSTAINED, ALERT, STATES
from hdt_fm.twin.nights.indicators import INDICATORS
from hdt_fm.twin.nights.night import Nights

VERSION = 1
NO_DIAGNOSIS = (
    "It is no diagnosis: an alert says that nights are unlike this person's own. Drinks, travel and late meals do that "
    "too, and an illness may come without one."
)
# The README has the numbers.
EXPERIENCE = (
    "on simulated nights the rate came out at 0.8 to 1.1 of what was asked; in 48 people of a public cohort whose "
    "illnesses nobody noted, at 1.4 times that (0.9 to 2.3)"
)
# Fewer personal SDs than this do not say why there was an alert.
_WORTH_A_WORD = 0.5
# So many parts have a name; of an embedding there may be hundreds, and the others are told together.
_MOST_PARTS = 8
# What the points of a part are.
_ALONG = (
    "points are how far an indicator was from what the last nights led to expect, along the way that illness goes, "
    "times its weight"
)
_SQUARES = (
    "points are the square of how far an indicator was from what the last nights led to expect, less 1, which chance "
    "alone makes it on average, so that below 0 it was nearer than chance has it"
)
STATE_WORDS = {
    "learning": "still learning what is usual",
    "quiet": "as usual",
    "watch": "half-way to an alert",
    "alert": "unlike the person's own nights",
    "abstained": "no data, no judgement",
}
Name = Callable[[np.datetime64], str | int]


def record(
    report: AlertReport, nights: Nights, *, dates: bool = True, source: str = "", notes: Sequence[str] = ()
) -> dict[str, Any]:
    """All of it as numbers and words that JSON has.

    Args:
        nights: Those that the report is of.
        dates: False calls nights by their number.
        source: What was read: a format or cohort, never a name or path.
        notes: What should be known of how it was read.
    """
    every, name = nights.on_calendar(), _names(report.dates[0], dates)
    judged = sum(report.nights_of(state) for state in ("quiet", "watch", "alert"))
    return {
        "version": VERSION,
        "source": source,
        "last_night": {"night": name(report.dates[-1]), "state": report.state[-1], "reason": report.reason[-1]},
        "usable_from": None if report.usable_from is None else name(report.usable_from),
        "nights_missing": report.nights_missing,
        "nights": {
            "first": name(report.dates[0]),
            "last": name(report.dates[-1]),
            "calendar": len(report.dates),
            "judged": judged,
            **{state: report.nights_of(state) for state in STATES},
        },
        "budget_per_year": float(report.settings.budget_per_year),
        "expected_by_chance": round(float(report.settings.budget_per_year) * judged / NIGHTS_PER_YEAR, 2),
        "alerts": [_alert(alert, report, name) for alert in report.alerts],
        "device_changes": [name(night) for night in every.dates[every.changes()]],
        "learned_anew": [name(night) for night in report.renewed],
        "indicators": [_indicator(at, report, every) for at in range(len(report.names))],
        "night_by_night": [_night(at, report, name) for at in range(len(report.dates))],
        "notes": list(notes),
        "caution": NO_DIAGNOSIS,
    }


def lines(told: Mapping[str, Any]) -> list[str]:
    """A `record` for a person to read."""
    last, nights, alerts = told["last_night"], told["nights"], told["alerts"]
    why = f" ({last['reason']})" if last["reason"] else ""
    found = [f"{night(last['night'])}: {last['state']}, {STATE_WORDS[last['state']]}{why}"]
    if told["nights_missing"]:
        found.append(f"until a night can be judged: {counted(told['nights_missing'], 'more night')} with data")
    found += [
        f"usable from {night(told['usable_from'])}" if told["usable_from"] is not None else "not yet usable",
        f"nights: {nights['calendar']}, of them {nights['judged']} judged, {nights['learning']} to learn from, "
        f"{nights['abstained']} without data (abstained)",
        f"alerts: {len(alerts) or 'none'}",
    ]
    for alert in alerts:
        until = f" to {night(alert['end'])}" if alert["end"] != alert["begin"] else ""
        goes_on = ", goes on" if alert["goes_on"] else ""
        found.append(
            f"  {night(alert['begin'])}{until} ({counted(alert['nights'], 'night')}{goes_on}): {deviating(alert)}"
        )
        found += [f"    made of: {made_of(alert)}"] if alert["parts"] else []
    found += [points(either_way=True)] if any(one["either_way"] for one in alerts) else []
    found += [f"another device from {night(one)}" for one in told["device_changes"]]
    return [*found, f"{chance(told)}; {EXPERIENCE}", *(f"note: {one}" for one in told["notes"]), NO_DIAGNOSIS]


def night(name: str | int) -> str:
    """A night's name in a sentence."""
    return name if isinstance(name, str) else f"night {name}"


def deviating(alert: Mapping[str, Any]) -> str:
    """What deviates in an alert of a `record`, in one line; what hardly does is left out."""
    found = [one for one in alert["deviations"] if abs(one["personal_sds"]) >= _WORTH_A_WORD] or alert["deviations"][:1]
    return ", ".join(f"{one['indicator']} {one['personal_sds']:+.1f} personal SD" for one in found)


def made_of(alert: Mapping[str, Any]) -> str:
    """What the score of an alert of a `record` is made of, in one line; what is told adds up to all of it."""
    return ", ".join(
        # Where the score is not above 0 there are no shares.
        f"{one['indicator']} " + (f"{one['points']:+.1f} points" if one["share"] is None else percent(one["share"]))
        for one in told_parts(alert)
    )


def told_parts(alert: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The parts of an alert of a `record` in words; of many the largest, and all others together as the last."""
    parts = [{**one, "indicator": one["indicator"].replace("_", " ")} for one in alert["parts"]]
    told = sorted(range(len(parts)), key=lambda at: -abs(parts[at]["points"]))[:_MOST_PARTS]
    found, rest = [parts[at] for at in sorted(told)], [one for at, one in enumerate(parts) if at not in told]
    if not rest:
        return found
    share = None if rest[0]["share"] is None else sum(one["share"] for one in rest)
    name = counted(len(rest), "other")
    return [*found, {"indicator": name, "points": sum(one["points"] for one in rest), "share": share}]


def percent(share: float) -> str:
    """A share in a sentence."""
    return f"{round(100 * share)} %"


def points(*, either_way: bool) -> str:
    """Which points add up to a score, in a sentence."""
    return _SQUARES if either_way else _ALONG


def counted(number: int, what: str) -> str:
    """One of something, or several."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def chance(told: Mapping[str, Any]) -> str:
    """How often such alerts come to somebody who is well, in a sentence."""
    return (
        f"by chance: the threshold is set for {told['budget_per_year']:g} false alerts a year that is watched; over "
        f"the {told['nights']['judged']} nights judged here that is {told['expected_by_chance']:g}"
    )


def _names(first: np.datetime64, dates: bool) -> Name:
    """What nights are called: by date, or counted from 1."""
    return str if dates else lambda night: int((night - first).astype(np.int64)) + 1


def _alert(alert: Alert, report: AlertReport, name: Name) -> dict[str, Any]:
    seen = [at for at, state in enumerate(report.state) if state != STATES[ABSTAINED]]
    return {
        "begin": name(alert.begin),
        "end": name(alert.end),
        "nights": alert.nights,
        "goes_on": bool(report.state[seen[-1]] == STATES[ALERT] and alert.end == report.dates[seen[-1]]),
        "deviations": [
            {"indicator": one.indicator, "personal_sds": round(one.personal_sds, 3)} for one in alert.deviations
        ],
        "gathered_from": name(alert.gathered_from),
        "score": round(alert.score, 4),
        "either_way": alert.either_way,
        "parts": [
            {
                "indicator": one.indicator,
                "points": round(one.points, 4),
                "share": round(one.share, 4) if np.isfinite(one.share) else None,
            }
            for one in alert.parts
        ],
    }


def _indicator(at: int, report: AlertReport, every: Nights) -> dict[str, Any]:
    name = report.names[at]
    known = np.flatnonzero(np.isfinite(every.values[:, at]))
    told = np.flatnonzero(np.isfinite(report.spread[:, at]))
    return {
        "name": name,
        "unit": INDICATORS[name].unit if name in INDICATORS else "",
        "either_way": bool(report.either_way[at]),
        "nights": len(known),
        "usual": _rounded(report.usual[told[-1], at]) if len(told) else None,
        "personal_sd": _rounded(report.spread[told[-1], at]) if len(told) else None,
        "last": _rounded(every.values[known[-1], at]) if len(known) else None,
    }


def _night(at: int, report: AlertReport, name: Name) -> dict[str, Any]:
    said = np.flatnonzero(report.heard[at] & np.isfinite(report.parts[at])).tolist()
    return {
        "night": name(report.dates[at]),
        "state": report.state[at],
        "reason": report.reason[at],
        "evidence": _rounded(report.cusum[at] / report.threshold[at]),
        "p_value": _rounded(report.p_value[at]),
        "personal_sds": {one: _rounded(report.deviation[at, k]) for k, one in enumerate(report.names)},
        "score": round(float(report.parts[at, said].sum()), 4) if said else None,
        "parts": {report.names[k]: round(float(report.parts[at, k]), 4) for k in said},
    }


def _rounded(value: float) -> float | None:
    """Four digits; None for what is not known."""
    return float(f"{value:.4g}") if np.isfinite(value) else None
