"""Contrast: every colour of text on every ground that it stands on, and no colour from elsewhere."""

import re
from pathlib import Path

import pytest

from hdt_fm.explain.page import document
from hdt_fm.explain.page.palette import COLOURS, TEXTS, contrast

FOLDER = Path(document.__file__).parent / "templates"
STYLE = (FOLDER / "style.css.j2").read_text()


def test_contrast_by_hand() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21.0)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)  # the known grey that just fails
    assert contrast("#ffffff", "#777777") == contrast("#777777", "#ffffff")


@pytest.mark.parametrize(("text", "ground"), [(text, ground) for text in TEXTS for ground in TEXTS[text]])
def test_text_can_be_read(text: str, ground: str) -> None:
    assert contrast(COLOURS[text], COLOURS[ground]) >= 4.5


def test_the_stamp_can_be_read_over_full_heat() -> None:
    """Large letters need 3 to 1; heat is laid at 0.55 over white."""
    for heat in ("for", "against", "size"):
        mixed = [round(0.55 * int(COLOURS[heat][at : at + 2], 16) + 0.45 * 255) for at in (1, 3, 5)]
        assert contrast(COLOURS["ink"], "#" + "".join(f"{one:02x}" for one in mixed)) >= 3.0  # the waveform
    assert re.search(r"\.stamp \{[^}]*stroke: var\(--paper\)", STYLE)  # a white edge holds the red off the heat
    assert contrast(COLOURS["fail"], COLOURS["paper"]) >= 3.0


def test_all_colours_of_text_are_those_that_are_checked() -> None:
    named = {name.replace("_", "-") for name in TEXTS}
    found = re.findall(r"(?<![\w-])color: (?:var\(--([\w-]+)\)|(\w+))", STYLE)
    assert len(found) > 10
    assert {name for name, _ in found if name} <= named
    assert {word for _, word in found if word} <= {"inherit"}
    for fill in re.findall(r"\.(?:label|stamp)[^{]*\{[^}]*fill: var\(--([\w-]+)\)", STYLE):
        assert fill in named


def test_sections_bring_no_faint_text() -> None:
    for path in sorted(FOLDER.rglob("*.j2")):
        for colour in re.findall(r"(?<![\w-])color:\s*(#[0-9a-fA-F]{6})\b", path.read_text()):
            assert contrast(colour, "#ffffff") >= 4.5, path.name
