"""What runs spent, as every document of a published folder says it; the same facts give the same bytes."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from hdt_fm.report.check import by_rule, check
from hdt_fm.report.documents import readme, sbom, tripod
from hdt_fm.report.facts import Facts
from hdt_fm.report.publish import assemble
from hdt_fm.report.spent import OLDER, by_verb, cost_of, emissions, lines, notes, whole
from hdt_fm.schema.cost import Cost
from hdt_fm.schema.result import RunRecord

Inputs = Callable[..., dict[str, Any]]
TRAINED = Cost(
    hours=2.0,
    cpu_hours=3.5,
    sessions=3,
    device_hours=2.0,
    kwh=0.5,
    metered_hours=1.875,
    parts={"cpu": 0.4, "gpu": 0.0, "memory": 0.1},
    how="codecarbon 3.3.2 of this process: processor estimated from load, memory estimated",
    kg_co2e=0.02,
    country="SWE",
    pue=1.2,
    money=0.15,
    currency="EUR",
)
SHORT = Cost(hours=0.25, cpu_hours=0.5, device_hours=0.25, reason="over before the meter runs", missing="one session")


@pytest.fixture
def metered(records: tuple[RunRecord, ...]) -> tuple[RunRecord, ...]:
    """Pretraining that was metered in three starts, an evaluation that was not."""
    return tuple(one.model_copy(update={"cost": cost}) for one, cost in zip(records, (TRAINED, SHORT), strict=True))


def test_a_line_a_verb_and_one_of_all(metered: tuple[RunRecord, ...]) -> None:
    twice = (*metered, metered[1])
    assert [(one.verb, one.cost.hours) for one in by_verb(twice)] == [("pretrain", 2.0), ("evaluate", 0.5)]
    assert lines(twice) == [
        ("pretrain", "3", "2", "3.5", "0.5", "1.875", "0.02", "0.15 EUR"),
        ("evaluate", "2", "0.5", "1", *["not measured"] * 3, "not told"),
        ("all", "5", "2.5", "4.5", "0.5", "1.875", "0.02", "not told"),
    ]
    assert list(notes(metered)) == [
        f"Measured by {TRAINED.how}. PUE 1.2.",
        "Carbon by the yearly mean of the electricity of SWE, which was told and not looked up.",
        "`evaluate`, energy not measured: over before the meter runs.",
        "`evaluate`, not in these numbers: one session.",
    ]


def test_an_older_record_says_its_seconds_and_why_there_is_no_more(records: tuple[RunRecord, ...]) -> None:
    old = cost_of(records[0])
    assert (old.hours, old.kwh, old.cpu_hours, old.reason) == (1834.25 / 3600, None, None, OLDER)
    assert whole(()).hours == 0.0


def test_the_card_has_the_table_and_the_hubs_header_the_carbon(
    facts: Facts, metered: tuple[RunRecord, ...], tmp_path: Path
) -> None:
    (tmp_path / "README.md").write_text(readme.make(dataclasses.replace(facts, records=metered)))
    card = (tmp_path / "README.md").read_text()
    assert "2.250 hours of wall time over the runs above; energy measured over 1.88 of 2.25 hours: 0.5 kWh." in card
    assert "| pretrain | 3 | 2 | 3.5 | 0.5 | 1.875 | 0.02 | 0.15 EUR |" in card
    assert "- `evaluate`, energy not measured: over before the meter runs." in card
    assert ModelCard.load(tmp_path / "README.md").data.to_dict()["co2_eq_emissions"] == {
        "emissions": 20.0,
        "source": TRAINED.how,
        "training_type": "pre-training",
        "geographical_location": "SWE",
    }
    silent = readme.make(facts)
    assert "co2_eq_emissions" not in silent
    assert "| pretrain | 1 | 0.5095 | not measured | not measured | not measured | not measured | not told |" in silent
    assert f"- `pretrain`, energy not measured: {OLDER}." in silent


def test_carbon_of_half_a_training_is_not_told(metered: tuple[RunRecord, ...]) -> None:
    assert emissions(metered[1:]) is None, "an evaluation is no training"
    unknown = TRAINED.model_copy(update={"kg_co2e": None, "country": None})
    assert emissions((metered[0].model_copy(update={"cost": unknown}),)) is None
    both = (metered[0], metered[0].model_copy(update={"verb": "finetune"}))
    told = emissions(both)
    assert told is not None
    assert (told["emissions"], told["training_type"]) == (40.0, "pre-training, fine-tuning")
    half = (*both, metered[0].model_copy(update={"verb": "finetune", "cost": unknown}))
    assert emissions(half) is None
    assert "the country of the electricity was not told" in " ".join(notes((half[2],)))


def test_the_documents_for_machines_and_the_items(facts: Facts, metered: tuple[RunRecord, ...]) -> None:
    told = dataclasses.replace(facts, records=metered)
    (card,) = [json.loads(sbom.make(told))["metadata"]["component"]["modelCard"]]
    environment = card["considerations"]["environmentalConsiderations"]
    (used,) = environment["energyConsumptions"]
    assert (used["activity"], used["activityEnergyCost"]) == ("training", {"value": 0.5, "unit": "kWh"})
    assert used["co2CostEquivalent"] == {"value": 2e-5, "unit": "tCO2eq"}
    own = {one["name"]: one["value"] for one in environment["properties"]}
    assert own["hdt_fm:wall_time_hours"] == "2.250"
    assert own["hdt_fm:pretrain:money"] == "0.15 EUR"
    assert own["hdt_fm:evaluate:reason"] == "over before the meter runs"
    assert "energy measured over 1.88 of 2.25 hours" in tripod.make(told)
    assert f"energy not measured: {OLDER}" in tripod.make(facts)
    silent = json.loads(sbom.make(facts))["metadata"]["component"]["modelCard"]["considerations"]
    assert "energyConsumptions" not in silent["environmentalConsiderations"]
    energy = {one["name"]: one["value"] for one in silent["environmentalConsiderations"]["properties"]}["hdt_fm:energy"]
    assert energy == f"energy not measured: {OLDER}"


def test_a_folder_with_costs_is_whole_and_the_same_bytes_again(
    checkpoint: Path, publish_inputs: Inputs, metered: tuple[RunRecord, ...], tmp_path: Path
) -> None:
    one, two = (assemble(checkpoint, **publish_inputs(records=metered), folder=tmp_path / name) for name in "ab")
    assert check(one) == []
    assert {path.name: path.read_bytes() for path in one.iterdir()} == {
        path.name: path.read_bytes() for path in two.iterdir()
    }
    assert json.loads((one / "provenance.json").read_text())["records"][0]["cost"]["kwh"] == 0.5


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"hours": 0.0}, "pretrain states no hours"),
        ({"kwh": None}, "neither kWh nor why"),
        ({"kwh": None, "reason": " "}, "neither kWh nor why"),
        ({"how": ""}, "not what measured it"),
        ({"metered_hours": 0.0}, "not what measured it"),
        ({"country": None}, "a country that it does not name"),
    ],
)
def test_what_a_record_must_say(
    published: Path, resum: Callable[[Path], Path], change: dict[str, Any], words: str
) -> None:
    path = published / "provenance.json"
    told = json.loads(path.read_text())
    assert by_rule(published)["cost told"] == []
    told["records"][0]["cost"] = TRAINED.model_dump() | change
    path.write_text(json.dumps(told))
    (said,) = by_rule(resum(published))["cost told"]
    assert words in said
