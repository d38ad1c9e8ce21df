"""Costs add up without a hole that reads like a whole."""

import pytest
from pydantic import ValidationError

from hdt_fm.schema.cost import Cost, added_up
from hdt_fm.schema.result import RunRecord

METERED = Cost(
    hours=2.0,
    cpu_hours=3.0,
    device_hours=2.0,
    kwh=0.5,
    metered_hours=1.9,
    parts={"cpu": 0.3, "gpu": 0.0, "memory": 0.2},
    how="codecarbon",
    kg_co2e=0.1,
    country="SWE",
    pue=1.2,
    money=0.15,
    currency="EUR",
)


def test_sessions_add_up() -> None:
    both = added_up([METERED, METERED.model_copy(update={"hours": 1.0, "kwh": 0.25, "processes": 4})])
    assert (both.hours, both.cpu_hours, both.kwh, both.metered_hours) == (3.0, 6.0, 0.75, 3.8)
    assert both.parts == {"cpu": 0.6, "gpu": 0.0, "memory": 0.4}
    assert (both.sessions, both.processes, both.kg_co2e, both.money) == (2, 4, 0.2, 0.3)
    assert (both.how, both.country, both.pue, both.currency) == ("codecarbon", "SWE", 1.2, "EUR")
    assert added_up([METERED]) is METERED


def test_what_is_known_of_some_is_told_of_those_or_not_at_all() -> None:
    silent = Cost(hours=1.0, reason="too short", country=None)
    both = added_up([METERED, silent])
    assert (both.hours, both.kwh, both.metered_hours, both.reason) == (3.0, 0.5, 1.9, "too short")
    assert (both.cpu_hours, both.money, both.currency) == (None, None, None)
    assert both.kg_co2e == 0.1, "of the metered hours, as the energy is"
    abroad = METERED.model_copy(update={"country": "NOR", "kg_co2e": None, "currency": "NOK"})
    mixed = added_up([METERED, abroad])
    assert (mixed.country, mixed.kg_co2e, mixed.money) == ("SWE, NOR", None, None)
    assert added_up([silent, silent]).kwh is None


@pytest.mark.parametrize("wrong", [{"hours": -1.0}, {"hours": float("nan")}, {"kwh": float("inf")}, {"pue": 0.5}])
def test_a_cost_that_cannot_be_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Cost(**{"hours": 1.0, **wrong})


def test_records_older_than_costs_still_load() -> None:
    old = RunRecord.model_validate_json('{"verb": "pretrain", "name": "x", "outputs": {}, "seconds": 1.5}')
    assert old.cost is None
    again = RunRecord.model_validate_json(old.model_copy(update={"cost": METERED}).model_dump_json())
    assert again.cost == METERED
