"""Figures of a cohort as inline SVG: gaps with their intervals, and typical patterns of credit."""

from collections.abc import Iterator, Sequence

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray

from hdt_fm.explain.cohort.shares import Gap
from hdt_fm.explain.page.palette import COLOURS, SIZE

WIDTH, LEFT, RIGHT = 900, 330, 20
_ROW = 22


def gap_figure(gaps: Sequence[Gap], name: str) -> Markup:
    """Each gap as a dot with its 95 % interval, in percentage points, around a line at 0."""
    ends = [abs(end) for one in gaps for end in (one.low, one.high, one.value) if np.isfinite(end)]
    scale = max(ends, default=0.0) or 0.01
    height = _ROW * len(gaps) + 34
    clear = sum(one.p_holm < 0.05 for one in gaps)
    words = f"{len(gaps)} gaps with 95 % intervals; {clear} of them clear of chance after correction for their number."
    parts: list[str] = [f'<line class="zero" x1="{_x(0.0):.1f}" x2="{_x(0.0):.1f}" y1="0" y2="{height - 28}"/>']
    for row, one in enumerate(gaps):
        parts += _gap(one, row, scale)
    for share in (-1.0, -0.5, 0.0, 0.5, 1.0):
        text = f"{100 * share * scale:+.2g}" if share else "0"
        parts.append(
            f'<text class="label" x="{_x(share):.1f}" y="{height - 12}" text-anchor="middle">{text} points</text>'
        )
    return Markup(
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" class="channel"><title>{escape(name)}</title>'
        f"<desc>{escape(words)}</desc>{''.join(parts)}</svg>"
    )


def pattern_figure(
    pattern: NDArray[np.float64], columns: Sequence[str], *, name: str, scale: float, window: str
) -> Markup:
    """Mean share of credit by signal (rows) and stretch of the window, darker for more.

    Args:
        scale: Share of a stretch at full colour, common to all patterns.
        window: How long a window is, in words.
    """
    height = _ROW * len(columns) + 26
    width = (WIDTH - LEFT - RIGHT) / pattern.shape[1]
    parts = []
    for row, (label, shares) in enumerate(zip(columns, pattern, strict=True)):
        y = _ROW * row
        words = f"{label}: {100 * shares.sum():.0f} %"
        parts.append(f'<text class="label" x="{LEFT - 8}" y="{y + 15}" text-anchor="end">{escape(words)}</text>')
        for k, share in enumerate(shares):
            strength = min(share / scale, 1.0) if scale > 0 else 0.0
            parts.append(
                f'<rect x="{LEFT + k * width:.1f}" y="{y + 1}" width="{width - 1:.1f}" height="{_ROW - 2}" '
                f'fill="{SIZE}" fill-opacity="{strength:.2f}" stroke="{COLOURS["track"]}"/>'
            )
    for at, text, anchor in ((LEFT, "0", "start"), (WIDTH - RIGHT, window, "end")):
        parts.append(f'<text class="label" x="{at}" y="{height - 8}" text-anchor="{anchor}">{escape(text)}</text>')
    return Markup(
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" class="channel"><title>{escape(name)}</title>'
        f"<desc>{escape(_in_words(pattern, columns))}</desc>{''.join(parts)}</svg>"
    )


def _in_words(pattern: NDArray[np.float64], columns: Sequence[str]) -> str:
    total = pattern.sum(1)
    parts = [f"{columns[k]} {100 * total[k]:.0f} %" for k in np.argsort(-total, kind="stable") if total[k] > 0]
    if not parts:
        return "No credit anywhere."
    row, stretch = divmod(int(pattern.argmax()), pattern.shape[1])
    return f"Shares: {', '.join(parts)}. Most lies in {columns[row]}, part {stretch + 1} of {pattern.shape[1]}."


def _x(share: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * (0.5 + 0.46 * share)


def _gap(one: Gap, row: int, scale: float) -> Iterator[str]:
    y = _ROW * row + 12
    words = f"{one.what.replace('_', ' ')}, {one.which}: {one.column}"
    yield (f'<text class="label" x="{LEFT - 8}" y="{y + 4}" text-anchor="end">{escape(words)}</text>')
    if np.isfinite(one.low) and np.isfinite(one.high):
        yield (
            f'<line x1="{_x(one.low / scale):.1f}" x2="{_x(one.high / scale):.1f}" y1="{y}" y2="{y}" '
            f'stroke="{COLOURS["soft"]}" stroke-width="2"/>'
        )
    filled = SIZE if one.p_holm < 0.05 else COLOURS["paper"]
    yield f'<circle cx="{_x(one.value / scale):.1f}" cy="{y}" r="5" fill="{filled}" stroke="{SIZE}" stroke-width="2"/>'
