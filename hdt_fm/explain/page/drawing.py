"""Figures as inline SVG: a channel's waveform over its signed credit. No library draws here, so nothing is fetched."""

from collections.abc import Iterator

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray

from hdt_fm.explain.explanation import SignalView, segment_sums

WIDTH, LEFT, RIGHT = 900, 70, 10
WAVE, STRIP, AXIS = 84, 34, 26
HEIGHT = WAVE + STRIP + AXIS + 12
FOR, AGAINST = "#b35806", "#542788"  # a pair that colour-blind readers can tell apart
_MOST_POINTS = 1200


def channel_figure(
    signal: SignalView,
    row: int,
    channel: int,
    credit: NDArray[np.float32],
    *,
    bins: int,
    scale: float,
    window_s: float,
    with_wave: bool,
    stamp: str,
) -> Markup:
    """One channel of one window.

    Args:
        credit: (time,) signed credit of the leading method.
        bins: Stretches in which credit is added up for the colours.
        scale: Credit of a bin at full colour, common to all figures of a report.
        with_wave: False leaves the waveform and its range out, since a waveform can tell who a person is.
        stamp: Words across the figure; empty for none.
    """
    sums = segment_sums(credit, bins)
    seen = signal.observed[row]
    name = f"{signal.label}, channel {channel + 1}"
    parts = [*_heat(sums, scale), *_gaps(seen, f"hatch-{row}-{signal.label}-{channel}")]
    if with_wave:
        parts += _wave(signal.values[row, channel], seen, signal.unit)
    parts += [*_strip(sums, scale), *_axis(window_s)]
    if stamp:
        at = LEFT + (WIDTH - LEFT - RIGHT) / 2
        parts.append(f'<text class="stamp" x="{at:.0f}" y="{WAVE / 2 + 10:.0f}">{escape(stamp)}</text>')
    return Markup(
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" class="channel"><title>{escape(name)}</title>'
        f"<desc>{escape(_in_words(name, sums, seen, window_s))}</desc>{''.join(map(str, parts))}</svg>"
    )


def share_bar(share: float) -> Markup:
    """A bar of 0 to 1; the number stands beside it in the table, so it is hidden from a screen reader."""
    return Markup(
        '<svg viewBox="0 0 200 14" class="bar" aria-hidden="true"><rect width="200" height="14" fill="#e6e6e6"/>'
        f'<rect width="{200 * share:.1f}" height="14" fill="#2c5f8a"/></svg>'
    )


def _in_words(name: str, sums: NDArray[np.float64], seen: NDArray[np.bool_], window_s: float) -> str:
    top = int(np.abs(sums).argmax())
    step = window_s / len(sums)
    side = "towards a higher" if sums[top] >= 0 else "towards a lower"
    missing = f" {1 - seen.mean():.0%} of it was not measured." if not seen.all() else ""
    if not sums.any():
        return f"{name}: no credit anywhere.{missing}"
    return f"{name}: the largest credit lies {top * step:.1f} to {(top + 1) * step:.1f} s in, {side} output.{missing}"


def _x(share: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * share


def _colour(value: float) -> str:
    return FOR if value >= 0 else AGAINST


def _heat(sums: NDArray[np.float64], scale: float) -> Iterator[str]:
    width = _x(1 / len(sums)) - LEFT
    for k, value in enumerate(sums):
        strength = min(abs(value) / scale, 1.0) * 0.55 if scale > 0 else 0.0
        if strength >= 0.005:
            yield (
                f'<rect x="{_x(k / len(sums)):.1f}" y="0" width="{width:.1f}" height="{WAVE}" '
                f'fill="{_colour(value)}" fill-opacity="{strength:.2f}"/>'
            )


def _strip(sums: NDArray[np.float64], scale: float) -> Iterator[str]:
    """The same credit as signed bars, for those who cannot see the colours."""
    middle = WAVE + 6 + STRIP / 2
    width = max(_x(1 / len(sums)) - LEFT - 0.5, 0.5)
    yield f'<line class="zero" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{middle:.1f}" y2="{middle:.1f}"/>'
    yield f'<text class="label" x="{LEFT - 6}" y="{middle + 4:.0f}" text-anchor="end">credit</text>'
    for k, value in enumerate(sums):
        size = min(abs(value) / scale, 1.0) * STRIP / 2 if scale > 0 else 0.0
        if size >= 0.2:
            top = middle - size if value >= 0 else middle
            yield (
                f'<rect x="{_x(k / len(sums)):.1f}" y="{top:.1f}" width="{width:.1f}" height="{size:.1f}" '
                f'fill="{_colour(value)}"/>'
            )


def _gaps(seen: NDArray[np.bool_], ident: str) -> Iterator[str]:
    edges = np.flatnonzero(np.diff(seen, prepend=True, append=True))
    if not len(edges):
        return
    ident = "".join(letter for letter in ident if letter.isalnum() or letter == "-")
    yield (
        f'<defs><pattern id="{ident}" width="6" height="6" patternUnits="userSpaceOnUse" '
        'patternTransform="rotate(45)"><rect width="6" height="6" fill="#fff"/><line x1="0" y1="0" x2="0" y2="6" '
        'stroke="#777" stroke-width="1.5"/></pattern></defs>'
    )
    for first, last in edges.reshape(-1, 2):
        left, right = _x(first / len(seen)), _x(last / len(seen))
        yield (
            f'<rect class="gap" x="{left:.1f}" y="0" width="{right - left:.1f}" height="{WAVE}" fill="url(#{ident})"/>'
        )


def _wave(values: NDArray[np.float32], seen: NDArray[np.bool_], unit: str) -> Iterator[str]:
    if not seen.any():
        return
    low, high = float(values[seen].min()), float(values[seen].max())
    span = high - low or 1.0
    edges = np.flatnonzero(np.diff(seen, prepend=False, append=False)).reshape(-1, 2)
    for first, last in edges:
        index, run = _thinned(values[first:last])
        points = " ".join(
            f"{_x((first + at + 0.5) / len(values)):.1f},{4 + (WAVE - 8) * (high - value) / span:.1f}"
            for at, value in zip(index, run, strict=True)
        )
        yield f'<polyline class="wave" points="{points}"/>'
    shown = "a.u." if unit == "au" else unit
    yield f'<text class="label" x="{LEFT - 6}" y="12" text-anchor="end">{high:.3g}</text>'
    yield f'<text class="label" x="{LEFT - 6}" y="{WAVE / 2 + 4:.0f}" text-anchor="end">{escape(shown)}</text>'
    yield f'<text class="label" x="{LEFT - 6}" y="{WAVE - 2}" text-anchor="end">{low:.3g}</text>'


def _thinned(values: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """At most a screen's width of points; keeps the lowest and highest of each bucket, so peaks stay."""
    if len(values) <= _MOST_POINTS:
        return np.arange(len(values)), values
    buckets = np.array_split(np.arange(len(values)), _MOST_POINTS // 2)
    index = np.unique([b[pick] for b in buckets for pick in (values[b].argmin(), values[b].argmax())])
    return index, values[index]


def _axis(window_s: float) -> Iterator[str]:
    top = WAVE + STRIP + 10
    raw = window_s / 6
    power = 10.0 ** np.floor(np.log10(raw))
    step = float(next(m * power for m in (1, 2, 5, 10) if m * power >= raw))
    yield f'<line class="zero" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{top}" y2="{top}"/>'
    for tick in np.arange(0.0, window_s + step / 1000, step):
        x = _x(tick / window_s)
        anchor = "end" if x > WIDTH - RIGHT - 20 else "middle"
        yield f'<line class="zero" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{top + 4}"/>'
        yield f'<text class="label" x="{x:.1f}" y="{top + 16}" text-anchor="{anchor}">{tick:g} s</text>'
