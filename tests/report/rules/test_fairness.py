"""A fairness audit as the verb writes it is handed on, told in documents, and refused where it is not this model's."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hdt_fm.audit.fairness.controls import made_up
from hdt_fm.audit.fairness.record import FAIRNESS_NAME, FairnessAudit
from hdt_fm.audit.fairness.table import fairness
from hdt_fm.audit.fairness.words import CAUTION, fairness_words
from hdt_fm.audit.record import flat
from hdt_fm.report import evidence
from hdt_fm.report.check import by_rule
from hdt_fm.report.publish import assemble
from hdt_fm.schema.errors import PublishError

Inputs = Callable[..., dict[str, Any]]
Audited = Callable[..., Path]


@pytest.fixture
def audited(tmp_path: Path, digest: str) -> Audited:
    """Writes the audit of made-up people, with a planted gap."""

    def made(**changes: Any) -> Path:
        found = fairness(
            *made_up(people=20, gap=1.0), draws=20, permutations=40, protocol={"encoders": "the checkpoint"}
        )
        record = FairnessAudit(
            model="m" * 64,
            encoder=digest,
            shards=("0" * 64,),
            config="c" * 64,
            protocol=found.result.protocol,
            rows=tuple(flat(found.result)),
            found=(*fairness_words(found), CAUTION),
        )
        path = tmp_path / FAIRNESS_NAME
        path.write_text(json.dumps({**record.model_dump(mode="json"), **changes}))
        return path

    return made


def test_the_name_is_the_one_that_the_verb_writes() -> None:
    assert evidence.FAIRNESS_NAME == FAIRNESS_NAME


def test_it_is_handed_on_and_told(
    checkpoint: Path, publish_inputs: Inputs, audited: Audited, digest: str, tmp_path: Path
) -> None:
    path = audited()
    folder = assemble(
        checkpoint, **publish_inputs(), fairness=path, folder=tmp_path / "model", reload=lambda _: {digest}
    )
    assert {rule: said for rule, said in by_rule(folder).items() if said} == {}
    assert (folder / FAIRNESS_NAME).read_bytes() == path.read_bytes()
    found = json.loads(path.read_text())["found"]
    card = (folder / "README.md").read_text()
    assert "## Fairness" in card
    assert all(f"- {sentence}" in card for sentence in found)
    assert "`fairness_audit.json`: for whom" in card
    chai = (folder / "chai_model_card.xml").read_text()
    assert "fairness audit: rate, sex, before, mae gap" in chai
    assert "fairness audit: rate, sex, training mean" not in chai
    told = json.loads((folder / "sbom.cdx.json").read_text())
    assert any("worst in M" in str(one) for one in _values(told, "fairnessAssessments"))
    assert "more than chance" in (folder / "tripod_ai.md").read_text()


def test_none_is_owed(published: Path) -> None:
    assert not (published / FAIRNESS_NAME).exists()
    assert "## Fairness" not in (published / "README.md").read_text()
    assert by_rule(published)["fairness audit fits"] == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"encoder": "f" * 64}, "fairness audit is of another model"),
        ({"model": None, "encoder": None}, "of a recipe without a checkpoint"),
        ({"found": []}, "fairness_audit.json breaks its contract"),
        (
            {"rows": [{"what": "rate, sex F", "metric": "mae", "value": 1.0, "n": 4}]},
            "1 numbers of fewer than 5 people",
        ),
        ({"rows": [{"what": "rate, sex F", "metric": "mae", "value": 1.0}]}, "1 numbers of fewer than 5 people"),
    ],
)
def test_one_that_may_not_go_out(
    checkpoint: Path, publish_inputs: Inputs, audited: Audited, digest: str, tmp_path: Path, changes: dict, words: str
) -> None:
    with pytest.raises(PublishError, match=words):
        assemble(
            checkpoint,
            **publish_inputs(),
            fairness=audited(**changes),
            folder=tmp_path / "model",
            reload=lambda _: {digest},
        )
    assert not (tmp_path / "model").exists()


def _values(told: Any, key: str) -> list[Any]:
    """Everything under a key, wherever it stands."""
    if isinstance(told, dict):
        return [*([told[key]] if key in told else []), *(one for some in told.values() for one in _values(some, key))]
    return [one for some in told for one in _values(some, key)] if isinstance(told, list) else []
