"""Each document by its own reader, by hand, and against the records; the same facts give the same bytes."""

import dataclasses
import importlib.util
import json
import os
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from hdt_fm.report.documents import DOCUMENTS, chai, citation, croissant, licence, sbom, tripod
from hdt_fm.report.documents.chai_shape import NAMESPACE
from hdt_fm.report.facts import Facts
from hdt_fm.schema.cost import Cost
from hdt_fm.schema.result import RunRecord

NEEDS = {
    "mlcroissant": pytest.mark.skipif(
        importlib.util.find_spec("mlcroissant") is None, reason="mlcroissant (extra dev) is not installed"
    ),
    "cyclonedx": pytest.mark.skipif(
        importlib.util.find_spec("cyclonedx") is None, reason="cyclonedx-python-lib (extra dev) is not installed"
    ),
}


def changed(facts: Facts, **card: Any) -> Facts:
    return dataclasses.replace(facts, card=facts.card.model_copy(update=card))


def test_the_table_lists_every_module_of_the_room_that_makes_a_file(facts: Facts, repo: Path) -> None:
    room = repo / "hdt_fm" / "report" / "documents"
    makers = [path for path in room.glob("*.py") if "\nNAME = " in path.read_text()]
    assert len(DOCUMENTS) == len(makers) == 7
    text = (room / "README.md").read_text()
    for path in room.glob("[a-z]*.py"):
        assert f"`{path.name}`" in text
    for name, make in DOCUMENTS.items():
        assert make(facts) == make(facts), name
        assert make(facts).endswith("\n"), name


def test_the_chai_card_is_well_formed_and_has_what_it_must(facts: Facts) -> None:
    text = chai.make(changed(facts, risks=("a < b & c\x00",)))
    assert list(chai.problems(text)) == []
    root = ElementTree.fromstring(text)
    assert said(root, "Warnings/KnownRisksAndLimitations").startswith("a < b & c\n")
    useful, safe = "KeyMetrics/UsefulnessUsabilityEfficacy", "KeyMetrics/SafetyReliability"
    first = json.loads(said(root, f"{useful}/Results/MetricResult/ValueJson"))
    assert (first["kind"], first["estimate"], first["level"]) == ("estimate_ci", 0.7654321, 0.95)
    assert said(root, f"{useful}/Interpretation").startswith("1 of 2 leading numbers")
    assert json.loads(said(root, f"{safe}/Results/MetricResult/ValueJson"))["value"] is None
    assert "Too few people" in said(root, f"{safe}/Interpretation")


def said(root: ElementTree.Element, path: str) -> str:
    return root.findtext("/".join(f"{{{NAMESPACE}}}{part}" for part in path.split("/"))) or ""


def test_the_chai_card_is_valid_by_its_public_schema(facts: Facts) -> None:
    schema = os.environ.get("HDT_FM_CHAI_SCHEMA")
    if not schema:
        pytest.skip("HDT_FM_CHAI_SCHEMA does not name v0.2/schema.xsd of coalition-for-health-ai/mc-schema")
    xmlschema = pytest.importorskip("xmlschema", reason="pip install xmlschema")
    # The signature's own schema lies on another server; our cards have none.
    text = Path(schema).read_text()
    for line in (r"<xs:import[^>]*/>", r'<xs:element ref="ds:Signature"[^>]*/>'):
        text = re.sub(line, "", text)
    public = xmlschema.XMLSchema(text)
    public.validate(chai.make(facts))
    with pytest.raises(xmlschema.XMLSchemaValidationError):
        public.validate(chai.make(facts).replace("ModelSummary>", "Summaries>"))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("<ReleaseStage>research</ReleaseStage>", "<ReleaseStage> </ReleaseStage>", "ReleaseStage should hold text"),
        ("<ReleaseStage>research</ReleaseStage>", "", "ReleaseInfo lacks ReleaseStage"),
        ("<BasicInfo>", "<Signature/><BasicInfo>", "do not belong there"),
        ("v0.2/schema.xsd", "v0.1/schema.xsd", "another root element"),
        ("</BasicInfo>", "</Basic>", "not well-formed"),
        ('<?xml version="1.0" encoding="UTF-8"?>', '<!DOCTYPE a [<!ENTITY b SYSTEM "c">]>', "document type"),
    ],
)
def test_a_chai_card_that_lacks_a_field_is_found(facts: Facts, old: str, new: str, words: str) -> None:
    text = chai.make(facts)
    assert old in text
    (problem,) = chai.problems(text.replace(old, new))
    assert words in problem


def test_tripod_has_27_items_and_says_what_is_not_reported(facts: Facts) -> None:
    lines = [line for line in tripod.make(facts).splitlines() if line[:3].strip("| ").isdigit()]
    assert len(lines) == len(tripod.ITEMS) == 27
    cells = [line.strip("| ").split(" | ") for line in lines]
    assert [int(row[0]) for row in cells] == list(range(1, 28))
    assert all(len(row) == 4 and row[3] for row in cells)
    assert "Not reported, in whole or in part: 18, 23 of 27." in tripod.make(facts)
    silent = tripod.make(changed(facts, ethics="", stakeholders="a | b"))
    assert "| 17 | methods | Ethics approval and consent | not reported: card.yaml says nothing of ethics |" in silent
    assert r"a \| b" in silent


def test_a_table_of_parts_of_the_people_is_told_in_every_document(facts: Facts) -> None:
    row = facts.results[0].rows[0]
    part = row.model_copy(update={"what": "stress, sex f", "columns": {"subgroup": "sex f"}})
    beside = facts.results[0].rows[2].model_copy(update={"what": "stress, sex f"})
    other = facts.results[0].rows[3].model_copy(update={"what": "stress, sex f"})
    result = facts.results[0].model_copy(update={"rows": (*facts.results[0].rows, part, beside, other)})
    told = dataclasses.replace(facts, results=(result,))
    assert "1 numbers of parts of the people" in tripod.make(told)
    assert "gaps between groups" not in DOCUMENTS["README.md"](told)
    labels = [
        one.text
        for one in ElementTree.fromstring(chai.make(told)).iterfind(
            f".//{{{NAMESPACE}}}FairnessEquity//{{{NAMESPACE}}}Label"
        )
    ]
    assert labels == ["stress: stress, sex f, linear probe, auroc"]
    metrics = json.loads(sbom.make(told))["metadata"]["component"]["modelCard"]["quantitativeAnalysis"]
    assert [one["slice"] for one in metrics["performanceMetrics"] if "slice" in one] == ["stress, sex f"]


@NEEDS["mlcroissant"]
def test_croissant_is_valid_by_its_own_library(facts: Facts, tmp_path: Path) -> None:
    import mlcroissant

    path = tmp_path / "croissant.json"
    path.write_text(croissant.make(changed(facts, risks=("One.", "Two."))))
    metadata = mlcroissant.Dataset(path).metadata
    assert not metadata.ctx.issues.errors
    assert not metadata.ctx.issues.warnings
    assert [one.name for one in metadata.record_sets] == ["stress-study-windows"]
    assert [one.name for one in metadata.record_sets[0].fields] == ["ppg", "eda", "label_stress"]
    assert metadata.data_limitations or "rai:dataLimitations" in path.read_text()


def test_croissant_names_files_by_digest_and_fields_with_rates_and_holds_no_person(facts: Facts) -> None:
    told = json.loads(croissant.make(facts))
    shard, blocks = told["distribution"]
    assert (shard["sha256"], shard["contentUrl"]) == ("0" * 64, "stress-study/all/x-00000.tar")
    assert blocks["containedIn"] == [{"@id": shard["@id"]}]
    ppg, eda, label = told["recordSet"][0]["field"]
    assert ppg["description"].startswith("1 channels of 160 samples at 16 Hz, unit arbitrary")
    assert (eda["arrayShape"], label["dataType"]) == ("2,40", "sc:Float")
    assert told["rai:personalSensitiveInformation"][1] == "stress study: sex, site"


@NEEDS["cyclonedx"]
@pytest.mark.parametrize("metered", [False, True])
def test_the_sbom_is_valid_by_its_own_library(facts: Facts, metered: bool) -> None:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    if metered:
        facts = with_energy(facts)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(sbom.make(facts)) is None
    own = changed(facts, licence="other", licence_link="https://example.org/terms")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(sbom.make(own)) is None


def with_energy(facts: Facts) -> Facts:
    energy = {"kwh": 0.25, "metered_hours": 0.5, "how": "codecarbon 3", "kg_co2e": 0.01, "country": "SWE"}
    cost = Cost(hours=0.51, cpu_hours=1.0, money=0.1, currency="EUR", **energy)
    record: RunRecord = facts.records[0].model_copy(update={"cost": cost})
    return dataclasses.replace(facts, records=(record, *facts.records[1:]))


def test_the_sbom_has_software_and_a_model_card(facts: Facts) -> None:
    told = json.loads(sbom.make(with_energy(facts)))
    assert [one["purl"] for one in told["components"]] == ["pkg:pypi/hdt-fm@0.1.0", "pkg:pypi/numpy@2.4.6"]
    assert told["dependencies"][1] == {"ref": "pkg:pypi/hdt-fm@0.1.0", "dependsOn": ["pkg:pypi/numpy@2.4.6"]}
    card = told["metadata"]["component"]["modelCard"]["considerations"]
    assert card["environmentalConsiderations"]["energyConsumptions"][0]["activityEnergyCost"]["value"] == 0.25
    assert card["fairnessAssessments"][0]["groupAtRisk"] == "People whose skin was not among those measured."
    assert "timestamp" not in sbom.make(facts)
    plain = json.loads(sbom.make(facts))
    assert plain["serialNumber"] != told["serialNumber"]
    considered = plain["metadata"]["component"]["modelCard"]["considerations"]["environmentalConsiderations"]
    said = {one["name"]: one["value"] for one in considered["properties"]}["hdt_fm:energy"]
    assert said.startswith("energy not measured: ")
    assert "| pretrain | 1 | 0.51 | 1 | 0.25 | 0.5 | 0.01 | 0.1 EUR |" in DOCUMENTS["README.md"](with_energy(facts))


def test_the_citation_is_yaml_whose_words_stay_words(facts: Facts) -> None:
    told = yaml.safe_load(citation.make(changed(facts, name='a: "b"\nevil: true', publications=("One paper",))))
    assert told["title"] == 'a: "b"\nevil: true'
    assert "evil" not in told
    assert [one["name"] for one in told["authors"]] == ["A laboratory", "Another one"]
    assert (told["license"], told["cff-version"], str(told["date-released"])) == ("CC-BY-4.0", "1.2.0", "2026-11-20")
    assert told["references"][0]["title"] == "One paper"
    own = yaml.safe_load(citation.make(changed(facts, licence="other", licence_link="https://example.org/terms")))
    assert own["license-url"] == "https://example.org/terms"


def test_the_licence_has_three_parts(facts: Facts) -> None:
    parts = [line for line in licence.make(facts).splitlines() if line[:2] in ("1.", "2.", "3.")]
    assert [part.split()[1] for part in parts] == ["CODE", "WEIGHTS", "DATA"]
    assert "stress study: CC-BY-4.0" in licence.make(facts)
