"""What was learned of exposures, in words."""

from collections.abc import Mapping
from typing import Any

from hdt_fm.evaluation.evolve.dose_folds import METRIC
from hdt_fm.twin.state.exposures_told import NO_CAUSE, number

NUMBERS = "numbers of a law without a reliable effect, to look at and not to go by:"
WRONG_FORM = "the data speak against this form of the law: try others (forms=, pairs=), or do not trust its numbers"


def lines(told: Mapping[str, Any]) -> list[str]:
    """For a person to read."""
    of = f"the next day's {told['outcome']}" if told["next_day"] else told["outcome"]
    forms = ", ".join(f"{one['kind']} ({one['form']})" for one in told["exposures"])
    unit = f" ({told['outcome_unit']})" if told["outcome_unit"] else ""
    found = [
        f"{of}{unit} by doses of {forms}",
        f"learned from {told['people']} people with {told['days']} days, compared with themselves alone; "
        f"season: {told['season']}",
        f"VERDICT: {told['verdict']}",
    ]
    for one in told["exposures"]:
        found.append(f"  {one['kind']}: {_verdict(told['verdicts'][one['kind']])}")
    if not told["reliable"]:
        found.append(NUMBERS)
    found += [f"{one['name']}: {number(one, one['unit'])}" for one in told["numbers"]]
    found.append(f"chance that as much were left over if the form of the law were right: {_chance(told['misfit'])}")
    if told["wrong_form"]:
        found.append(f"  {WRONG_FORM}")
    if told["explained"]:
        found.append(f"{METRIC} (folds of people):")
        found += [f"  {one['model']}: {_percent(one)}" for one in told["explained"]]
    return [*found, *(f"note: {one}" for one in told["notes"]), NO_CAUSE]


def _verdict(one: Mapping[str, Any]) -> str:
    chances = {
        "by placebo in this table": one["p_in_table"],
        "the days after": one["p_days_after"],
        "if it did nothing beside the others": one["chance"],
    }
    said = ", ".join(f"p {what} {_chance(value)}" for what, value in chances.items() if value is not None)
    return f"{one['verdict']} ({said or 'not asked'}; {one['people']} people, {one['days']} days)"


def _chance(value: float) -> str:
    return f"{value:.2g}"


def _percent(row: Mapping[str, Any]) -> str:
    sides = "" if row["low"] is None else f" [{row['low']:.1f}, {row['high']:.1f}]"
    return f"{row['value']:.1f} %{sides}"
