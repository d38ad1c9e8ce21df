"""The hours before and the hours ahead as one inline SVG: readings, a fan, thresholds. No library draws."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from markupsafe import Markup, escape

WIDTH, HEIGHT, LEFT, RIGHT, TOP, AXIS = 960.0, 400.0, 62.0, 116.0, 30.0, 48.0
# Readings further apart than this are not joined by a line.
_GAP_MIN = 45.0
_NICE_MIN = (30, 60, 120, 180, 240, 360)
_MOST_TICKS = 9


@dataclass(frozen=True)
class Frame:
    """What the figure spans: minutes from the newest reading, and values."""

    first: float
    last: float
    low: float
    high: float

    def x(self, minute: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (minute - self.first) / (self.last - self.first)

    def y(self, value: float) -> float:
        return TOP + (HEIGHT - TOP - AXIS) * (self.high - value) / (self.high - self.low)


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
    """Readings and fan of a `record`; colours are the page's, so that it can be read on light and on dark.

    Args:
        words: What the figure shows, for those who do not see it.
    """
    frame = frame_of(told)
    parts = [*_values_axis(told, frame), *_fan(told, frame), *_thresholds(told, frame), *_readings(told, frame)]
    parts += [*_now(frame), *_time_axis(told, frame)]
    return Markup(
        f'<svg viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img" class="forecast" '
        'aria-labelledby="figure-title figure-words">'
        f'<title id="figure-title">{escape(told["modality"].capitalize())}: the last hours and what is expected</title>'
        f'<desc id="figure-words">{escape(words)}</desc>{"".join(parts)}</svg>'
    )


def pairs_of(levels: Sequence[float]) -> list[tuple[int, int]]:
    """Quantiles that enclose a share each, the widest first."""
    return [(at, len(levels) - 1 - at) for at in range(len(levels) // 2)]


def edges_of(told: Mapping[str, Any], quantile: int) -> list[tuple[float, float]]:
    """A quantile over time as minutes and values, from the newest reading on."""
    start = (0.0, told["newest"]["value"])
    return [start, *((one["min"], one["quantiles"][quantile]) for one in told["ahead"])]


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
        first = -(-frame.first // step) * step
        minutes = [first + step * at for at in range(int((frame.last - first) // step) + 1)]
        return [(minute, f"{minute / 60:+g} h" if minute else "now") for minute in minutes]
    now = datetime.fromisoformat(newest)
    midnight = now.replace(hour=0, minute=0)
    since = (now - midnight).total_seconds() / 60
    first = -(-(since + frame.first) // step) * step
    ticks = [first + step * at for at in range(int((since + frame.last - first) // step) + 1)]
    return [(tick - since, (midnight + timedelta(minutes=tick)).strftime("%H:%M")) for tick in ticks]


def value_ticks(frame: Frame) -> list[float]:
    """Round values inside."""
    step = next(one for one in (5, 10, 20, 25, 50, 100, 200, 1e9) if (frame.high - frame.low) / one <= 7)
    first = int(-(-frame.low // step))
    return [float(step * at) for at in range(first, int(frame.high // step) + 1)]


def time_words(told: Mapping[str, Any]) -> str:
    """What stands under the axis of time."""
    words = {"local": "local time", "device": "clock of the export", "utc": "UTC", None: "from the newest reading"}
    return words[told["clock"]]


def _values_axis(told: Mapping[str, Any], frame: Frame) -> Iterator[str]:
    yield (
        f'<text class="label head" x="{LEFT:g}" y="{TOP - 12:g}">'
        f"{escape(told['modality'].capitalize())} ({escape(told['unit'])})</text>"
    )
    yield (
        f'<rect class="frame" x="{LEFT:g}" y="{TOP:g}" width="{WIDTH - LEFT - RIGHT:g}" '
        f'height="{HEIGHT - TOP - AXIS:g}"/>'
    )
    for tick in value_ticks(frame):
        y = frame.y(tick)
        yield f'<line class="tick" x1="{LEFT - 4:g}" x2="{LEFT:g}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text class="label" x="{LEFT - 7:g}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>'


def _fan(told: Mapping[str, Any], frame: Frame) -> Iterator[str]:
    for low, high in pairs_of(told["levels"]):
        around = edges_of(told, high) + edges_of(told, low)[::-1]
        yield f'<polygon class="fan" points="{_points(around, frame)}"/>'
    for quantile in (0, len(told["levels"]) - 1):
        yield f'<polyline class="edge" points="{_points(edges_of(told, quantile), frame)}"/>'
    middle = [(0.0, told["newest"]["value"]), *((one["min"], one["point"]) for one in told["ahead"])]
    yield f'<polyline class="point" points="{_points(middle, frame)}"/>'
    for minute, value in middle[1:]:
        yield f'<circle class="mark" cx="{frame.x(minute):.1f}" cy="{frame.y(value):.1f}" r="3"/>'
    last = told["ahead"][-1]
    # Labels side by side with what they name, pushed apart where the interval is narrow.
    heights = _apart([frame.y(last[name]) for name in ("high", "point", "low")])
    for name, height in zip(("high", "point", "low"), heights, strict=True):
        yield (
            f'<text class="label{" head" if name == "point" else ""}" x="{WIDTH - RIGHT + 8:g}" '
            f'y="{height + 4:.1f}">{last[name]:.0f}</text>'
        )


def _apart(heights: list[float], least: float = 15.0) -> list[float]:
    above, middle, below = heights
    return [min(above, middle - least), middle, max(below, middle + least)]


def _thresholds(told: Mapping[str, Any], frame: Frame) -> Iterator[str]:
    for event in told["events"]:
        y = frame.y(event["threshold"])
        yield f'<line class="limit" x1="{LEFT:g}" x2="{WIDTH - RIGHT:g}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield (
            f'<text class="label limit-word" x="{LEFT + 6:g}" y="{y - 5:.1f}">'
            f"{event['threshold']:g} {escape(told['unit'])}</text>"
        )


def _readings(told: Mapping[str, Any], frame: Frame) -> Iterator[str]:
    for stretch in stretches(told["readings"]):
        if len(stretch) > 1:
            yield f'<polyline class="value" points="{_points(stretch, frame)}"/>'
    for one in told["readings"]:
        yield f'<circle class="dot" cx="{frame.x(one["min"]):.1f}" cy="{frame.y(one["value"]):.1f}" r="1.8"/>'


def _now(frame: Frame) -> Iterator[str]:
    x = frame.x(0.0)
    yield f'<line class="now" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP:g}" y2="{HEIGHT - AXIS:g}"/>'
    yield f'<text class="label" x="{x:.1f}" y="{TOP - 6:g}" text-anchor="middle">newest reading</text>'


def _time_axis(told: Mapping[str, Any], frame: Frame) -> Iterator[str]:
    bottom = HEIGHT - AXIS
    for minute, text in time_ticks(told, frame):
        x = frame.x(minute)
        yield f'<line class="tick" x1="{x:.1f}" x2="{x:.1f}" y1="{bottom:g}" y2="{bottom + 5:g}"/>'
        yield f'<text class="label" x="{x:.1f}" y="{bottom + 18:g}" text-anchor="middle">{text}</text>'
    yield (
        f'<text class="label" x="{LEFT + (WIDTH - LEFT - RIGHT) / 2:.0f}" y="{bottom + 36:g}" '
        f'text-anchor="middle">{escape(time_words(told))}</text>'
    )


def _points(line: Sequence[tuple[float, float]], frame: Frame) -> str:
    return " ".join(f"{frame.x(minute):.1f},{frame.y(value):.1f}" for minute, value in line)
