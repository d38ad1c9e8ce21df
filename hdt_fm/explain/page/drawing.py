"""Figures as inline SVG: a channel's waveform over its signed credit. No library draws here, so nothing is fetched."""

from collections.abc import Iterator, Mapping

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray

from hdt_fm.explain.page.axis import TimeAxis, printed_unit, short
from hdt_fm.explain.page.examples import Channel
from hdt_fm.explain.page.palette import AGAINST, COLOURS, FOR, SIZE

FULL, HALF = 900, 444
LEFT, RIGHT = 74, 12
HEAD, WAVE, STRIP, AXIS = 16, 84, 42, 24
_ROOM = 4000  # a stored waveform's width, in whole numbers
_MOST_POINTS = 1000
_LEVELS = 8
_DASHES = ("none", "4 3", "1 3", "8 3")
_MOST_NAMED = 8


def channel_figure(
    channel: Channel,
    credit: NDArray[np.float64],
    *,
    ident: str,
    wave: str,
    scale: float,
    signed: bool,
    window_s: float,
    events: Mapping[str, NDArray[np.float64]],
    width: int = FULL,
) -> Markup:
    """One channel of one window.

    Args:
        credit: (bin,) credit of a stretch.
        ident: Of this figure on the page, for what it refers to itself.
        wave: Of the stored waveform; empty leaves it and its range out, since it can tell who a person is.
        scale: Credit at full colour, common to all figures of a method.
        signed: Whether credit has a direction; else its size is drawn.
        events: Per kind, seconds from the start of the window.
    """
    room = width - LEFT - RIGHT
    axis = TimeAxis.of(window_s, most=7 if width == FULL else 5)
    upper = [*_heat(credit, scale, signed, room), *_gaps(channel.seen, ident, room)]
    if wave:
        upper.append(f'<use href="#{wave}" transform="scale({room / _ROOM:.5f} 1)"/>')
    inner = [
        f'<g transform="translate({LEFT} {HEAD})">{"".join(upper)}</g>',
        _label(LEFT, HEAD - 6, channel.name, "start", "label unit"),
        *_marks(events, window_s, LEFT + 6.5 * len(channel.name) + 10, room),
        *(_range(channel) if wave else ()),
        *_strip(credit, scale, signed, room),
        *_time(axis, room),
    ]
    words = in_words(channel, credit, axis, signed)
    return Markup(
        f'<svg viewBox="0 0 {width} {HEAD + WAVE + STRIP + AXIS + 12}" role="img" class="channel">'
        f"<title>{escape(channel.name)}</title><desc>{escape(words)}</desc>{''.join(map(str, inner))}</svg>"
    )


def stored_wave(ident: str, channel: Channel) -> Markup:
    """A waveform that every figure of its channel refers to, so that a page holds it once."""
    assert channel.values is not None
    values, seen = channel.values, channel.seen
    if not seen.any():
        return Markup(f'<g id="{ident}"></g>')
    low, high = ends_of(channel)
    across = (np.arange(len(values)) + 0.5) * _ROOM / len(values)
    down = 4 + (WAVE - 8) * (high - values.astype(np.float64)) / (high - low or 1.0)
    if channel.given:
        floor = 4 + (WAVE - 8) * high / (high - low or 1.0)
        stems = "".join(f"M{across[k]:.0f} {floor:.1f}V{down[k]:.1f}" for k in np.flatnonzero(seen & (values != 0)))
        return Markup(f'<g id="{ident}"><path class="wave stem" d="{stems}"/></g>')
    edges = np.flatnonzero(np.diff(seen, prepend=False, append=False)).reshape(-1, 2).tolist()
    lines = []
    for first, last in edges:
        index = first + thinned(values[first:last], max(2, _MOST_POINTS * (last - first) // len(values)))
        points = " ".join(f"{across[k]:.0f},{down[k]:.1f}" for k in index)
        lines.append(f'<polyline class="wave" points="{points}"/>')
    return Markup(f'<g id="{ident}">{"".join(lines)}</g>')


def share_bar(share: float, low: float = float("nan"), high: float = float("nan")) -> Markup:
    """A bar of 0 to 1, with its interval; the numbers stand beside it, so it is hidden from a screen reader."""
    whisker = ""
    if np.isfinite(low) and np.isfinite(high):
        left, right = 200 * low, 200 * high
        whisker = (
            f'<path d="M{left:.1f} 7H{right:.1f}M{left:.1f} 3v8M{right:.1f} 3v8" stroke="{COLOURS["ink"]}" '
            'stroke-width="2" fill="none"/>'
        )
    return Markup(
        f'<svg viewBox="0 0 200 14" preserveAspectRatio="xMinYMid" class="bar" aria-hidden="true">'
        f'<rect width="200" height="14" fill="{COLOURS["track"]}"/>'
        f'<rect width="{200 * share:.1f}" height="14" fill="{SIZE}" fill-opacity=".75"/>{whisker}</svg>'
    )


def in_words(channel: Channel, credit: NDArray[np.float64], axis: TimeAxis, signed: bool) -> str:
    """What the figure shows, for those who do not see it."""
    missing = "" if channel.seen.all() else f" {1 - channel.seen.mean():.0%} of it was not measured."
    if not credit.any():
        return f"{channel.name}: no credit anywhere.{missing}"
    top = int(np.abs(credit).argmax())
    side = f", towards a {'higher' if credit[top] >= 0 else 'lower'} output" if signed else ""
    where = axis.span(top / len(credit), (top + 1) / len(credit))
    return f"{channel.name}: the largest credit lies {where} in{side}.{missing}"


def ends_of(channel: Channel) -> tuple[float, float]:
    assert channel.values is not None
    there = channel.values[channel.seen]
    low = min(float(there.min()), 0.0) if channel.given else float(there.min())
    return low, float(there.max())


def _heat(credit: NDArray[np.float64], scale: float, signed: bool, room: int) -> Iterator[str]:
    """Stretches of equal colour in one path; a few shades are all that an eye tells apart."""
    if scale <= 0:
        return
    level = np.minimum(np.abs(credit) / scale, 1.0) * _LEVELS
    level = np.ceil(level - 0.25).astype(int) * np.where(credit < 0, -1, 1)
    width = room / len(credit)
    for one in sorted(set(level.tolist()) - {0}):
        cells = "".join(f"M{k * width:.1f} 0h{width:.1f}v{WAVE}h-{width:.1f}z" for k in np.flatnonzero(level == one))
        colour = SIZE if not signed else FOR if one > 0 else AGAINST
        yield (
            f'<path shape-rendering="crispEdges" fill="{colour}" fill-opacity="{0.55 * abs(one) / _LEVELS:.2f}" '
            f'd="{cells}"/>'
        )


def _strip(credit: NDArray[np.float64], scale: float, signed: bool, room: int) -> Iterator[str]:
    """The same credit as bars, for those who cannot see the colours."""
    above = HEAD + WAVE + 6
    zero = above + (STRIP / 2 if signed else STRIP)
    tall = STRIP / 2 if signed else STRIP
    yield f'<line class="zero" x1="{LEFT}" x2="{LEFT + room}" y1="{zero:.1f}" y2="{zero:.1f}"/>'
    yield _label(LEFT - 6, above + STRIP / 2 + 4, "credit", "end")
    if scale <= 0:
        return
    yield _label(LEFT - 6, above + 7, f"{'+' if signed else ''}{short(scale)}", "end", "label small")
    if signed:
        yield _label(LEFT - 6, above + STRIP + 1, f"−{short(scale)}", "end", "label small")
    width = room / len(credit)
    size = np.minimum(np.abs(credit) / scale, 1.0) * tall
    for sign, colour in ((1, FOR if signed else SIZE), (-1, AGAINST)):
        rows = np.flatnonzero((size >= 0.2) & ((credit > 0) if sign > 0 else (credit < 0)))
        bars = "".join(
            f"M{LEFT + k * width:.1f} {zero:.1f}v{-sign * size[k]:.1f}h{max(width - 0.5, 0.5):.1f}V{zero:.1f}z"
            for k in rows
        )
        if bars:
            yield f'<path fill="{colour}" d="{bars}"/>'


def _gaps(seen: NDArray[np.bool_], ident: str, room: int) -> Iterator[str]:
    edges = np.flatnonzero(np.diff(seen, prepend=True, append=True))
    if not len(edges):
        return
    yield (
        f'<defs><pattern id="hatch-{ident}" width="6" height="6" patternUnits="userSpaceOnUse" '
        'patternTransform="rotate(45)"><rect width="6" height="6" fill="#fff"/><line x1="0" y1="0" x2="0" y2="6" '
        'stroke="#777" stroke-width="1.5"/></pattern></defs>'
    )
    for first, last in edges.reshape(-1, 2).tolist():
        left, right = room * first / len(seen), room * last / len(seen)
        yield (
            f'<rect class="gap" x="{left:.1f}" y="0" width="{right - left:.1f}" height="{WAVE}" '
            f'fill="url(#hatch-{ident})"/>'
        )


def _range(channel: Channel) -> Iterator[str]:
    if not channel.seen.any():
        return
    low, high = ends_of(channel)
    yield _label(LEFT - 6, HEAD + 10, short(high), "end")
    yield _label(LEFT - 6, HEAD + WAVE / 2 + 4, printed_unit(channel.unit), "end", "label unit")
    yield _label(LEFT - 6, HEAD + WAVE - 2, short(low), "end")


def _marks(events: Mapping[str, NDArray[np.float64]], window_s: float, free: float, room: int) -> Iterator[str]:
    """A line at each event; words too where they are few and there is room from `free` on."""
    for number, (kind, times) in enumerate(events.items()):
        inside = np.sort(times[(times >= 0) & (times <= window_s)])
        many = len(inside) > _MOST_NAMED
        bottom = HEAD if many else HEAD + WAVE
        at = LEFT + room * inside / window_s
        path = "".join(f"M{x:.1f} {HEAD - 4}V{bottom}" for x in at)
        yield f'<path class="event" stroke-dasharray="{_DASHES[number % len(_DASHES)]}" d="{path}"/>'
        for x in () if many else at:
            if x >= free:
                yield _label(float(x), HEAD - 6, kind, "start" if x < LEFT + room * 0.9 else "end", "label small")
                free = float(x) + 6.5 * len(kind) + 6


def _time(axis: TimeAxis, room: int) -> Iterator[str]:
    line = HEAD + WAVE + STRIP + 12
    yield f'<line class="zero" x1="{LEFT}" x2="{LEFT + room}" y1="{line}" y2="{line}"/>'
    for tick in axis.ticks:
        x = LEFT + room * tick * axis.unit_s / axis.window_s
        anchor = "end" if x > LEFT + room - 20 else "middle"
        yield f'<line class="zero" x1="{x:.1f}" x2="{x:.1f}" y1="{line}" y2="{line + 4}"/>'
        yield _label(x, line + 16, f"{short(tick)} {axis.unit}", anchor)


def _label(x: float | int, y: float | int, words: str, anchor: str, kind: str = "label") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def thinned(values: NDArray[np.float32], most: int) -> NDArray[np.int64]:
    """At most a screen's width of points; keeps the lowest and highest of each bucket, so peaks stay."""
    if len(values) <= most:
        return np.arange(len(values))
    buckets = np.array_split(np.arange(len(values)), max(1, most // 2))
    return np.unique([b[pick] for b in buckets for pick in (values[b].argmin(), values[b].argmax())])
