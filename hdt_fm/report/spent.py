"""What the runs behind a model spent, by verb, in words and numbers that every document says alike."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from hdt_fm.schema.cost import Cost, added_up
from hdt_fm.schema.result import RunRecord

NOT_MEASURED = "not measured"
OLDER = "the record is older than metering"
# The hub's words for kinds of training; emissions of other verbs do not stand in its header.
TRAINING = {"pretrain": "pre-training", "finetune": "fine-tuning"}
HEADER = ("verb", "starts", "hours", "processor hours", "kWh", "metered hours", "kg CO2e", "money")
GRAMS_IN_KG = 1000


@dataclass(frozen=True)
class Spent:
    """All runs of one verb that led to the model."""

    verb: str
    cost: Cost


def cost_of(record: RunRecord) -> Cost:
    """What a record says; of an older one its seconds, and why there is no more."""
    return record.cost or Cost(hours=record.seconds / 3600, device_hours=record.seconds / 3600, reason=OLDER)


def by_verb(records: Sequence[RunRecord]) -> tuple[Spent, ...]:
    """Each verb once, in the order of the records."""
    verbs = dict.fromkeys(record.verb for record in records)
    return tuple(
        Spent(verb, added_up([cost_of(record) for record in records if record.verb == verb])) for verb in verbs
    )


def whole(records: Sequence[RunRecord]) -> Cost:
    """All of them together."""
    return added_up([cost_of(record) for record in records]) if records else Cost(hours=0.0)


def lines(records: Sequence[RunRecord]) -> list[tuple[str, ...]]:
    """A line of text cells a verb under `HEADER`, then all of them."""
    every = [*by_verb(records), Spent("all", whole(records))]
    return [
        (
            one.verb,
            str(one.cost.sessions),
            f"{one.cost.hours:.4g}",
            _number(one.cost.cpu_hours),
            _number(one.cost.kwh),
            _number(one.cost.metered_hours if one.cost.kwh is not None else None),
            _number(one.cost.kg_co2e),
            "not told" if one.cost.money is None else f"{one.cost.money:.4g} {one.cost.currency}",
        )
        for one in every
    ]


def notes(records: Sequence[RunRecord]) -> Iterator[str]:
    """What measured, what of that is an estimate, and why something was not measured."""
    spent, total = by_verb(records), whole(records)
    if total.how:
        yield f"Measured by {total.how}. PUE {total.pue:g}."
    if total.country:
        yield f"Carbon by the yearly mean of the electricity of {total.country}, which was told and not looked up."
    elif total.kwh is not None:
        yield f"Carbon {NOT_MEASURED}: the country of the electricity was not told (cost.country)."
    for one in spent:
        if one.cost.reason:
            held = "energy of some hours" if one.cost.kwh is not None else "energy"
            yield f"`{one.verb}`, {held} {NOT_MEASURED}: {one.cost.reason}."
        if one.cost.missing:
            yield f"`{one.verb}`, not in these numbers: {one.cost.missing}."


def emissions(records: Sequence[RunRecord]) -> dict[str, Any] | None:
    """`co2_eq_emissions` of the hub's header, in grams, of the training; None where that is not known."""
    trained = [one for one in by_verb(records) if one.verb in TRAINING]
    if not trained:
        return None
    cost = added_up([one.cost for one in trained])
    if cost.kg_co2e is None or not cost.country:
        return None
    return {
        "emissions": round(cost.kg_co2e * GRAMS_IN_KG, 6),
        "source": cost.how,
        "training_type": ", ".join(TRAINING[one.verb] for one in trained if one.cost.kg_co2e is not None),
        "geographical_location": cost.country,
    }


def energy_said(records: Sequence[RunRecord]) -> str:
    """Energy in one sentence."""
    total = whole(records)
    if total.kwh is None:
        return f"energy {NOT_MEASURED}: {total.reason or 'no reason given'}"
    return f"energy measured over {total.metered_hours:.3g} of {total.hours:.3g} hours: {total.kwh:.3g} kWh"


def _number(value: float | None) -> str:
    return NOT_MEASURED if value is None else f"{value:.4g}"
