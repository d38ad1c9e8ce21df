"""Marks of figures by hand: what stands in an SVG is what was asked for."""

from xml.etree import ElementTree

import numpy as np
import pytest

from hdt_fm.twin.svg import Area, axis_below, figure, frame, line, polygon, polyline, round_values, text

AREA = Area(left=10.0, top=20.0, width=100.0, height=50.0)


def drawn(parts):
    """Tag and attributes of each mark, and its words."""
    root = ElementTree.fromstring(f"<svg>{''.join(parts)}</svg>")
    return [(one.tag, dict(one.attrib), one.text) for one in root]


@pytest.mark.parametrize(("low", "high"), [(0, 1), (55.2, 71.9), (-0.3, 0.4), (9.9e5, 1.1e6), (60, 60.01)])
def test_ticks_are_round_and_inside(low, high):
    ticks = round_values(float(low), float(high), 4)
    assert 1 <= len(ticks) <= 5
    assert all(low <= tick <= high for tick in ticks)
    steps = np.diff(ticks)
    assert np.allclose(steps, steps[0])
    assert "-0" not in [f"{tick:g}" for tick in ticks]


def test_steps_may_be_others():
    assert round_values(0.0, 160.0, 7) == (0, 50, 100, 150)
    assert round_values(0.0, 160.0, 7, (1.0, 2.0, 2.5, 5.0, 10.0)) == (0, 25, 50, 75, 100, 125, 150)
    assert round_values(3.0, 3.0, 4) == (3.0,)


def test_places_by_hand():
    assert (AREA.right, AREA.bottom) == (110, 70)
    assert drawn([line("limit", (1.0, 2.0), (3.0, 4.56))]) == [
        ("line", {"class": "limit", "x1": "1.0", "x2": "3.0", "y1": "2.0", "y2": "4.6"}, None)
    ]
    assert drawn([polyline("value", [(1.0, 2.0), (3.0, 4.0)])])[0][1]["points"] == "1.0,2.0 3.0,4.0"
    # Along the upper line, and back along the lower one.
    around = drawn([polygon("band", iter([(1.0, 5.0), (2.0, 6.0)]), iter([(1.0, 1.0), (2.0, 2.0)]))])[0][1]["points"]
    assert around == "1.0,5.0 2.0,6.0 2.0,2.0 1.0,1.0"


def test_an_area_has_its_name_over_it_and_its_values_to_the_left():
    name, box, tick, value = drawn(frame(AREA, "A & B", [(2.5, 30.0)], above=12.0))
    assert name == ("text", {"class": "label head", "x": "10.0", "y": "8.0"}, "A & B")
    assert box[1] == {"class": "frame", "x": "10", "y": "20", "width": "100", "height": "50"}
    assert tick[1] == {"class": "tick", "x1": "6.0", "x2": "10.0", "y1": "30.0", "y2": "30.0"}
    assert value == ("text", {"class": "label", "x": "3.0", "y": "34.0", "text-anchor": "end"}, "2.5")


def test_what_stands_below_an_area():
    tick, at, words = drawn(axis_below(AREA, [(40.0, "06:00")], "local time"))
    assert tick[1] == {"class": "tick", "x1": "40.0", "x2": "40.0", "y1": "70.0", "y2": "75.0"}
    assert at == ("text", {"class": "label", "x": "40.0", "y": "88.0", "text-anchor": "middle"}, "06:00")
    assert words == ("text", {"class": "label", "x": "60.0", "y": "106.0", "text-anchor": "middle"}, "local time")


def test_words_are_never_markup():
    found = figure("nights", 960.0, 400.0, [text("label", 1.0, 2.0, "<b>")], title="1 < 2", words="a & b")
    root = ElementTree.fromstring(found)
    assert [(one.tag, one.text) for one in root] == [("title", "1 < 2"), ("desc", "a & b"), ("text", "<b>")]
    assert root.get("aria-labelledby") == "figure-title figure-words"
    assert (root.get("class"), root.get("viewBox")) == ("nights", "0 0 960 400")
