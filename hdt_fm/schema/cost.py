"""What a run spent: hours always, energy where it was metered and else why not, carbon and money where asked for."""

from collections.abc import Iterable, Sequence
from typing import Annotated

from pydantic import Field

from hdt_fm.schema.preparation import Plain

Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Cost(Plain):
    """Of one session, or of several added up.

    Attributes:
        hours: By the wall, from the first line of the verb to its record.
        cpu_hours: Of processor, this process and those that it waited for; None where no record says.
        sessions: How many starts these numbers are of: a run that was interrupted and goes on adds up.
        processes: As torchrun started them; processor time and energy are then of the first one.
        device_hours: Hours times processes, which is what a rented device is paid by.
        kwh: Energy of the metered hours, overhead of the building (`pue`) included; None where nothing was metered.
        metered_hours: How much of `hours` the energy is of.
        parts: kWh by part: cpu, gpu, memory.
        how: What metered it, and what of that is an estimate.
        reason: Why energy is not known, of all hours or of some.
        kg_co2e: Carbon of that energy, by a yearly mean of `country`; None where no country was told.
        country: ISO code of three letters, as it was told: never looked up.
        pue: Energy of the building for each unit of energy of its computers.
        money: What it comes to by the prices that were told; None where a price or what it is multiplied by is missing.
        missing: What these numbers do not hold, in words.
    """

    hours: Amount
    cpu_hours: Amount | None = None
    sessions: int = Field(default=1, ge=1)
    processes: int = Field(default=1, ge=1)
    device_hours: Amount = 0.0
    kwh: Amount | None = None
    metered_hours: Amount = 0.0
    parts: dict[str, float] = {}
    how: str = ""
    reason: str = ""
    kg_co2e: Amount | None = None
    country: str | None = None
    pue: float = Field(default=1.0, ge=1, allow_inf_nan=False)
    money: Amount | None = None
    currency: str | None = None
    missing: str = ""


def added_up(costs: Sequence[Cost]) -> Cost:
    """Several costs as one. What is known of some only is told of those (energy, with its hours), or not at all
    (processor time, carbon, money), as a sum with a hole would read like the whole.

    Args:
        costs: At least one.
    """
    if len(costs) == 1:
        return costs[0]
    metered = [one for one in costs if one.kwh is not None]
    currencies = {one.currency for one in costs}
    return Cost(
        hours=_sum(one.hours for one in costs),
        cpu_hours=_whole([one.cpu_hours for one in costs]),
        sessions=sum(one.sessions for one in costs),
        processes=max(one.processes for one in costs),
        device_hours=_sum(one.device_hours for one in costs),
        kwh=_whole([one.kwh for one in metered]),
        metered_hours=_sum(one.metered_hours for one in metered),
        parts={name: _sum(one.parts.get(name, 0.0) for one in metered) for name in _distinct(metered)},
        how=_told(one.how for one in metered),
        reason=_told(one.reason for one in costs),
        kg_co2e=_whole([one.kg_co2e for one in metered]),
        country=_told((one.country or "" for one in metered), ", ") or None,
        pue=max(one.pue for one in metered or costs),
        money=_whole([one.money for one in costs]) if len(currencies) == 1 else None,
        currency=currencies.pop() if len(currencies) == 1 else None,
        missing=_told(one.missing for one in costs),
    )


def _whole(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return _sum(known) if known and len(known) == len(values) else None


def _sum(values: Iterable[float]) -> float:
    """Without the digits that adding in twos makes up."""
    return round(sum(values, 0.0), 9)


def _distinct(costs: Sequence[Cost]) -> list[str]:
    return list(dict.fromkeys(name for one in costs for name in one.parts))


def _told(texts: Iterable[str], by: str = "; ") -> str:
    """Each text once, in order."""
    return by.join(dict.fromkeys(text for text in texts if text))
