"""What a twin says of its exposures, in words; the numbers are worked out by whoever has the accumulators."""

from collections.abc import Mapping, Sequence
from typing import Any

NOTHING = "exposures: none"
OWN_SPREAD = "intervals are of days that were not seen, by how far this person's days lie apart"
NO_CAUSE = "what goes with a dose within people at the same time of the year; no proof that the one makes the other"
MADE_OF = "behind each the shares of its weight that days have by their age"
ADD_UP = "each against its middle dose while the others are at theirs; they add up to it and are told without intervals"
TOO_LITTLE = "not told: too little was seen"


def words(told: Mapping[str, Any] | None) -> list[str]:
    """Of a record of doses, for a person to read."""
    if told is None:
        return [NOTHING]
    at = f"at the end of {told['as_of']}" if told["as_of"] else "at the end of the newest day"
    lines = [f"exposures, {at} ({OWN_SPREAD}; {MADE_OF}):"]
    for one in told["exposures"]:
        behind = f", {one['days_behind']} days behind" if one["days_behind"] else ""
        head = f"  {one['label']}, {one['unit']} ({one['days_known']} days known of {one['days_kept']}{behind})"
        if all(dose["value"] is None for dose in one["doses"]):
            lines.append(f"{head}: no dose is told, since too little was seen of late")
            continue
        lines.append(head)
        lines += [
            f"    mean that fades over {dose['time_constant_d']:g} d: {_dose(dose)}{_shares(dose['parts'])}"
            for dose in one["doses"]
        ]
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


def _shares(parts: Sequence[Mapping[str, Any]] | None) -> str:
    return f": {', '.join(f'{_days(part)} {_percent(part)}' for part in parts)}" if parts else ""


def _levels(parts: Sequence[Mapping[str, Any]], unit: str) -> str:
    """Means of the days and shares, not the products of both: a day of frost takes nothing from a dose."""
    said = [
        f"{_days(part)} {part['value'] / part['weight']:.4g} ({_percent(part)})"
        if part["weight"]
        else f"{_days(part)} nothing"
        for part in parts
    ]
    return f"    mean of its days, in {unit}, and their share: {', '.join(said)}"


def _days(part: Mapping[str, Any]) -> str:
    return str(part["days"]).replace("_", " ")


def _percent(part: Mapping[str, Any]) -> str:
    percent = 100 * part["weight"]
    return f"{percent:.0f} %" if percent >= 0.5 or not percent else "less than 1 %"


def _law(law: Mapping[str, Any]) -> list[str]:
    of = f"the next day's {law['outcome']}" if law["next_day"] else law["outcome"]
    unit = law["outcome_unit"]
    lines = [f"law of {of}, learned from {law['people']} people: {law['verdict']}"]
    for one in law["exposures"]:
        tau = number(one["time_constant_d"], "d")
        middle = f"in {one['unit']}; middle dose {one['middle_dose']:.4g}"
        lines.append(f"  {one['kind']}: dose {_dose(one)}, {middle}; fades over {tau}; {one['verdict']}")
        lines += [_levels(one["parts"], one["unit"])] if one["parts"] else []
    if law["effect"] is None:
        return [*lines, "  its effect is not told: too little was seen of what it asks for"]
    of_law = "" if law["reliable"] else "; NO RELIABLE EFFECT, so this number is the law's and nothing to go by"
    said = f"by the law {of} is {_signed(law['effect'], unit)} from where the middle dose of those who taught has it"
    return [*lines, f"  {said}{of_law}", *_made_of(law), f"  {NO_CAUSE}"]


def _made_of(law: Mapping[str, Any]) -> list[str]:
    """The effect, by exposures and pairs of them; of one alone it is all."""
    if len(law["parts"]) < 2:
        return []
    firm = {one["kind"]: one["reliable"] for one in law["exposures"]}
    said = []
    for part in law["parts"]:
        kinds, value = part["of"], f"{part['value']:+.3g} {part['unit']}".rstrip()
        if len(kinds) > 1:
            said.append(f"{value} by {kinds[0]} with {kinds[1]}, beyond what each does alone")
        else:
            said.append(f"{value} by {kinds[0]}{'' if firm[kinds[0]] else ' (not reliable)'}")
    return [f"  that is {', '.join(said)} ({ADD_UP})"]


def rows_of_parts(told: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """What all doses and the effect are made of, as a table: of what, unit, by whom it is told, time constant in days,
    part, value, share of the weight."""
    law = told["law"]
    found: list[tuple[Any, ...]] = []
    for one in told["exposures"]:
        for dose in one["doses"]:
            found += _rows(one, "leaky mean", dose["time_constant_d"], dose)
    for one in law["exposures"] if law else ():
        found += _rows(one, "law", one["time_constant_d"]["value"], one)
    for part in (law["parts"] or ()) if law else ():
        of = f"law; {law['verdict']}"
        found.append(
            (f"effect on {law['outcome']}", part["unit"], of, "", " with ".join(part["of"]), part["value"], "")
        )
    return found


def _rows(one: Mapping[str, Any], by: str, tau: float, dose: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    parts = dose["parts"] or ()
    return [(one["kind"], one["unit"], by, tau, part["days"], part["value"], part["weight"]) for part in parts]


def _signed(effect: Mapping[str, Any], unit: str) -> str:
    return f"{effect['value']:+.3g} {unit} [{effect['low']:+.3g}, {effect['high']:+.3g}]"
