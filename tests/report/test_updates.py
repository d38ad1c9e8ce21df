"""A head that went on learning after its records were made: the card says so, or nothing goes out."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hdt_fm.report.check import check, digest_of
from hdt_fm.report.publish import assemble
from hdt_fm.report.updates import UPDATES_NAME, HeadUpdates, Updates, read_updates
from hdt_fm.schema.errors import PublishError

Inputs = Callable[..., dict[str, Any]]
TOLD = HeadUpdates(
    head="stress",
    updates=2,
    strategy="prototypes (keeps no row of anyone)",
    domains=("lab", "ward", "home"),
    scores={"AUROC, home": 0.81234, "forgetting of lab as rehearsed, AUROC": -0.004},
)


def with_updates(checkpoint: Path, folder: Path, text: str) -> Path:
    """A checkpoint with this `updates.json`, listed in its sums."""
    folder.mkdir()
    for path in checkpoint.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / UPDATES_NAME).write_text(text)
    names = sorted(path.name for path in folder.iterdir() if path.name != "SHA256SUMS")
    (folder / "SHA256SUMS").write_text("".join(f"{digest_of(folder / name)}  {name}\n" for name in names))
    return folder


def test_the_card_tells_how_often_by_what_and_the_newest_scores(
    checkpoint: Path, publish_inputs: Inputs, tmp_path: Path
) -> None:
    updated = with_updates(checkpoint, tmp_path / "taken", Updates(heads=(TOLD,)).model_dump_json())
    folder = assemble(updated, **publish_inputs(), folder=tmp_path / "model")
    card = (folder / "README.md").read_text()
    for wanted in (
        "### stress",
        "Updated 2 times, strategy prototypes (keeps no row of anyone). Learned in turn: lab, ward, home.",
        "are of the heads as they were before",
        "| AUROC, home | 0.8123 |",
    ):
        assert wanted in card, wanted
    assert check(folder) == []
    (folder / "README.md").write_text(card.replace("0.8123", "0.9123"))
    assert any("README.md is not what the records give" in one for one in check(folder))


def test_without_updates_everything_is_written_as_it_always_was(
    checkpoint: Path, publish_inputs: Inputs, tmp_path: Path
) -> None:
    folder = assemble(checkpoint, **publish_inputs(), folder=tmp_path / "model")
    assert "updates" not in json.loads((folder / "provenance.json").read_text())
    assert "went on learning" not in (folder / "README.md").read_text()
    assert read_updates(checkpoint) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (Updates(heads=(TOLD.model_copy(update={"head": "sleep"}),)).model_dump_json(), "does not have"),
        ('{"version": 1, "heads": []}', "breaks its contract"),
        ("{", "breaks its contract"),
    ],
)
def test_what_cannot_be_told_is_not_published(
    checkpoint: Path, publish_inputs: Inputs, tmp_path: Path, text: str, message: str
) -> None:
    updated = with_updates(checkpoint, tmp_path / "taken", text)
    with pytest.raises(PublishError, match=message):
        assemble(updated, **publish_inputs(), folder=tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_head_that_is_told_anew_takes_the_place_of_what_was_told() -> None:
    other = TOLD.model_copy(update={"head": "sleep"})
    both = Updates(heads=(TOLD, other)).with_head(TOLD.model_copy(update={"updates": 3}))
    assert [(one.head, one.updates) for one in both.heads] == [("sleep", 2), ("stress", 3)]
