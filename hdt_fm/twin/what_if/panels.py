"""What the figure's panels span and what lines run through them; shared by its SVG and its PNG."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from hdt_fm.schema.modalities import modality
from hdt_fm.twin import svg
from hdt_fm.twin.forecast.drawing import Frame, time_ticks
from hdt_fm.twin.what_if.told import PLANS
from hdt_fm.twin.what_if.words import after

LEFT, ACROSS = 62.0, 782.0
_LEVELS_TOP, _LEVELS_HIGH = 58.0, 300.0
_EFFECT_TOP, _EFFECT_HIGH = 446.0, 190.0
_CURVES_TOP, _CURVES_HIGH, _CURVES_APART, _CURVE_WIDE = 730.0, 180.0, 274.0, 352.0
_MOST_STEPS = 6
_ENDS = ("low", "point", "high")

Point = tuple[float, float]


@dataclass(frozen=True)
class Panel:
    """One area and what it spans: minutes or doses across, mg/dL upwards."""

    area: svg.Area
    first: float
    last: float
    low: float
    high: float

    def x(self, at: float) -> float:
        return self.area.left + self.area.width * (at - self.first) / (self.last - self.first)

    def y(self, value: float) -> float:
        return self.area.top + self.area.height * (self.high - value) / (self.high - self.low)

    def places(self, line: Sequence[Point]) -> list[Point]:
        """Of what is across and upwards."""
        return [(self.x(at), self.y(value)) for at, value in line]

    @property
    def frame(self) -> Frame:
        """The same span, for ticks."""
        return Frame(self.first, self.last, self.low, self.high)

    def ticks(self) -> list[Point]:
        """Round values and their heights."""
        return [(one, self.y(one)) for one in svg.round_values(self.low, self.high, _MOST_STEPS)]

    def ticks_across(self) -> list[tuple[float, str]]:
        """Places of round doses, and what stands there."""
        return [(self.x(one), f"{one:g}") for one in svg.round_values(self.first, self.last, _MOST_STEPS)]


def levels_panel(told: Mapping[str, Any]) -> Panel:
    """Readings and both fans; everything drawn is inside, thresholds too."""
    drawn = [one["value"] for one in told["readings"]] + [told["newest"]["value"], *told["thresholds"]]
    drawn += [one[name][end] for one in told["ahead"] for name in PLANS for end in _ENDS]
    first = min([one["min"] for one in told["readings"]] + [-60.0])
    area = svg.Area(LEFT, _LEVELS_TOP, ACROSS, _LEVELS_HIGH)
    return Panel(area, float(first), float(told["ahead"][-1]["min"]), *_roomy(drawn))


def effect_panel(told: Mapping[str, Any]) -> Panel:
    """From the newest reading on; no effect is inside."""
    drawn = [one["effect"][end] for one in told["ahead"] for end in _ENDS]
    area = svg.Area(LEFT, _EFFECT_TOP, ACROSS, _EFFECT_HIGH)
    return Panel(area, 0.0, float(told["ahead"][-1]["min"]), *_roomy([0.0, *drawn]))


def curve_panels(told: Mapping[str, Any]) -> list[Panel]:
    """Two side by side, of one height and scale each."""
    found = []
    for at, curve in enumerate(told["curves"]):
        doses = [one["dose"] for one in curve["points"]]
        drawn = [one[end] for one in curve["points"] for end in _ENDS]
        left = LEFT + at % 2 * (ACROSS - _CURVE_WIDE)
        area = svg.Area(left, _CURVES_TOP + at // 2 * _CURVES_APART, _CURVE_WIDE, _CURVES_HIGH)
        last = max(doses) if max(doses) > min(doses) else min(doses) + 1.0
        found.append(Panel(area, float(min(doses)), float(last), *_roomy([0.0, *drawn])))
    return found


def course(told: Mapping[str, Any], name: str, end: str) -> list[Point]:
    """Minutes and values of a plan's level or of the effect, from the newest reading on, where plans are alike."""
    start = 0.0 if name == "effect" else told["newest"]["value"]
    return [(0.0, start), *((float(one["min"]), one[name][end]) for one in told["ahead"])]


def parted(points: Sequence[Mapping[str, Any]]) -> list[tuple[bool, list[Mapping[str, Any]]]]:
    """Stretches of a curve and whether people dose so at both ends of each step."""
    found: list[tuple[bool, list[Mapping[str, Any]]]] = []
    for one, following in pairwise(points):
        supported = bool(one["supported"] and following["supported"])
        if not found or found[-1][0] is not supported:
            found.append((supported, [one]))
        found[-1][1].append(following)
    return found


def short(words: str, letters: int) -> str:
    """Words that fit; what is cut off stands in the text beside the figure."""
    return words if len(words) <= letters else f"{words[: letters - 1].rstrip()}…"


def band(told: Mapping[str, Any]) -> tuple[list[Point], list[Point], list[Point]]:
    """The effect's low end, middle and high end over time."""
    low, point, high = (course(told, "effect", end) for end in _ENDS)
    return low, point, high


def curve_band(points: Sequence[Mapping[str, Any]]) -> tuple[list[Point], list[Point], list[Point]]:
    """The same over doses."""
    low, point, high = ([(one["dose"], one[end]) for one in points] for end in _ENDS)
    return low, point, high


def hour_ticks(told: Mapping[str, Any], panel: Panel) -> list[tuple[float, str]]:
    """Minutes and how long that is after the newest reading."""
    return time_ticks({**told, "newest": {**told["newest"], "time": None}}, panel.frame)


def curve_title(curve: Mapping[str, Any]) -> str:
    """What a panel of doses shows."""
    return f"Effect after {after(curve['min'])} by dose (mg/dL)"


def curve_axis(curve: Mapping[str, Any]) -> str:
    """What stands under it."""
    return f"{modality(curve['treatment']).label} ({curve['unit']}), the rest of the plan as it is"


def _roomy(drawn: Sequence[float]) -> Point:
    low, high = min(drawn), max(drawn)
    room = 0.07 * (high - low) or 1.0
    return low - room, high + room
