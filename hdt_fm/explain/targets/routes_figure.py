"""The figure of the section `routes`: of each way the share of the size as a bar, and beside it the signed credit."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup, escape

from hdt_fm.explain.page.axis import short, signed
from hdt_fm.explain.page.palette import AGAINST, COLOURS, FOR, SIZE

WIDTH, ROW, HEAD, FOOT = 900, 32.0, 26.0, 28.0
# From and to of both panels; names of the ways stand left of the first one.
SHARES, CREDITS = (110.0, 480.0), (540.0, 885.0)
TICKS = (0, 25, 50, 75, 100)
CREDIT, SHARE = (tuple(f"{what}{end}" for end in ("", "_low", "_high")) for what in ("credit", "share"))
# What stands in place of bars.
INSTEAD = {"absent": "nothing was told by it", "too few people": "told of too few people to be shown"}


def routes_figure(rows: Sequence[Mapping[str, Any]], *, unit: str) -> Markup:
    """One row a way, with 95 % intervals where there are any.

    Args:
        rows: Of the section's record, each with its `label` besides.
        unit: Of the answer; empty for a pure number.
    """
    ends = [abs(one[key]) for one in rows if one["status"] == "shown" for key in CREDIT]
    scale = max((end for end in ends if np.isfinite(end)), default=0.0)
    bottom = HEAD + ROW * len(rows)
    parts = [*_axes(bottom, scale, unit)]
    for number, one in enumerate(rows):
        parts += _row(one, HEAD + ROW * number, scale)
    return Markup(
        f'<svg viewBox="0 0 {WIDTH} {bottom + FOOT:.0f}" role="img" class="channel"><title>Credit by way</title>'
        f"<desc>{escape(in_words(rows, unit))}</desc>{''.join(parts)}</svg>"
    )


def in_words(rows: Sequence[Mapping[str, Any]], unit: str) -> str:
    """What the figure shows, for those who do not see it: the largest share first."""
    there = [one for one in rows if one["status"] == "shown" and np.isfinite(one["share"])]
    there.sort(key=lambda one: -one["share"])
    of = f" {unit}" if unit else ""
    said = [f"{one['label']} {100 * one['share']:.0f} %, on average {signed(one['credit'])}{of}" for one in there]
    missing = [f"{one['label']}: {INSTEAD[one['status']]}" for one in rows if one["status"] in INSTEAD]
    return ". ".join([("Shares of the size: " + "; ".join(said)) if said else "No credit anywhere", *missing]) + "."


def _row(one: Mapping[str, Any], top: float, scale: float) -> Iterator[str]:
    middle = top + ROW / 2
    yield _text(SHARES[0] - 10, middle + 4, one["label"], "end", "label unit")
    if one["status"] != "shown":
        yield _text(SHARES[0] + 6, middle + 4, INSTEAD[one["status"]], "start")
        return
    if np.isfinite(one["share"]):
        places = [_across(SHARES, one[key]) for key in SHARE]
        yield _bar(SHARES[0], places[0], top, SIZE)
        yield _whisker(places[1], places[2], middle)
    if scale > 0:
        places = [_across(CREDITS, 0.5 + 0.5 * one[key] / scale) for key in CREDIT]
        yield _bar(_across(CREDITS, 0.5), places[0], top, FOR if one["credit"] >= 0 else AGAINST)
        yield _whisker(places[1], places[2], middle)


def _axes(bottom: float, scale: float, unit: str) -> Iterator[str]:
    """Headings, grid lines and ticks; the credit's panel is of nothing where there is no credit."""
    yield _text(SHARES[0], 14.0, "share of the size", "start")
    for tick in TICKS:
        at = _across(SHARES, tick / 100)
        yield _line(at, bottom, strong=tick == 0)
        yield _text(at, bottom + 18, f"{tick} %", "middle")
    yield _text(CREDITS[0], 14.0, f"signed credit, {unit}" if unit else "signed credit", "start")
    for part in (-1.0, 0.0, 1.0) if scale > 0 else (0.0,):
        at = _across(CREDITS, 0.5 + 0.5 * part)
        yield _line(at, bottom, strong=part == 0)
        anchor = {-1.0: "start", 0.0: "middle", 1.0: "end"}[part]
        yield _text(at, bottom + 18, signed(part * scale) if part else short(0.0), anchor)


def _across(panel: tuple[float, float], part: float) -> float:
    return panel[0] + (panel[1] - panel[0]) * part


def _bar(start: float, end: float, top: float, colour: str) -> str:
    return (
        f'<rect x="{min(start, end):.1f}" y="{top + 6:.1f}" width="{abs(end - start):.1f}" height="{ROW - 12}" '
        f'fill="{colour}"/>'
    )


def _whisker(low: float, high: float, middle: float) -> str:
    """An interval; with a light edge, so that it is seen on the bar and beside it."""
    if not (np.isfinite(low) and np.isfinite(high)):
        return ""
    path = f"M{low:.1f} {middle}H{high:.1f}M{low:.1f} {middle - 5}v10M{high:.1f} {middle - 5}v10"
    return "".join(
        f'<path d="{path}" stroke="{COLOURS[colour]}" stroke-width="{width}" fill="none"/>'
        for colour, width in (("paper", 3.5), ("ink", 1.5))
    )


def _line(at: float, bottom: float, *, strong: bool) -> str:
    colour = COLOURS["soft" if strong else "track"]
    return f'<path d="M{at:.1f} {HEAD - 4}V{bottom + 4:.1f}" stroke="{colour}"/>'


def _text(x: float, y: float, words: str, anchor: str, kind: str = "label") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'
