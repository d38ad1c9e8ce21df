"""Figures of students as inline SVG: a curve with its interval, and a signed bar with its own."""

import numpy as np
from jaxtyping import Float
from markupsafe import Markup, escape

from hdt_fm.explain.distil.named import Feature, told
from hdt_fm.explain.distil.shapes import Curve
from hdt_fm.explain.page.palette import AGAINST, FOR, SIZE
from hdt_fm.metrics.bootstrap import Interval

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 460, 190, 62, 10, 12, 40
BAR_WIDTH, BAR_HEIGHT = 200, 16


def curve_figure(curve: Curve, feature: Feature, *, digits: int, scale: float, unit: str, out_digits: int) -> Markup:
    """What the levels of a feature add to the student's answer.

    Args:
        digits: Decimals of the feature.
        scale: Size of the largest end of any interval, common to all curves of a report.
        unit: Of the output; `out_digits` its decimals.
    """
    low, high = float(curve.at[0]), float(curve.at[-1])
    x = LEFT + (WIDTH - LEFT - RIGHT) * (curve.at - low) / (high - low)
    middle, half = TOP + (HEIGHT - TOP - BOTTOM) / 2, (HEIGHT - TOP - BOTTOM) / 2

    def y(values: Float[np.ndarray, " point"]) -> Float[np.ndarray, " point"]:
        return middle - half * np.clip(values / scale, -1, 1)

    band = [*zip(x, y(curve.high), strict=True), *zip(x[::-1], y(curve.low)[::-1], strict=True)]
    floor = HEIGHT - BOTTOM
    parts = [
        f'<polygon points="{_points(band)}" fill="#999" fill-opacity=".35"/>',
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{middle:.1f}" y2="{middle:.1f}" stroke="#555"/>',
        f'<polyline points="{_points(list(zip(x, y(curve.adds), strict=True)))}" fill="none" stroke="{SIZE}" '
        'stroke-width="2"/>',
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{floor}" y2="{floor}" stroke="#555"/>',
    ]
    for tick in curve.ticks:
        at = LEFT + (WIDTH - LEFT - RIGHT) * (tick - low) / (high - low)
        parts.append(f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{floor}" y2="{floor + 7}" stroke="#555"/>')
    parts += [_text(LEFT, floor + 20, told(low, digits), "start"), _text(WIDTH - RIGHT, floor + 20, told(high, digits))]
    parts.append(
        _text((LEFT + WIDTH - RIGHT) / 2, floor + 34, f"{feature.words}, {feature.unit or 'no unit'}", "middle")
    )
    parts += [_text(LEFT - 6, TOP + 8, f"+{told(scale, out_digits)}"), _text(LEFT - 6, middle + 4, "0")]
    parts += [_text(LEFT - 6, floor, f"-{told(scale, out_digits)}")]
    words = in_words(curve, feature, digits=digits, unit=unit, out_digits=out_digits)
    return Markup(
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" class="curve" style="max-width:{WIDTH}px;width:100%">'
        f"<title>{escape(feature.words)}</title><desc>{escape(words)}</desc>{''.join(parts)}</svg>"
    )


def in_words(curve: Curve, feature: Feature, *, digits: int, unit: str, out_digits: int) -> str:
    """The curve for those who cannot see it."""
    ends = [f"{told(float(one), out_digits, unit)}" for one in (curve.adds[0], curve.adds[-1])]
    levels = [told(float(one), digits, feature.unit) for one in (curve.at[0], curve.at[-1])]
    return f"The curve {curve.trend}: {ends[0]} at {levels[0]}, {ends[1]} at {levels[1]}."


def effect_bar(effect: Interval, scale: float) -> Markup:
    """A signed bar from the middle, its interval as a line; the numbers stand beside it in the table."""
    middle, half = BAR_WIDTH / 2, BAR_WIDTH / 2 - 2
    ends = [middle + half * float(np.clip(one / scale, -1, 1)) for one in effect]
    value, low, high = ends
    return Markup(
        f'<svg viewBox="0 0 {BAR_WIDTH} {BAR_HEIGHT}" class="bar" style="min-width:7rem" aria-hidden="true">'
        f'<rect width="{BAR_WIDTH}" height="{BAR_HEIGHT}" fill="#f0f0f0"/>'
        f'<rect x="{min(middle, value):.1f}" y="3" width="{abs(value - middle):.1f}" height="{BAR_HEIGHT - 6}" '
        f'fill="{FOR if value >= middle else AGAINST}"/>'
        f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{BAR_HEIGHT / 2}" y2="{BAR_HEIGHT / 2}" stroke="#111" '
        f'stroke-width="1.5"/><line x1="{middle}" x2="{middle}" y1="0" y2="{BAR_HEIGHT}" stroke="#555"/></svg>'
    )


def _points(pairs: list[tuple[float, float]]) -> str:
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in pairs)


def _text(x: float | int, y: float | int, words: str, anchor: str = "end") -> str:
    return f'<text class="label" x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}">{escape(words)}</text>'
