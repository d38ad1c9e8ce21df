"""Deletion and insertion of one method as inline SVG, over the band of random orders."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

WIDTH, HEIGHT, LEFT, TOP, BOTTOM, GAP = 900, 190, 60, 24, 36, 70
PANEL = (WIDTH - LEFT - GAP - 10) / 2
LOWEST, HIGHEST = -0.25, 1.5
OURS, RANDOM = "#2c5f8a", "#777"
_WHAT = {"deletion": "gone", "insertion": "back"}


@dataclass(frozen=True)
class Band:
    """Where 90 % of random orders lie, and their middle, at each level; shares of the whole change."""

    low: list[float]
    middle: list[float]
    high: list[float]


def curve_figure(
    title: str, levels: Sequence[float], lines: Mapping[str, Sequence[float]], bands: Mapping[str, Band]
) -> Markup:
    """Two panels: share of the change from the reference that is gone, or back, by share of the segments."""
    parts: list[str] = []
    for place, (kind, values) in enumerate(lines.items()):
        parts += _panel(kind, LEFT + place * (PANEL + GAP), levels, values, bands[kind])
    name = f"{title}: deletion and insertion"
    return Markup(
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" class="channel"><title>{escape(name)}</title>'
        f"<desc>{escape(_in_words(levels, lines, bands))}</desc>{''.join(parts)}</svg>"
    )


def _in_words(levels: Sequence[float], lines: Mapping[str, Sequence[float]], bands: Mapping[str, Band]) -> str:
    told = [
        f"{kind}: with {levels[-2]:.0%} of the segments {_WHAT[kind]}, {values[-2]:.0%} of the change is; "
        f"random orders {bands[kind].low[-2]:.0%} to {bands[kind].high[-2]:.0%}."
        for kind, values in lines.items()
    ]
    return " ".join(told).capitalize()


def _panel(kind: str, left: float, levels: Sequence[float], values: Sequence[float], band: Band) -> Iterator[str]:
    x = [left + PANEL * k / max(1, len(levels) - 1) for k in range(len(levels))]
    yield f'<text class="label" x="{left:.1f}" y="12">{kind}: share of the change that is {_WHAT[kind]}</text>'
    for mark in (0.0, 0.5, 1.0):
        y = f"{_y(mark):.1f}"
        yield f'<line class="zero" stroke-opacity="0.3" x1="{left:.1f}" x2="{left + PANEL:.1f}" y1="{y}" y2="{y}"/>'
        yield f'<text class="label" x="{left - 6:.1f}" y="{_y(mark) + 4:.1f}" text-anchor="end">{mark:.0%}</text>'
    edge = [*zip(x, band.high, strict=True), *reversed(list(zip(x, band.low, strict=True)))]
    yield f'<polygon points="{_points(edge)}" fill="#ccc" fill-opacity="0.7"/>'
    middle = _points(list(zip(x, band.middle, strict=True)))
    yield f'<polyline points="{middle}" fill="none" stroke="{RANDOM}" stroke-width="1.5" stroke-dasharray="5 4"/>'
    own = list(zip(x, values, strict=True))
    yield f'<polyline points="{_points(own)}" fill="none" stroke="{OURS}" stroke-width="2.5"/>'
    for at, value in own:
        yield f'<circle cx="{at:.1f}" cy="{_y(value):.1f}" r="3.5" fill="{OURS}"/>'
    for at, level in zip(x, levels, strict=True):
        yield f'<text class="label" x="{at:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{level:.0%}</text>'
    yield f'<text class="label" x="{left + PANEL / 2:.1f}" y="{HEIGHT - 4}" text-anchor="middle">of the segments</text>'


def _y(value: float) -> float:
    """Beyond the panel a line is held at its edge; the table has the numbers."""
    share = (HIGHEST - min(HIGHEST, max(LOWEST, value))) / (HIGHEST - LOWEST)
    return TOP + share * (HEIGHT - TOP - BOTTOM)


def _points(pairs: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{_y(y):.1f}" for x, y in pairs)
