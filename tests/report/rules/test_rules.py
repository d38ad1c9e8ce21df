"""Each rule on a folder that breaks it, and that the whole table is asked."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hdt_fm.report.check import by_rule, check
from hdt_fm.report.publish import assemble
from hdt_fm.report.rules import RULES
from hdt_fm.schema.errors import PublishError

Inputs = Callable[..., dict[str, Any]]
Resum = Callable[[Path], Path]


def broken(folder: Path, **more: Any) -> dict[str, list[str]]:
    return {rule: said for rule, said in by_rule(folder, **more).items() if said}


def told(folder: Path, resum: Resum, **card: Any) -> Path:
    """The folder with other words of the card, as if its documents had been made by hand."""
    path = folder / "provenance.json"
    record = json.loads(path.read_text())
    record["card"] |= card
    path.write_text(json.dumps(record))
    return resum(folder)


def test_every_rule_is_described_and_a_good_folder_keeps_them_all(published: Path, repo: Path) -> None:
    assert len(RULES) == 22
    assert broken(published) == {}
    text = (repo / "hdt_fm" / "report" / "rules" / "README.md").read_text()
    assert [name for name in RULES if name not in text] == []


@pytest.mark.parametrize(
    ("card", "rule", "words"),
    [
        (
            {"users": ["<describe users>"]},
            "no placeholder",
            "card.yaml holds a placeholder that was not filled in: users",
        ),
        ({"funding": "TODO"}, "no placeholder", "funding"),
        ({"users": [], "ethics": ""}, "card complete", "card.yaml says nothing of: users, ethics"),
        ({"released": "next week"}, "card complete", "released is no day"),
        ({"contact": "the office"}, "card complete", "contact is no address"),
        ({"licence": ""}, "licences", "no licence"),
        ({"licence": "other"}, "licences", "link"),
        ({"subgroups": "required"}, "subgroups told", "protocol.also=[subgroups]"),
        ({"subgroups_reason": " "}, "subgroups told", "no reason"),
        ({"privacy_audit": "required"}, "privacy audited", "hdt-fm audit privacy"),
        ({"privacy_audit_reason": ""}, "privacy audited", "no reason"),
        ({"contact": "write to lab@example.org"}, "nothing private", "provenance.json holds an e-mail"),
        ({"disclosure": "Born 12.03.1961 in a town."}, "no date of birth", "provenance.json holds what may be"),
    ],
)
def test_words_of_the_card(published: Path, resum: Resum, card: dict, rule: str, words: str) -> None:
    found = broken(told(published, resum, **card))
    assert any(words in said for said in found[rule])
    # What the card asks is printed nowhere; all other words are in a document, which is then of other words.
    assert ("documents as made" in found) == ("required" not in card.values())


@pytest.mark.parametrize(
    "text",
    [
        '"birth_date": "1961-03-12"',
        "Date of birth: 3/12/1961",
        "dob=12.03.2012",
        '"birth_year": 1961',
        "she was born in 1961",
        "P 1961-03-12",
        "12.03.1961",
    ],
)
def test_dates_of_birth_in_any_file_even_new_ones(published: Path, resum: Resum, text: str) -> None:
    (published / "notes.txt").write_text(text)
    found = broken(resum(published))
    assert list(found) == ["no date of birth"]
    assert "1961" not in str(found)


@pytest.mark.parametrize(
    "text", ["Release 2026-11-20", "doi 10.1136/2005.03.12-1", "version 2.10.2009", "a 1961 study"]
)
def test_other_dates_are_no_births(published: Path, resum: Resum, text: str) -> None:
    (published / "notes.txt").write_text(text)
    assert broken(resum(published)) == {}


@pytest.mark.parametrize("name", ["notes.txt", "sub/attribution_report.html", ".hidden"])
def test_new_files_are_read_too(published: Path, name: str) -> None:
    (published / name).parent.mkdir(exist_ok=True)
    (published / name).write_text("from " + "/".join(["", "srv", "cohort", "P07"]) + " of P07")
    found = broken(published, forbidden=["P07"])
    assert len(found["nothing private"]) == 2
    assert found["sums fit"] == [f"{name} is not listed in SHA256SUMS"]
    assert "P07" not in str(found)


def test_a_link_is_not_handed_out(published: Path, tmp_path: Path, resum: Resum) -> None:
    outside = tmp_path / "outside"
    (published / "LICENSE").rename(outside)
    (published / "LICENSE").symlink_to(outside)
    assert broken(resum(published)) == {"no links": ["LICENSE is a link to somewhere else"]}


def test_why_people_who_withdrew_are_still_in_the_lineage_is_said(published: Path) -> None:
    said = "2 people whom the encoder learned from have withdrawn"
    assert broken(published, withdrawn=lambda: [said]) == {"nobody withdrew": [said]}
    assert check(published, withdrawn=lambda: ()) == []


@pytest.mark.parametrize(
    "name", ["chai_model_card.xml", "tripod_ai.md", "croissant.json", "sbom.cdx.json", "CITATION.cff", "LICENSE"]
)
def test_every_document_is_what_the_records_give_to_the_byte(published: Path, resum: Resum, name: str) -> None:
    text = (published / name).read_text()
    (published / name).write_text(
        text.replace("Wrist stress 1", "Wrist stress 2", 1) if name != "tripod_ai.md" else text + "\n"
    )
    if name == "croissant.json":
        (published / name).write_text(text + " ")
    found = broken(resum(published))
    assert list(found) == ["documents as made"]
    assert found["documents as made"][0].startswith(f"{name} is not what the records give; it first differs in line")
    (published / name).unlink()
    assert f"missing: {name}" in check(resum(published))


def test_an_earlier_release_is_told_what_it_lacks(published: Path, resum: Resum) -> None:
    for name in ("chai_model_card.xml", "tripod_ai.md", "croissant.json", "sbom.cdx.json", "CITATION.cff"):
        (published / name).unlink()
    record = json.loads((published / "provenance.json").read_text()) | {"version": 1}
    (published / "provenance.json").write_text(json.dumps(record))
    found = broken(resum(published))
    assert list(found) == ["earlier release"]
    assert "provenance version 1" in found["earlier release"][0]


def test_evidence_is_taken_over_and_told(
    checkpoint: Path, publish_inputs: Inputs, evidence: Any, card_facts: Any, digest: str, tmp_path: Path
) -> None:
    asked = card_facts.model_copy(update={"privacy_audit": "required", "privacy_audit_reason": ""})
    given = {**publish_inputs(card_facts=asked), **evidence()}
    folder = assemble(checkpoint, **given, folder=tmp_path / "model", reload=lambda _: {digest})
    assert broken(folder) == {}
    card = (folder / "README.md").read_text()
    for words in (
        "AUROC 0.520 [0.400, 0.640]",
        "reliability say: **warn**",
        "`privacy_audit.json`:",
        "No privacy audit",
    ):
        assert (words in card) == (words != "No privacy audit"), words
    assert "privacy audit: " in (folder / "chai_model_card.xml").read_text()
    again = assemble(checkpoint, **given, folder=tmp_path / "elsewhere" / "other", reload=lambda _: {digest})
    assert {path.name: path.read_bytes() for path in again.iterdir()} == {
        path.name: path.read_bytes() for path in folder.iterdir()
    }


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"audit": {"encoder": "f" * 64}}, "audit is of another model"),
        ({"audit": {"found": []}}, "privacy_audit.json breaks its contract"),
        ({"told": {"provenance": {"checkpoint": "f" * 16}}}, "report is of another model"),
        ({"told": {"provenance": {"checkpoint": ""}}}, "report is of another model"),
        ({"told": {"windows": [{"samples": {"ppg": [1.0]}}]}}, "attribution_report.json holds waveforms"),
        ({"told": {"windows": [{"events": {"beat": [0.5]}}]}}, "attribution_report.json holds waveforms"),
        ({"told": {"windows": 7}}, "attribution_report.json breaks its contract"),
        ({"page": "<svg></svg>"}, "attribution_report.html may show waveforms"),
    ],
)
def test_evidence_that_may_not_go_out(
    checkpoint: Path, publish_inputs: Inputs, evidence: Any, digest: str, tmp_path: Path, changes: dict, words: str
) -> None:
    given = {**publish_inputs(), **evidence(**changes)}
    with pytest.raises(PublishError, match=words):
        assemble(checkpoint, **given, folder=tmp_path / "model", reload=lambda _: {digest})
    assert not (tmp_path / "model").exists()


def test_evidence_that_is_no_json_object_speaks(
    checkpoint: Path, publish_inputs: Inputs, evidence: Any, tmp_path: Path
) -> None:
    given = {**publish_inputs(), **evidence()}
    given["audit"].write_text("[" * 100_000)
    with pytest.raises(PublishError, match="no JSON object"):
        assemble(checkpoint, **given, folder=tmp_path / "model")


def test_a_page_without_its_data_is_found(published: Path, resum: Resum) -> None:
    (published / "attribution_report.html").write_text("withheld from this copy")
    assert "attribution fits" in broken(resum(published))
