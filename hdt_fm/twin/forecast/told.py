"""What an `Outlook` says: as plain data for machines, and in words."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdt_fm.schema.series import DAY_S
from hdt_fm.twin.forecast.outlook import LATELY_S, PROMISED, Ahead, Outlook
from hdt_fm.twin.forecast.within import Within

VERSION = 1
SHOWN_S = 12 * 3600.0
NO_ADVICE = (
    "It is no medical advice and no alarm: no dose, meal or drive may rest on it. It knows what was "
    "measured and written down before, not what is eaten, injected or done from now on."
)
CLOCKS = {
    "local": "local time",
    "device": "the clock of the export",
    "utc": "UTC; the recording does not say its local time",
}
# The same where there is no room for a sentence.
CLOCKS_UNDER_AXIS = {"local": "local time", "device": "clock of the export", "utc": "UTC"}


def record(
    outlook: Outlook,
    shown: tuple[NDArray[np.float64], NDArray[np.float64]],
    *,
    modality: str,
    unit: str,
    clock: str = "local",
    dates: bool = True,
    source: str = "",
    notes: Sequence[str] = (),
    within: Sequence[Within] = (),
) -> dict[str, Any]:
    """All of it as numbers and words that JSON has.

    Args:
        shown: Readings before now: times on the person's own clock, in seconds, and values.
        clock: Of `CLOCKS`.
        dates: False tells times by minutes from the newest reading alone.
        source: What was read: a format or cohort, never a name or path.
        notes: What should be known of how it was read.
        within: Chances of a head of risks, for each horizon; nothing stands of them where there is none.
    """
    name = _moment if dates else lambda _: None
    ahead = [_ahead(one, outlook, name(one.time_s)) for one in outlook.ahead]
    for told, one in zip(ahead, within, strict=bool(within)):
        _add_within(told, one, [event.name for event in outlook.events])
    return {
        "version": VERSION,
        "source": source,
        "modality": modality,
        "unit": unit,
        "clock": clock if dates else None,
        "newest": {"time": name(outlook.now_s), "value": _rounded(outlook.reading), "age_min": _minutes(outlook.age_s)},
        "levels": list(outlook.levels),
        "promised": PROMISED,
        "own_interval_learned": outlook.learned,
        "lately_days": LATELY_S / DAY_S,
        "events": [{"name": e.name, "threshold": e.threshold, "below": e.below} for e in outlook.events],
        "ahead": ahead,
        "readings": [
            {"min": _minutes(at - outlook.now_s), "value": _rounded(value)}
            for at, value in zip(*(column.tolist() for column in shown), strict=True)
            if -SHOWN_S <= at - outlook.now_s <= 0
        ],
        "notes": list(notes),
        "caution": NO_ADVICE,
    }


def lines(told: Mapping[str, Any]) -> list[str]:
    """A `record` for a person to read."""
    return [
        newest(told),
        *(sentence(told, one) for one in told["ahead"]),
        *trust(told),
        *(f"note: {one}" for one in told["notes"]),
        NO_ADVICE,
    ]


def newest(told: Mapping[str, Any]) -> str:
    """Where the forecast starts, in a sentence."""
    one = told["newest"]
    age = f", {one['age_min']:g} min old" if one["age_min"] else ""
    at = f" at {one['time'].replace('T', ' ')} ({CLOCKS[told['clock']]})" if one["time"] else ""
    return f"newest reading: {one['value']:.0f} {told['unit']}{at}{age}; times ahead are counted from it"


def sentence(told: Mapping[str, Any], one: Mapping[str, Any]) -> str:
    """One horizon of a `record` in words."""
    clock = f" ({one['time'][-5:]})" if one["time"] else ""
    risks = [f"{name}: {chance(share)}" for name, share in chances(one).items()]
    asked = ""
    if risks and "within" in one:
        asked = f". Chance that a reading until then is {'; '.join(risks)}"
    elif risks:
        asked = f". Chance of {'; of '.join(risks)}"
    return (
        f"In {one['min']:g} min{clock}: about {one['point']:.0f} {told['unit']}; {10 * told['promised']:g} times in 10 "
        f"between {one['low']:.0f} and {one['high']:.0f}{asked}."
    )


def trust(told: Mapping[str, Any]) -> list[str]:
    """How far to trust it, a line each."""
    promised, days = f"{told['promised']:.0%}".replace("%", " %"), f"the last {told['lately_days']:g} days"
    found = [
        f"In {days} the {promised} interval held in {one['lately']['held'] * 100:.0f} % of "
        f"{one['lately']['forecasts']} forecasts {one['min']:g} min ahead (promised: {promised}); "
        f"mean error {one['lately']['mean_error']:.0f} {told['unit']}."
        for one in told["ahead"]
        if one["lately"]["forecasts"]
    ] or [f"In {days} no forecast has come true yet that could say how far to trust this one."]
    found += [_came(told, event["name"]) for event in told["events"] if "within" in told["ahead"][0]]
    if not told["own_interval_learned"]:
        found.append("There is less than a day of readings: the interval is that of other people, not learned yet.")
    return found


def chances(one: Mapping[str, Any]) -> Mapping[str, float | None]:
    """Of one horizon of a `record`: at any reading up to it where a head says so, else at the very horizon."""
    return one["within"] if "within" in one else one["chances"]


def came(one: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    """How often each event should have come by `chances` told lately, and did."""
    return one["lately"]["within"] if "within" in one else one["lately"]["events"]


def chance(share: float | None) -> str:
    """A probability in words; its last percent at either end is not claimed, and nothing of what is there already."""
    if share is None:
        return "it is now"
    return "under 1 %" if share < 0.01 else "over 99 %" if share > 0.99 else f"{100 * share:.0f} %"


def _came(told: Mapping[str, Any], name: str) -> str:
    """Of one event: what the chances that were told add up to, and what came, in a sentence."""
    each = [
        f"{count['expected']:.1f} of {count['moments']} moments within {one['min']:g} min (it did {count['came']})"
        for one, count in ((one, came(one)[name]) for one in told["ahead"])
        if count["moments"]
    ]
    days = f"the last {told['lately_days']:g} days"
    if not each:
        return f"In {days} no chance of a reading {name} has come due yet."
    return f"By the chances told in {days} a reading {name} should have followed {', '.join(each)}."


def _add_within(told: dict[str, Any], one: Within, names: Sequence[str]) -> None:
    share = [None if np.isnan(value) else round(value, 4) for value in one.chances]
    told["within"] = dict(zip(names, share, strict=True))
    told["lately"]["within"] = {
        name: {"moments": moments, "expected": round(expected, 1), "came": came}
        for name, moments, expected, came in zip(names, one.moments, one.expected, one.came, strict=True)
    }


def _ahead(one: Ahead, outlook: Outlook, time: str | None) -> dict[str, Any]:
    names = [event.name for event in outlook.events]
    lately = one.lately
    return {
        "min": _minutes(one.horizon_s),
        "time": time,
        "point": _rounded(one.point),
        "low": _rounded(one.low),
        "high": _rounded(one.high),
        "quantiles": [_rounded(value) for value in one.quantiles],
        "chances": {name: round(share, 4) for name, share in zip(names, one.chances, strict=True)},
        "own_shift": _rounded(one.shift),
        "lately": {
            "forecasts": lately.forecasts,
            "held": _rounded(lately.held),
            "mean_error": _rounded(lately.mean_error),
            "events": {
                name: {"expected": round(expected, 1), "came": came}
                for name, expected, came in zip(names, lately.expected, lately.came, strict=True)
            },
        },
    }


def _moment(time_s: float) -> str:
    return str(np.datetime64(round(time_s), "s").astype("datetime64[m]"))


def _minutes(seconds: float) -> float:
    return round(seconds / 60, 1)


def _rounded(value: float) -> float | None:
    """A tenth; None for what is not known."""
    return round(float(value), 3 if abs(value) < 1 else 1) if np.isfinite(value) else None
