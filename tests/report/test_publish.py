"""Publishing: the round trip, the same bytes twice, and every reason for a refusal."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from hdt_fm.checkpoint import load, model_digest
from hdt_fm.report.card_facts import CardFacts
from hdt_fm.report.check import digest_of
from hdt_fm.report.publish import assemble, check, verify_sums
from hdt_fm.schema.errors import PublishError
from hdt_fm.schema.imported import Imported
from hdt_fm.schema.result import Result, Row, RunRecord
from hdt_fm.schema.subject import SubjectKey

Inputs = Callable[..., dict[str, Any]]
FILES = {
    *("model.safetensors", "config.json", "preprocess.json", "stored_embedding.safetensors"),
    *("result.json", "provenance.json", "README.md", "LICENSE", "SHA256SUMS"),
    *("chai_model_card.xml", "tripod_ai.md", "croissant.json", "sbom.cdx.json", "CITATION.cff"),
}


def reload(folder: Path) -> set[str]:
    return {model_digest(load(folder))}


def resummed(folder: Path) -> Path:
    """Digests made anew, as by someone who edits a file and covers it up."""
    names = sorted(path.name for path in folder.iterdir() if path.name != "SHA256SUMS")
    (folder / "SHA256SUMS").write_text("".join(f"{digest_of(folder / name)}  {name}\n" for name in names))
    return folder


def test_round_trip(published: Path, checkpoint: Path) -> None:
    assert {path.name for path in published.iterdir()} == FILES
    assert check(published) == []
    first, second = load(checkpoint), load(published)
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name])
    assert [path.name for path in published.parent.iterdir()] == ["model"]


def test_the_same_records_give_the_same_bytes(
    checkpoint: Path, publish_inputs: Inputs, published: Path, tmp_path: Path
) -> None:
    again = assemble(checkpoint, **publish_inputs(), folder=tmp_path / "elsewhere" / "other_name")
    for name in FILES:
        assert (again / name).read_bytes() == (published / name).read_bytes(), name


def test_results_keep_their_intervals_and_full_digits(published: Path) -> None:
    (result,) = json.loads((published / "result.json").read_text())["results"]
    assert result["rows"][0]["value"] == 0.7654321
    assert result["rows"][0]["low"] == pytest.approx(0.6654321)
    assert "outputs" not in result
    assert json.loads((published / "provenance.json").read_text())["records"][0]["outputs"] == {}


def test_sums_are_sorted_and_those_of_the_standard_tool(published: Path) -> None:
    lines = (published / "SHA256SUMS").read_text().splitlines()
    names = [line.split("  ")[1] for line in lines]
    assert names == sorted(FILES - {"SHA256SUMS"})
    assert all(len(line.split("  ")[0]) == 64 for line in lines)


def test_an_earlier_publication_is_replaced_and_nothing_else_is(
    checkpoint: Path, publish_inputs: Inputs, published: Path, tmp_path: Path
) -> None:
    assert check(assemble(checkpoint, **publish_inputs(), folder=published)) == []
    thesis = tmp_path / "thesis"
    thesis.mkdir()
    (thesis / "chapter.txt").write_text("years of work")
    with pytest.raises(PublishError, match="not one"):
        assemble(checkpoint, **publish_inputs(), folder=thesis)
    assert (thesis / "chapter.txt").read_text() == "years of work"


def refuse(checkpoint: Path, tmp_path: Path, match: str, *, loader: Any = None, **inputs: Any) -> PublishError:
    """The refusal, after seeing that nothing was left behind."""
    folder = tmp_path / "refused" / "model"
    with pytest.raises(PublishError, match=match) as caught:
        assemble(checkpoint, **inputs, folder=folder, reload=loader)
    assert not folder.parent.exists() or not list(folder.parent.iterdir())
    return caught.value


def test_no_evaluation_no_publication(
    checkpoint: Path, publish_inputs: Inputs, records: tuple[RunRecord, ...], tmp_path: Path
) -> None:
    refuse(checkpoint, tmp_path, "no evaluation", **publish_inputs(records=records[:1]))
    empty = records[1].model_copy(update={"results": ()})
    refuse(checkpoint, tmp_path, "no evaluation", **publish_inputs(records=(records[0], empty)))


def with_rows(records: tuple[RunRecord, ...], *rows: Row) -> tuple[RunRecord, ...]:
    result = Result(name="stress", protocol={}, rows=rows, required_baselines=())
    return (records[0], records[1].model_copy(update={"results": (result,)}))


def test_missing_baselines_or_intervals(
    checkpoint: Path, publish_inputs: Inputs, records: tuple[RunRecord, ...], result: Result, tmp_path: Path
) -> None:
    ours, dummy = result.rows[0], result.rows[2]
    other = dummy.model_copy(update={"metric": "ece"})
    for rows in ((ours,), (ours, other)):
        refuse(checkpoint, tmp_path, "without a baseline", **publish_inputs(records=with_rows(records, *rows)))
    bare = ours.model_copy(update={"low": None})
    refuse(checkpoint, tmp_path, "without an interval", **publish_inputs(records=with_rows(records, bare, dummy)))
    refuse(checkpoint, tmp_path, "no number of this model", **publish_inputs(records=with_rows(records, dummy)))


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("/".join(["from ", "srv", "cohort", "x"]), "absolute path"),
        ("write to someone@example.org", "e-mail"),
        (f"except {SubjectKey.public().pseudonym('study', '3')}", "pseudonym"),
        ("TODO: say more", "placeholder"),
        ("<your text here>", "placeholder"),
        ("all but P07", "forbidden list"),
    ],
)
@pytest.mark.parametrize("place", ["card", "record", "result"])
def test_private_traces_and_placeholders(
    checkpoint: Path,
    publish_inputs: Inputs,
    card_facts: CardFacts,
    records: tuple[RunRecord, ...],
    result: Result,
    tmp_path: Path,
    text: str,
    kind: str,
    place: str,
) -> None:
    changes: dict[str, dict[str, Any]] = {
        "card": {"card_facts": card_facts.model_copy(update={"intended_use": text})},
        "record": {"records": (records[0].model_copy(update={"provenance": {"deep": [{"note": text}]}}), records[1])},
        "result": {
            "records": (
                records[0],
                records[1].model_copy(
                    update={"results": (result.model_copy(update={"protocol": {**result.protocol, "note": [text]}}),)}
                ),
            )
        },
    }
    error = refuse(checkpoint, tmp_path, kind, **publish_inputs(**changes[place], forbidden=["P07"]))
    assert text not in str(error)


def test_a_missing_licence(checkpoint: Path, publish_inputs: Inputs, card_facts: CardFacts, tmp_path: Path) -> None:
    unlicensed = card_facts.model_copy(update={"licence": ""})
    refuse(checkpoint, tmp_path, "licence", **publish_inputs(card_facts=unlicensed))


@pytest.mark.parametrize(
    "name", ["model.safetensors", "config.json", "preprocess.json", "stored_embedding.safetensors"]
)
def test_a_checkpoint_that_is_not_whole(checkpoint: Path, publish_inputs: Inputs, tmp_path: Path, name: str) -> None:
    broken = tmp_path / "checkpoint"
    shutil.copytree(checkpoint, broken)
    text = bytearray((broken / name).read_bytes())
    text[-20] ^= 1
    (broken / name).write_bytes(bytes(text))
    refuse(broken, tmp_path, f"{name} differs", **publish_inputs())
    (broken / name).unlink()
    refuse(broken, tmp_path, "not complete", **publish_inputs())


def test_weights_that_do_not_fit_and_results_of_another_model(
    checkpoint: Path, publish_inputs: Inputs, records: tuple[RunRecord, ...], result: Result, tmp_path: Path
) -> None:
    broken = tmp_path / "checkpoint"
    shutil.copytree(checkpoint, broken)
    config = json.loads((broken / "config.json").read_text())
    config["encoder"]["args"]["depth"] = 2
    (broken / "config.json").write_text(json.dumps(config))
    resummed(broken)
    refuse(broken, tmp_path, "cannot be loaded", loader=reload, **publish_inputs())
    other = result.model_copy(update={"protocol": {**result.protocol, "model_digest": "e" * 64}})
    swapped = (records[0], records[1].model_copy(update={"results": (other,)}))
    refuse(checkpoint, tmp_path, "results of another model", loader=reload, **publish_inputs(records=swapped))


@pytest.mark.parametrize(
    ("name", "old", "new", "problem"),
    [
        ("README.md", "0.765", "0.865", "number in the tables"),
        ("README.md", "0.7654321", "0.8654321", "number in the header"),
        ("README.md", "Diagnosis; people under 18.", "Nothing.", "not what the records give"),
        ("README.md", "<!-- results: end -->", "", "lost the marks"),
        ("README.md", "model-index:", "model-index: 7\nother:", "number in the header"),
        ("result.json", "0.7654321", "0.8654321", "number in the tables"),
        ("result.json", '"role": "baseline"', '"role": "ours"', "contract"),
        ("result.json", '"version": 1', '"version": 1, "extra": 2', "contract"),
        ("provenance.json", '"licence": "CC-BY-4.0"', '"licence": ""', "data's licence is missing"),
        ("preprocess.json", '"unit": "uS"', '"unit": "S"', "other signals"),
        ("config.json", "{", "[", "contract"),
    ],
)
def test_edits_are_found_even_under_new_sums(published: Path, name: str, old: str, new: str, problem: str) -> None:
    text = (published / name).read_text()
    assert old in text
    (published / name).write_text(text.replace(old, new) if name != "config.json" else text.replace(old, new, 1))
    assert any(f"{name} differs" in one for one in check(published))
    assert any(problem in one for one in check(resummed(published)))


def test_sums_find_what_is_changed_added_or_gone(published: Path) -> None:
    (published / "notes.txt").write_text("hello")
    assert verify_sums(published) == ["notes.txt is not listed in SHA256SUMS"]
    (published / "notes.txt").unlink()
    with (published / "LICENSE").open("a") as file:
        file.write("x")
    assert verify_sums(published) == ["LICENSE differs from its digest in SHA256SUMS"]
    (published / "LICENSE").unlink()
    assert check(published) == ["missing: LICENSE"]
    assert verify_sums(published) == ["SHA256SUMS lists LICENSE, which is not there"]


def test_a_pickle_in_the_weights_place_is_no_safetensors(published: Path) -> None:
    (published / "model.safetensors").write_bytes(b"\x80\x04" + b"." * 40)
    assert "model.safetensors is not a safetensors file" in check(resummed(published))
    (published / "model.safetensors").write_bytes(b"")
    assert "model.safetensors is not a safetensors file" in check(resummed(published))


def test_a_number_that_does_not_exist_survives_the_round_trip(
    checkpoint: Path, publish_inputs: Inputs, records: tuple[RunRecord, ...], result: Result, tmp_path: Path
) -> None:
    undefined = result.rows[2].model_copy(
        update={"model": "constant", "value": float("nan"), "low": None, "high": None}
    )
    changed = result.model_copy(update={"rows": (*result.rows, undefined)})
    run = records[1].model_copy(update={"results": (changed,), "summary": {"gap": float("inf")}})
    folder = assemble(checkpoint, **publish_inputs(records=(records[0], run)), folder=tmp_path / "model")
    assert check(folder) == []
    json.loads((folder / "result.json").read_text(), parse_constant=lambda word: pytest.fail(word))


def test_an_imported_checkpoint_says_so(checkpoint: Path, publish_inputs: Inputs, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    shutil.copytree(checkpoint, theirs)
    record = Imported(
        name="theirs",
        source="weights.pth",
        source_sha256="ab" * 32,
        kind="state_dict",
        rename={},
        matched=3,
        total=4,
        fresh=("heads.stress.weight",),
        widened=0,
        left_out=0,
        others=0,
        hdt_fm="0.1.0",
    )
    (theirs / "imported.json").write_text(record.model_dump_json())
    names = sorted(path.name for path in theirs.iterdir() if path.name != "SHA256SUMS")
    (theirs / "SHA256SUMS").write_text("".join(f"{digest_of(theirs / name)}  {name}\n" for name in names))
    folder = assemble(theirs, **publish_inputs(), folder=tmp_path / "model")
    assert check(folder) == []
    card = (folder / "README.md").read_text()
    assert "not from the runs below" in card
    assert "`abababababababab`; 3 of 4 tensors were filled from it, the others started fresh" in card
    assert "- `imported.json`: the file that the weights were imported from" in card
    (folder / "imported.json").unlink()
    assert any("README.md is not what the records give" in one for one in check(resummed(folder)))
