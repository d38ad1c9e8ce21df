"""Marks of an inline SVG as text: what the figures of all reports share. Colours are the page's; no library draws.

Places are in points of the figure, from its upper left corner.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape

Line = Iterable[tuple[float, float]]


@dataclass(frozen=True)
class Area:
    """Where values are drawn."""

    left: float
    top: float
    width: float
    height: float

    @property
    def right(self) -> float:
        return self.left + self.width

    @property
    def bottom(self) -> float:
        return self.top + self.height


def figure(kind: str, width: float, height: float, parts: Iterable[str], *, title: str, words: str) -> Markup:
    """The whole figure, which can be read on light and on dark.

    Args:
        kind: Its class in the page.
        parts: Marks in the order in which they are drawn.
        words: What the figure shows, for those who do not see it.
    """
    return Markup(
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img" class="{kind}" '
        'aria-labelledby="figure-title figure-words">'
        f'<title id="figure-title">{escape(title)}</title>'
        f'<desc id="figure-words">{escape(words)}</desc>{"".join(parts)}</svg>'
    )


def frame(area: Area, label: str, ticks: Line, *, above: float = 7.0) -> Iterator[str]:
    """An area with its name over it and its values to the left.

    Args:
        ticks: Value and height of each.
        above: How far over the area its name stands.
    """
    yield text("label head", area.left, area.top - above, label)
    yield f'<rect class="frame" x="{area.left:g}" y="{area.top:g}" width="{area.width:g}" height="{area.height:g}"/>'
    for value, y in ticks:
        yield line("tick", (area.left - 4, y), (area.left, y))
        yield text("label", area.left - 7, y + 4, f"{value:g}", anchor="end")


def axis_below(area: Area, ticks: Iterable[tuple[float, str]], words: str) -> Iterator[str]:
    """What stands under an area: words at their places, and below them what they are."""
    for x, at in ticks:
        yield line("tick", (x, area.bottom), (x, area.bottom + 5))
        yield text("label", x, area.bottom + 18, at, anchor="middle")
    yield text("label", area.left + area.width / 2, area.bottom + 36, words, anchor="middle")


def text(kind: str, x: float, y: float, words: str, *, anchor: str = "start") -> str:
    """Words that begin at a place, or have their middle or end there."""
    held = "" if anchor == "start" else f' text-anchor="{anchor}"'
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}"{held}>{escape(words)}</text>'


def line(kind: str, begin: tuple[float, float], end: tuple[float, float]) -> str:
    """From one place to another."""
    return f'<line class="{kind}" x1="{begin[0]:.1f}" x2="{end[0]:.1f}" y1="{begin[1]:.1f}" y2="{end[1]:.1f}"/>'


def polyline(kind: str, places: Line) -> str:
    """A line along places."""
    return f'<polyline class="{kind}" points="{_points(places)}"/>'


def polygon(kind: str, upper: Line, lower: Line) -> str:
    """What lies between two lines that run the same way."""
    return f'<polygon class="{kind}" points="{_points([*upper, *reversed([*lower])])}"/>'


def dot(kind: str, x: float, y: float, radius: float) -> str:
    """A filled circle."""
    return f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}"/>'


def round_values(
    low: float, high: float, most: int, steps: tuple[float, ...] = (1.0, 2.0, 5.0, 10.0)
) -> tuple[float, ...]:
    """Round numbers from `low` to `high`, evenly apart, in about `most` steps at most.

    Args:
        steps: How far apart they may be, times any power of ten; the last one is 10.
    """
    raw = (high - low) / most
    power = 10.0 ** np.floor(np.log10(raw)) if raw > 0 else 1.0
    step = next(float(one * power) for one in steps if one * power >= raw)
    first = np.ceil(low / step)
    # A zero added to takes the sign off a zero.
    return tuple(float(round(one * step, 10)) + 0.0 for one in np.arange(first, np.floor(high / step) + 1))


def _points(places: Line) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
