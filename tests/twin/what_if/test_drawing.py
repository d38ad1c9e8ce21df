"""What each panel spans, where its marks stand, and which doses are drawn as if people took them."""

import re
from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
import pytest

from hdt_fm.twin.what_if.drawing import WIDTH, whole_figure
from hdt_fm.twin.what_if.panels import course, curve_panels, effect_panel, hour_ticks, levels_panel, parted, short

# As in the record of the fixtures: up to its newest reading.
TIMES_S = 1_772_721_600.0 + 300.0 * np.arange(-150, 1)


def drawn(found):
    """Marks of the figure: class, and every place of it."""
    root = ElementTree.fromstring(whole_figure(found, words="all of it"))
    marks = []
    for one in root:
        if one.get("points"):
            marks.append((one.get("class"), [tuple(map(float, at.split(","))) for at in one.get("points").split()]))
        elif one.get("x1"):
            marks.append((one.get("class"), [(float(one.get(f"x{at}")), float(one.get(f"y{at}"))) for at in "12"]))
        elif one.get("cx"):
            marks.append((one.get("class"), [(float(one.get("cx")), float(one.get("cy")))]))
        elif one.get("x"):
            marks.append((one.get("class"), [(float(one.get("x")), float(one.get("y")))]))
    return root, marks


def of(marks, kind):
    return [places for name, places in marks if name == kind]


def test_panels_hold_all_that_is_drawn_in_them(told):
    found = told()
    levels = levels_panel(found)
    assert (levels.first, levels.last) == (-720.0, 240.0)
    # From the plan's lowest, 180 - 120 - 20, to the other's highest, 180 + 30.
    assert (levels.low, levels.high) == pytest.approx((40 - 0.07 * 170, 210 + 0.07 * 170))
    # Thresholds are inside where nothing else comes near them.
    near = {name: np.full((2, 16), 120.0) for name in ("level", "level_low", "level_high")}
    flat = levels_panel(told(shown=(TIMES_S, np.full(151, 120.0)), **near))
    assert (flat.low, flat.high) == pytest.approx((70 - 0.07 * 110, 180 + 0.07 * 110))
    effect = effect_panel(found)
    assert (effect.first, effect.last) == (0.0, 240.0)
    assert (effect.low, effect.high) == pytest.approx((-156 - 0.07 * 156, 0.07 * 156))
    bolus, carbs = curve_panels(found)
    assert (bolus.first, bolus.last, carbs.last) == (0.0, 6.0, 60.0)
    assert bolus.area.right < carbs.area.left
    assert bolus.area.top == carbs.area.top > effect.area.bottom > levels.area.bottom


def test_nothing_is_drawn_outside(told, parts):
    _, _, curve = parts
    for curves in ((), (curve("bolus", "U", [0.0, 5.0], -10.0),) * 3):
        root, marks = drawn(told(curves=curves))
        width, height = map(float, root.get("viewBox").split()[2:])
        assert width == WIDTH
        for _, places in marks:
            assert all(0 <= x <= width and 0 <= y <= height for x, y in places)
        lowest = max(y for _, places in marks for _, y in places)
        assert height - 12 <= lowest <= height


def test_fans_stand_where_the_numbers_say(told):
    found = told()
    panel, (_, marks) = levels_panel(found), drawn(found)
    for name in ("plan", "against"):
        legend, fan = of(marks, f"fan {name}")
        assert len(legend) == 4
        # Along the upper end and back along the lower one, both from the newest reading.
        wanted = [(0, 180.0), *((one["min"], one[name]["high"]) for one in found["ahead"])]
        wanted += [*((one["min"], one[name]["low"]) for one in reversed(found["ahead"])), (0, 180.0)]
        np.testing.assert_allclose(fan, [(panel.x(float(at)), panel.y(value)) for at, value in wanted], atol=0.06)
        line = of(marks, f"course {name}")[1]
        assert line[-1] == pytest.approx((panel.area.right, panel.y(found["ahead"][-1][name]["point"])), abs=0.06)
    limits = [places[0][1] for places in of(marks, "limit")]
    assert limits == pytest.approx([panel.y(70.0), panel.y(180.0)], abs=0.06)
    assert len(of(marks, "dot")) == 145


def test_the_effect_begins_at_nothing_and_is_marked_where_it_is_told(told):
    found = told()
    panel, (_, marks) = effect_panel(found), drawn(found)
    line = of(marks, "effect")[0]
    assert line[0] == pytest.approx((panel.area.left, panel.y(0.0)), abs=0.06)
    assert line[8] == pytest.approx((panel.x(120.0), panel.y(-60.0)), abs=0.06)
    dots = of(marks, "mark")[:5]
    np.testing.assert_allclose([one[0][0] for one in dots], [panel.x(60.0 * at) for at in (0.5, 1, 2, 3, 4)], atol=0.06)
    figure = whole_figure(found, words="")
    assert all(f">{value}</text>" in figure for value in ("-15", "-30", "-60", "-90", "-120"))


def test_doses_that_people_do_not_take_are_drawn_apart(told):
    points = told()["curves"][0]["points"]
    assert [(supported, [one["dose"] for one in part]) for supported, part in parted(points)] == [
        (False, [0.0, 1.0]),
        (True, [1.0, 2.0, 4.0]),
        (False, [4.0, 6.0]),
    ]
    _, marks = drawn(told())
    # Of carbohydrates only the middle one of three doses is known, which makes no line.
    assert len(of(marks, "effect")) == len(of(marks, "band")) == 2
    assert len(of(marks, "effect guess")) == len(of(marks, "band guess")) == 3
    assert len(of(marks, "mark guess")) == 4


@pytest.mark.parametrize(
    ("supported", "found"),
    [
        ([True, True, True], [True]),
        ([False, False, False], [False]),
        ([True, False, True], [False]),
        ([True, True, False], [True, False]),
        ([True], []),
    ],
)
def test_a_stretch_is_supported_only_where_both_its_ends_are(supported, found):
    points = [{"dose": float(at), "supported": one} for at, one in enumerate(supported)]
    assert [one for one, _ in parted(points)] == found


def test_every_stretch_of_a_curve_is_drawn_once(parts):
    generator = np.random.default_rng(0)
    for _ in range(50):
        points = [{"dose": at, "supported": bool(one)} for at, one in enumerate(generator.integers(0, 2, 9))]
        steps = [(a["dose"], b["dose"]) for _, part in parted(points) for a, b in pairwise(part)]
        assert steps == [(at, at + 1) for at in range(8)]


def test_a_curve_of_one_dose_is_a_dot(told, parts):
    _, _, curve = parts
    found = told(curves=(curve("bolus", "U", [4.0], -15.0, supported=[True]),))
    _, marks = drawn(found)
    assert len(of(marks, "effect")) == 1
    assert of(marks, "mark")[-1][0][0] == pytest.approx(curve_panels(found)[0].area.left)


def test_the_plans_dose_is_marked_where_it_is_drawn(told):
    bolus = curve_panels(told())[0]
    lines = [places[0][0] for places in of(drawn(told())[1], "now")]
    assert lines[1:] == pytest.approx([bolus.x(4.0), curve_panels(told())[1].area.left], abs=0.06)
    # Ten units are further than the curve goes.
    assert len(of(drawn(told(plan="bolus 10 U"))[1], "now")) == 2


def test_equal_plans_end_with_labels_that_can_be_read(told, compared):
    level = np.repeat(compared().level[:1], 2, axis=0)
    root, _ = drawn(told(level=level))
    ends = {one.text: float(one.get("y")) for one in root if (one.text or "").endswith(" 60")}
    assert set(ends) == {"the plan 60", "the other 60"}
    assert abs(ends["the plan 60"] - ends["the other 60"]) >= 15


def test_hours_are_counted_from_the_newest_reading(told):
    assert [at for _, at in hour_ticks(told(), effect_panel(told()))][:4] == ["now", "+0.5 h", "+1 h", "+1.5 h"]
    assert course(told(), "effect", "point")[:2] == [(0.0, 0.0), (15.0, -7.5)]
    assert course(told(), "plan", "point")[0] == (0.0, 180.0)


def test_long_plans_are_cut_in_the_legend_alone(told):
    long = "; ".join(["carbs 12 g in 10 min"] * 9)
    assert short("bolus 4 U", 9) == "bolus 4 U"
    assert len(short(long, 48)) <= 48
    assert short(long, 48).endswith("…")
    figure = whole_figure(told(plan=long), words="")
    assert long not in figure
    assert re.search(r">the plan: carbs 12 g in 10 min; [^<]*…<", figure)


def test_words_and_a_name_stand_in_the_figure(told):
    root, _ = drawn(told())
    assert [one.text for one in root][:2] == [
        "Glucose under two plans, and the effect of one against the other",
        "all of it",
    ]
    assert root.get("role") == "img"
