"""The course around an event as inline SVG: mean waveform over signed credit with its interval."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray

from hdt_fm.explain.aggregate.events import EventAligned
from hdt_fm.explain.page.axis import printed_unit, short
from hdt_fm.explain.page.palette import AGAINST, COLOURS, FOR, SIZE

WIDTH, LEFT, RIGHT = 900, 70, 10
WAVE, CREDIT, AXIS = 100, 80, 26
_POINTS, COARSE = 120, 12
Array = NDArray[np.float64]


def event_figure(found: EventAligned, channel: int, *, with_wave: bool) -> Markup:
    """One channel around the event.

    Args:
        with_wave: False leaves the waveform out and shows credit in a dozen steps, since a fine course of it draws the
            waveform's outline.
    """
    bins = min(_POINTS if with_wave else COARSE, len(found.time_s))
    edges = np.linspace(0, len(found.time_s), bins + 1).astype(int)
    credit, low, high = (
        _binned(one[channel], edges) for one in (found.credit.value, found.credit.low, found.credit.high)
    )
    top = WAVE if with_wave else 0
    name = f"{found.label}, channel {channel + 1}, around {found.name}"
    parts = [*_credit(credit, low, high, top), *_axis(found, top + CREDIT)]
    if with_wave:
        parts = [*_wave(found.wave.value[channel], found.wave_unit), *parts]
    return Markup(
        f'<svg viewBox="0 0 {WIDTH} {top + CREDIT + AXIS}" role="img" class="channel"><title>{escape(name)}</title>'
        f"<desc>{escape(_in_words(found, credit, edges))}</desc>{''.join(parts)}</svg>"
    )


def _binned(course: Array, edges: NDArray[np.int64]) -> Array:
    out = np.full(len(edges) - 1, np.nan)
    for k, (first, last) in enumerate(pairwise(edges)):
        known = course[first:last][np.isfinite(course[first:last])]
        if len(known):
            out[k] = known.mean()
    return out


def _in_words(found: EventAligned, credit: Array, edges: NDArray[np.int64]) -> str:
    if not np.isfinite(credit).any() or not np.nanmax(np.abs(credit)) > 0:
        return "No credit anywhere."
    place = int(np.nanargmax(np.abs(credit)))
    at_s = float(found.time_s[edges[place] : edges[place + 1]].mean())
    when = f"{abs(at_s):.2g} s {'after' if at_s >= 0 else 'before'}"
    side = "higher" if credit[place] >= 0 else "lower"
    return f"Mean credit is largest {when} the event, towards a {side} output."


def _x(share: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * share


def _credit(credit: Array, low: Array, high: Array, top: int) -> Iterator[str]:
    known = np.concatenate([one[np.isfinite(one)] for one in (credit, low, high)])
    scale = float(np.abs(known).max(initial=0.0)) or 1.0
    middle, half = top + CREDIT / 2, CREDIT / 2 - 4
    width = (WIDTH - LEFT - RIGHT) / len(credit)
    for k, value in enumerate(credit):
        if not np.isfinite(value):
            continue
        x, size = _x(k / len(credit)), abs(value) / scale * half
        yield (
            f'<rect x="{x:.1f}" y="{middle - size if value >= 0 else middle:.1f}" width="{max(width - 0.5, 0.5):.1f}" '
            f'height="{size:.1f}" fill="{FOR if value >= 0 else AGAINST}"/>'
        )
        if np.isfinite(low[k]) and np.isfinite(high[k]):
            at = x + width / 2
            ends = [middle - one / scale * half for one in (low[k], high[k])]
            yield f'<path d="M{at:.1f} {ends[0]:.1f}V{ends[1]:.1f}" stroke="{COLOURS["soft"]}"/>'
    yield f'<line class="zero" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{middle:.1f}" y2="{middle:.1f}"/>'
    yield f'<text class="label" x="{LEFT - 6}" y="{middle + 4:.0f}" text-anchor="end">credit</text>'
    yield f'<text class="label" x="{LEFT - 6}" y="{top + 14}" text-anchor="end">{short(scale)}</text>'


def _wave(wave: Array, unit: str) -> Iterator[str]:
    known = np.isfinite(wave)
    if not known.any():
        return
    low, high = float(wave[known].min()), float(wave[known].max())
    span = high - low or 1.0
    points = " ".join(
        f"{_x((k + 0.5) / len(wave)):.1f},{4 + (WAVE - 12) * (high - wave[k]) / span:.1f}"
        for k in np.flatnonzero(known)
    )
    yield f'<polyline class="wave" points="{points}"/>'
    yield f'<text class="label" x="{LEFT - 6}" y="12" text-anchor="end">{short(high)}</text>'
    yield f'<text class="label" x="{LEFT - 6}" y="{WAVE / 2:.0f}" text-anchor="end">{escape(printed_unit(unit))}</text>'
    yield f'<text class="label" x="{LEFT - 6}" y="{WAVE - 8}" text-anchor="end">{short(low)}</text>'


def _axis(found: EventAligned, top: int) -> Iterator[str]:
    # A sample is as wide as a step, half of it before its time.
    half = float(found.time_s[1] - found.time_s[0]) / 2
    first, last = float(found.time_s[0]) - half, float(found.time_s[-1]) + half
    unit, size = ("min", 60.0) if last - first > 600 else ("s", 1.0)
    step = _tick((last - first) / size / 6)
    yield f'<line class="zero" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{top + 2}" y2="{top + 2}"/>'
    for tick in np.arange(np.ceil(first / size / step - 1e-9) * step, last / size + step / 1000, step):
        x = _x((tick * size - first) / (last - first))
        anchor = "end" if x > WIDTH - RIGHT - 20 else "middle"
        yield f'<line class="zero" x1="{x:.1f}" x2="{x:.1f}" y1="{top + 2}" y2="{top + 6}"/>'
        words = f"{short(round(float(tick), 9))} {unit}"
        yield f'<text class="label" x="{x:.1f}" y="{top + 18}" text-anchor="{anchor}">{words}</text>'
    at = _x(-first / (last - first))
    yield f'<line x1="{at:.1f}" x2="{at:.1f}" y1="0" y2="{top + 2}" stroke="{SIZE}" stroke-dasharray="4 3"/>'


def _tick(raw: float) -> float:
    power = 10.0 ** np.floor(np.log10(raw))
    return float(next(m * power for m in (1, 2, 5, 10) if m * power >= raw * (1 - 1e-9)))
