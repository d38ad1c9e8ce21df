"""One inline SVG: readings with what is expected under both plans, the effect over time, and other doses."""

from collections.abc import Iterator, Mapping
from typing import Any

from markupsafe import Markup

from hdt_fm.twin import svg
from hdt_fm.twin.forecast.drawing import stretches, time_ticks, time_words
from hdt_fm.twin.what_if import panels
from hdt_fm.twin.what_if.panels import Panel, Point, course
from hdt_fm.twin.what_if.told import PLANS
from hdt_fm.twin.what_if.words import CALLED, shown, signed

WIDTH = 960.0
# What stands under an area: values and their words.
_AXIS = 44.0
_LEGEND_LETTERS = 48
# Labels nearer to each other cannot be read.
_LABEL_HEIGHT = 15.0

Band = tuple[list[Point], list[Point], list[Point]]


def whole_figure(told: Mapping[str, Any], *, words: str) -> Markup:
    """All panels of a record.

    Args:
        words: What the figure shows, for those who do not see it.
    """
    effect, curves = panels.effect_panel(told), panels.curve_panels(told)
    parts = [*_legend(told), *_levels(told, panels.levels_panel(told)), *_effect(told, effect)]
    for curve, panel in zip(told["curves"], curves, strict=True):
        parts += _curve(curve, panel)
    last = max(panel.area.bottom for panel in (effect, *curves))
    title = f"{told['modality'].capitalize()} under two plans, and the effect of one against the other"
    return svg.figure("what-if", WIDTH, last + _AXIS, parts, title=title, words=words)


def _legend(told: Mapping[str, Any]) -> Iterator[str]:
    for at, name in enumerate(PLANS):
        left = panels.LEFT + at * panels.ACROSS / 2
        above, middle, below = ([(left, y), (left + 26, y)] for y in (8.0, 14.0, 20.0))
        yield svg.polygon(f"fan {name}", above, below)
        yield svg.polyline(f"course {name}", middle)
        words = f"{CALLED[name]}: {told['plans'][name]['words']}"
        yield svg.text("label", left + 32, 18.0, panels.short(words, _LEGEND_LETTERS))


def _levels(told: Mapping[str, Any], panel: Panel) -> Iterator[str]:
    area, label = panel.area, f"{told['modality'].capitalize()} ({told['unit']})"
    yield from svg.frame(area, label, panel.ticks(), above=12.0)
    for name in reversed(PLANS):
        yield svg.polygon(
            f"fan {name}", panel.places(course(told, name, "high")), panel.places(course(told, name, "low"))
        )
    for name in reversed(PLANS):
        yield svg.polyline(f"course {name}", panel.places(course(told, name, "point")))
    for threshold in told["thresholds"]:
        yield svg.line("limit", (area.left, panel.y(threshold)), (area.right, panel.y(threshold)))
        yield svg.text("label", area.left + 6, panel.y(threshold) - 5, f"{threshold:g} {told['unit']}")
    for stretch in stretches(told["readings"]):
        yield svg.polyline("value", panel.places(stretch))
    for one in told["readings"]:
        yield svg.dot("dot", panel.x(one["min"]), panel.y(one["value"]), 1.8)
    yield svg.line("now", (panel.x(0.0), area.top), (panel.x(0.0), area.bottom))
    yield svg.text("label", panel.x(0.0), area.top - 6, "newest reading", anchor="middle")
    yield from _last_levels(told["ahead"][-1], panel)
    ticks = [(panel.x(minute), at) for minute, at in time_ticks(told, panel.frame)]
    yield from svg.axis_below(area, ticks, time_words(told))


def _last_levels(last: Mapping[str, Any], panel: Panel) -> Iterator[str]:
    """Beside the ends of the two courses, pushed apart where these are near."""
    upper, lower = sorted(PLANS, key=lambda name: -last[name]["point"])
    above = panel.y(last[upper]["point"])
    below = max(panel.y(last[lower]["point"]), above + _LABEL_HEIGHT)
    for name, height in ((upper, above), (lower, below)):
        yield svg.text("label", panel.area.right + 6, height + 4, f"{CALLED[name]} {last[name]['point']:.0f}")


def _effect(told: Mapping[str, Any], panel: Panel) -> Iterator[str]:
    yield from svg.frame(panel.area, f"Effect: the plan less the other ({told['unit']})", panel.ticks(), above=12.0)
    yield _no_effect(panel)
    yield from _band(panel, panels.band(told))
    for one in shown(told):
        x, y = panel.x(float(one["min"])), panel.y(one["effect"]["point"])
        yield svg.dot("mark", x, y, 3.0)
        anchor = "end" if one is told["ahead"][-1] else "middle"
        yield svg.text("label head", x, y - 7, signed(one["effect"]["point"]), anchor=anchor)
    ticks = [(panel.x(minute), at) for minute, at in panels.hour_ticks(told, panel)]
    yield from svg.axis_below(panel.area, ticks, "from the newest reading")


def _curve(curve: Mapping[str, Any], panel: Panel) -> Iterator[str]:
    yield from svg.frame(panel.area, panels.curve_title(curve), panel.ticks(), above=12.0)
    yield _no_effect(panel)
    for supported, points in panels.parted(curve["points"]):
        yield from _band(panel, panels.curve_band(points), "" if supported else " guess")
    for one in curve["points"]:
        kind = "mark" if one["supported"] else "mark guess"
        yield svg.dot(kind, panel.x(one["dose"]), panel.y(one["point"]), 2.6)
    if panel.first <= curve["asked"] <= panel.last:
        x = panel.x(curve["asked"])
        yield svg.line("now", (x, panel.area.top), (x, panel.area.bottom))
        # On the side with more room.
        aside, anchor = (-4, "end") if x > panel.area.left + panel.area.width / 2 else (4, "start")
        yield svg.text("label", x + aside, panel.area.bottom - 6, CALLED["plan"], anchor=anchor)
    yield from svg.axis_below(panel.area, panel.ticks_across(), panels.curve_axis(curve))


def _band(panel: Panel, band: Band, kind: str = "") -> Iterator[str]:
    """An effect with its interval."""
    low, point, high = band
    yield svg.polygon(f"band{kind}", panel.places(high), panel.places(low))
    yield svg.polyline(f"effect{kind}", panel.places(point))


def _no_effect(panel: Panel) -> str:
    return svg.line("zero", (panel.area.left, panel.y(0.0)), (panel.area.right, panel.y(0.0)))
