"""card.yaml: read strictly, never more than words; its template blocks publication until it is filled in."""

from pathlib import Path

import pytest
import yaml

from hdt_fm.report.card_facts import MOST_BYTES, OWED, CardFacts, read_card, template
from hdt_fm.report.rules.card_words import placeholder_fields
from hdt_fm.schema.errors import PublishError, UnknownNameError

ENOUGH = {"name": "n", "summary": "s", "intended_use": "i", "out_of_scope": "o", "limits": ["l"]}


def card(folder: Path, text: str, name: str = "card.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_the_template_names_every_field_and_every_word_it_owes_is_a_placeholder(tmp_path: Path) -> None:
    told = read_card([card(tmp_path, template())])
    assert set(yaml.safe_load(template())) == set(CardFacts.model_fields)
    assert set(placeholder_fields(told)) == {
        *OWED,
        "name",
        "summary",
        "licence",
        "intended_use",
        "out_of_scope",
        "limits",
    }
    comments = [line for line in template().splitlines() if line.startswith("#")]
    assert len(comments) == len(CardFacts.model_fields) + 1


def test_scalars_stay_the_words_that_were_typed(tmp_path: Path) -> None:
    text = yaml.safe_dump(ENOUGH) + "release: 1.10\nreleased: 2026-11-20\nfunding: no\ninterests: null\n"
    told = read_card([card(tmp_path, text)])
    assert (told.release, told.released, told.funding, told.interests) == ("1.10", "2026-11-20", "no", "null")


def test_a_later_card_fills_over_an_earlier_one(tmp_path: Path) -> None:
    house = card(tmp_path, "contact: https://example.org\nfunding: a fund\n" + yaml.safe_dump(ENOUGH), "house.yaml")
    own = card(tmp_path, "funding: none\nlimits: [small]\n")
    told = read_card([house, own], name="given")
    assert (told.name, told.contact, told.funding, told.limits) == ("n", "https://example.org", "none", ("small",))


def test_the_run_names_a_model_whose_card_does_not(tmp_path: Path) -> None:
    text = yaml.safe_dump({key: said for key, said in ENOUGH.items() if key != "name"})
    assert read_card([card(tmp_path, text)], name="given").name == "given"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("users: !!python/object/apply:os.system ['true']\n", "a tag"),
        ("users: !!str x\n", "a tag"),
        ("a: &a [x]\nusers: *a\n", "an anchor"),
        ("users: &a [x]\n", "an anchor"),
        ("users: [a]\nusers: [b]\n", "twice"),
        ("users: [a\n", "no plain YAML"),
        ("- users\n", "no list of fields"),
        ("", "no list of fields"),
        ("x: " + "y" * MOST_BYTES, "too large"),
        ("users: {deep: [a]}\n", "wrong kind"),
        ("privacy_audit: later\n", "wrong kind"),
        ("summary: ''\n", "wrong kind"),
    ],
)
def test_what_is_no_plain_card_is_refused(tmp_path: Path, text: str, words: str) -> None:
    first = card(tmp_path, yaml.safe_dump(ENOUGH), "first.yaml")
    with pytest.raises(PublishError, match=words):
        read_card([first, card(tmp_path, text)])


def test_a_misspelt_field_and_a_missing_one_speak(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'out_of_scope'"):
        read_card([card(tmp_path, "out_of_scop: x\n")])
    with pytest.raises(PublishError, match="not complete"):
        read_card([card(tmp_path, "name: x\n")])
    with pytest.raises(PublishError, match="publish card --to"):
        read_card([tmp_path / "none.yaml"])
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00x")
    with pytest.raises(PublishError, match="no plain YAML"):
        read_card([tmp_path / "bytes.yaml"])
