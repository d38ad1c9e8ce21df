"""The hours before and the hours ahead as one inline SVG: readings, a fan, thresholds."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from markupsafe import Markup

from hdt_fm.twin import svg
from hdt_fm.twin.forecast.told import CLOCKS_UNDER_AXIS

AREA = svg.Area(left=62.0, top=30.0, width=782.0, height=322.0)
WIDTH, HEIGHT = 960.0, 400.0
# Readings further apart than this are not joined by a line.
_GAP_MIN = 45.0
_NICE_MIN = (30, 60, 120, 180, 240, 360)
_MOST_TICKS = 9
_MOST_VALUE_STEPS = 7
# Labels nearer to each other cannot be read.
_LABEL_HEIGHT = 15.0


@dataclass(frozen=True)
class Frame:
    """What the figure spans: minutes from the newest reading, and values in the unit of the record."""

    first: float
    last: float
    low: float
    high: float

    def x(self, minute: float) -> float:
        return AREA.left + AREA.width * (minute - self.first) / (self.last - self.first)

    def y(self, value: float) -> float:
        return AREA.top + AREA.height * (self.high - value) / (self.high - self.low)

    def places(self, line: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
        """Of minutes and values."""
        return [(self.x(minute), self.y(value)) for minute, value in line]


def frame_of(told: Mapping[str, Any]) -> Frame:
    """Of a `record`: everything drawn is inside, thresholds too."""
    drawn = [one["value"] for one in told["readings"]] + [told["newest"]["value"]]
    drawn += [value for one in told["ahead"] for value in one["quantiles"]]
    drawn += [event["threshold"] for event in told["events"]]
    low, high = min(drawn), max(drawn)
    room = 0.07 * (high - low) or max(abs(high) * 0.05, 1.0)
    first = min([one["min"] for one in told["readings"]] + [-60.0])
    last = max(one["min"] for one in told["ahead"])
    return Frame(first, last, low - room, high + room)


def fan_figure(told: Mapping[str, Any], *, words: str) -> Markup:
    """Readings and fan of a `record`.

    Args:
        words: What the figure shows, for those who do not see it.
    """
    frame, name = frame_of(told), told["modality"].capitalize()
    values = [(tick, frame.y(tick)) for tick in value_ticks(frame)]
    parts = [*svg.frame(AREA, f"{name} ({told['unit']})", values, above=12.0), *_fan(told, frame)]
    parts += [*_thresholds(told, frame), *_readings(told, frame), *_now(frame)]
    times = [(frame.x(minute), at) for minute, at in time_ticks(told, frame)]
    parts += svg.axis_below(AREA, times, time_words(told))
    title = f"{name}: the last hours and what is expected"
    return svg.figure("forecast", WIDTH, HEIGHT, parts, title=title, words=words)


def pairs_of(levels: Sequence[float]) -> list[tuple[int, int]]:
    """Quantiles that enclose a share each, the widest first."""
    return [(at, len(levels) - 1 - at) for at in range(len(levels) // 2)]


def edges_of(told: Mapping[str, Any], quantile: int) -> list[tuple[float, float]]:
    """A quantile over time as minutes and values, from the newest reading on."""
    return _from_newest(told, [one["quantiles"][quantile] for one in told["ahead"]])


def middle_of(told: Mapping[str, Any]) -> list[tuple[float, float]]:
    """The mean that is expected, as `edges_of`."""
    return _from_newest(told, [one["point"] for one in told["ahead"]])


def stretches(readings: Sequence[Mapping[str, float]]) -> list[list[tuple[float, float]]]:
    """Readings as minutes and values, parted where nothing was read for long."""
    found: list[list[tuple[float, float]]] = []
    for one in readings:
        if not found or one["min"] - found[-1][-1][0] > _GAP_MIN:
            found.append([])
        found[-1].append((one["min"], one["value"]))
    return found


def time_ticks(told: Mapping[str, Any], frame: Frame) -> list[tuple[float, str]]:
    """Minutes and what stands there: whole hours of the clock, or hours from now where no time is told."""
    span, newest = frame.last - frame.first, told["newest"]["time"]
    step = next((one for one in _NICE_MIN if span / one <= _MOST_TICKS), _NICE_MIN[-1])
    if newest is None:
        return [(minute, f"{minute / 60:+g} h" if minute else "now") for minute in _every(step, frame, since=0.0)]
    now = datetime.fromisoformat(newest)
    midnight = now.replace(hour=0, minute=0)
    since = (now - midnight).total_seconds() / 60
    ticks = _every(step, frame, since=since)
    return [(tick - since, (midnight + timedelta(minutes=tick)).strftime("%H:%M")) for tick in ticks]


def value_ticks(frame: Frame) -> tuple[float, ...]:
    """Round values inside."""
    return svg.round_values(frame.low, frame.high, _MOST_VALUE_STEPS, (1.0, 2.0, 2.5, 5.0, 10.0))


def time_words(told: Mapping[str, Any]) -> str:
    """What stands under the axis of time."""
    return "from the newest reading" if told["clock"] is None else CLOCKS_UNDER_AXIS[told["clock"]]


def _from_newest(told: Mapping[str, Any], values: Sequence[float]) -> list[tuple[float, float]]:
    minutes = [one["min"] for one in told["ahead"]]
    return [(0.0, told["newest"]["value"]), *zip(minutes, values, strict=True)]


def _every(step: int, frame: Frame, *, since: float) -> list[float]:
    """Multiples of so many minutes inside, counted from `since` minutes before the newest reading."""
    first = -(-(since + frame.first) // step) * step
    return [first + step * at for at in range(int((since + frame.last - first) // step) + 1)]


def _fan(told: Mapping[str, Any], frame: Frame) -> Iterator[str]:
    for low, high in pairs_of(told["levels"]):
        yield svg.polygon("fan", frame.places(edges_of(told, high)), frame.places(edges_of(told, low)))
    for quantile in (0, len(told["levels"]) - 1):
        yield svg.polyline("edge", frame.places(edges_of(told, quantile)))
    middle = frame.places(middle_of(told))
    yield svg.polyline("point", middle)
    for x, y in middle[1:]:
        yield svg.dot("mark", x, y, 3.0)
    yield from _last_values(told["ahead"][-1], frame)


def _last_values(last: Mapping[str, Any], frame: Frame) -> Iterator[str]:
    """Side by side with what they name, pushed apart where the interval is narrow."""
    above, middle, below = (frame.y(last[name]) for name in ("high", "point", "low"))
    heights = (min(above, middle - _LABEL_HEIGHT), middle, max(below, middle + _LABEL_HEIGHT))
    for name, height in zip(("high", "point", "low"), heights, strict=True):
        kind = "label head" if name == "point" else "label"
        yield svg.text(kind, AREA.right + 8, height + 4, f"{last[name]:.0f}")


def _thresholds(told: Mapping[str, Any], frame: Frame) -> Iterator[str]:
    for event in told["events"]:
        y = frame.y(event["threshold"])
        yield svg.line("limit", (AREA.left, y), (AREA.right, y))
        yield svg.text("label limit-word", AREA.left + 6, y - 5, f"{event['threshold']:g} {told['unit']}")


def _readings(told: Mapping[str, Any], frame: Frame) -> Iterator[str]:
    for stretch in stretches(told["readings"]):
        if len(stretch) > 1:
            yield svg.polyline("value", frame.places(stretch))
    for one in told["readings"]:
        yield svg.dot("dot", frame.x(one["min"]), frame.y(one["value"]), 1.8)


def _now(frame: Frame) -> Iterator[str]:
    x = frame.x(0.0)
    yield svg.line("now", (x, AREA.top), (x, AREA.bottom))
    yield svg.text("label", x, AREA.top - 6, "newest reading", anchor="middle")
