"""What a twin says of its exposures, in words; the numbers are worked out by whoever has the accumulators."""

from collections.abc import Mapping
from typing import Any

NOTHING = "exposures: none"
OWN_SPREAD = "intervals are of days that were not seen, by how far this person's days lie apart"
NO_CAUSE = "what goes with a dose within people at the same time of the year; no proof that the one makes the other"
TOO_LITTLE = "not told: too little was seen"


def words(told: Mapping[str, Any] | None) -> list[str]:
    """Of a record of doses, for a person to read."""
    if told is None:
        return [NOTHING]
    at = f"at the end of {told['as_of']}" if told["as_of"] else "at the end of the newest day"
    lines = [f"exposures, {at} ({OWN_SPREAD}):"]
    for one in told["exposures"]:
        behind = f", {one['days_behind']} days behind" if one["days_behind"] else ""
        head = f"  {one['label']}, {one['unit']} ({one['days_known']} days known of {one['days_kept']}{behind})"
        if all(dose["value"] is None for dose in one["doses"]):
            lines.append(f"{head}: no dose is told, since too little was seen of late")
            continue
        lines.append(head)
        lines += [f"    mean that fades over {dose['time_constant_d']:g} d: {_dose(dose)}" for dose in one["doses"]]
    return [*lines, *(_law(told["law"]) if told["law"] is not None else [])]


def number(told: Mapping[str, Any], unit: str = "") -> str:
    """A value with its 95 % interval."""
    value, behind = f"{told['value']:.4g}", f" {unit}" if unit else ""
    if told["low"] is None or told["high"] is None:
        return f"{value}{behind} (no interval: the data do not say)"
    return f"{value}{behind} [{told['low']:.4g}, {told['high']:.4g}]"


def _dose(dose: Mapping[str, Any]) -> str:
    seen = f"{100 * dose['seen']:.0f} % seen"
    return f"{TOO_LITTLE} ({seen})" if dose["value"] is None else f"{number(dose)}, {seen}"


def _law(law: Mapping[str, Any]) -> list[str]:
    of = f"the next day's {law['outcome']}" if law["next_day"] else law["outcome"]
    unit = law["outcome_unit"]
    lines = [f"law of {of}, learned from {law['people']} people: {law['verdict']}"]
    for one in law["exposures"]:
        tau = number(one["time_constant_d"], "d")
        lines.append(f"  {one['kind']}: dose {_dose(one)}, in {one['unit']}; fades over {tau}; {one['verdict']}")
    if law["effect"] is None:
        return [*lines, "  its effect is not told: too little was seen of what it asks for"]
    of_law = "" if law["reliable"] else "; NO RELIABLE EFFECT, so this number is the law's and nothing to go by"
    said = f"by the law {of} is {_signed(law['effect'], unit)} from where the middle dose of those who taught has it"
    return [*lines, f"  {said}{of_law}", f"  {NO_CAUSE}"]


def _signed(effect: Mapping[str, Any], unit: str) -> str:
    return f"{effect['value']:+.3g} {unit} [{effect['low']:+.3g}, {effect['high']:+.3g}]"
