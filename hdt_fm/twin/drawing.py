"""Nights as one inline SVG: a strip an indicator with what is usual, and the evidence below. No library draws here."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray

from hdt_fm.twin.alert import AlertReport
from hdt_fm.twin.indicators import INDICATORS
from hdt_fm.twin.night import Nights

WIDTH, LEFT, RIGHT, TOP = 960.0, 84.0, 14.0, 46.0
STRIP, BETWEEN, AXIS = 104.0, 34.0, 46.0
# More nights than there are points across say nothing to an eye.
MOST_NIGHTS = 730
# Within so many personal SDs of the usual lie about 19 nights in 20.
BAND_SDS = 2.0
_MOST_TICKS = 8


@dataclass(frozen=True)
class _Strip:
    """One panel: what is drawn in it, and how its numbers become heights."""

    top: float
    low: float
    high: float

    def y(self, value: float) -> float:
        return self.top + STRIP * (self.high - value) / (self.high - self.low)


def nights_figure(report: AlertReport, nights: Nights, *, dates: bool, words: str) -> Markup:
    """The last two years of nights; colours are the page's, so that it can be read on light and on dark.

    Args:
        nights: Those that the report is of.
        dates: False numbers the nights from 1.
        words: What the figure shows, for those who do not see it.
    """
    every, begin = nights.on_calendar(), max(0, len(report.dates) - MOST_NIGHTS)
    shown = slice(begin, None)
    count = len(report.dates) - begin
    height = TOP + (len(report.names) + 1) * (STRIP + BETWEEN) - BETWEEN + AXIS
    state = np.array(report.state)[shown]
    bands: list[str] = []
    values: list[str] = []
    for at, name in enumerate(report.names):
        low, usual, high = (
            report.usual[shown, at] + sds * report.spread[shown, at] for sds in (-BAND_SDS, 0, BAND_SDS)
        )
        strip = _fitting([every.values[shown, at], low, high], TOP + at * (STRIP + BETWEEN))
        bands += _band(low, high, strip)
        values += _values(name, every.values[shown, at], usual, strip)
    shades = [*_stretches(state == "abstained", "none", height), *_stretches(state == "alert", "alert", height)]
    parts = [*bands, *shades, *values]
    parts += _evidence(report.cusum[shown] / report.threshold[shown], TOP + len(report.names) * (STRIP + BETWEEN))
    parts += _changes(every.changes()[shown], height)
    parts += _marks(state == "alert")
    parts += _axis(report.dates[shown], begin, height - AXIS, dates=dates)
    return Markup(
        f'<svg viewBox="0 0 {WIDTH:g} {height:g}" role="img" class="nights" '
        'aria-labelledby="figure-title figure-words">'
        f'<title id="figure-title">{count} nights, each against this person&#39;s usual</title>'
        f'<desc id="figure-words">{escape(words)}</desc>{"".join(parts)}</svg>'
    )


def _band(low: NDArray[np.float64], high: NDArray[np.float64], strip: _Strip) -> Iterator[str]:
    """Below the shades of nights, which would not be seen through it."""
    for first, last in _runs(np.isfinite(low)):
        over = [f"{_x(at, len(low)):.1f},{strip.y(high[at]):.1f}" for at in range(first, last)]
        under = [f"{_x(at, len(low)):.1f},{strip.y(low[at]):.1f}" for at in reversed(range(first, last))]
        yield f'<polygon class="band" points="{" ".join(over + under)}"/>'


def _values(name: str, values: NDArray[np.float64], usual: NDArray[np.float64], strip: _Strip) -> Iterator[str]:
    known = INDICATORS.get(name)
    yield from _frame(strip, f"{known.label} ({_shown(known.unit)})" if known else f"{name} (unit of the table)")
    for first, last in _runs(np.isfinite(usual)):
        yield f'<polyline class="usual" points="{_points(usual, strip, first, last)}"/>'
    for first, last in _runs(np.isfinite(values)):
        if last - first > 1:
            yield f'<polyline class="value" points="{_points(values, strip, first, last)}"/>'
    for at in np.flatnonzero(np.isfinite(values)).tolist():
        yield f'<circle class="dot" cx="{_x(at, len(values)):.1f}" cy="{strip.y(values[at]):.1f}" r="1.5"/>'


def _evidence(share: NDArray[np.float64], top: float) -> Iterator[str]:
    strip = _Strip(top, 0.0, 1.6)
    yield from _frame(strip, "Evidence (1 = alert)", ticks=(0.0, 0.5, 1.0, 1.5))
    yield f'<line class="limit" x1="{LEFT:g}" x2="{WIDTH - RIGHT:g}" y1="{strip.y(1.0):.1f}" y2="{strip.y(1.0):.1f}"/>'
    for first, last in _runs(np.isfinite(share)):
        yield f'<polyline class="value" points="{_points(np.minimum(share, 1.6), strip, first, last)}"/>'


def _frame(strip: _Strip, label: str, ticks: tuple[float, ...] = ()) -> Iterator[str]:
    yield f'<text class="label head" x="{LEFT:g}" y="{strip.top - 7:g}">{escape(label)}</text>'
    yield f'<rect class="frame" x="{LEFT:g}" y="{strip.top:g}" width="{WIDTH - LEFT - RIGHT:g}" height="{STRIP:g}"/>'
    for tick in ticks or _ticks(strip.low, strip.high, 4):
        y = strip.y(tick)
        yield f'<line class="tick" x1="{LEFT - 4:g}" x2="{LEFT:g}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text class="label" x="{LEFT - 7:g}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>'


def _stretches(where: NDArray[np.bool_], kind: str, height: float) -> Iterator[str]:
    """Nights of a kind, shaded from top to bottom; each begins and ends half-way to its neighbours."""
    for first, last in _runs(where):
        left = _x(first - 0.5, len(where))
        width = max(_x(last - 0.5, len(where)) - left, 1.0)
        yield (
            f'<rect class="{kind}" x="{left:.1f}" y="{TOP:g}" width="{width:.1f}" height="{height - AXIS - TOP:.1f}"/>'
        )


def _marks(alert: NDArray[np.bool_]) -> Iterator[str]:
    """A triangle over each alert, for those who cannot tell the shades apart."""
    for first, last in _runs(alert):
        x = _x((first + last - 1) / 2, len(alert))
        yield f'<path class="mark" d="M{x - 5:.1f} 1h10l-5 8z"/>'


def _changes(changes: NDArray[np.bool_], height: float) -> Iterator[str]:
    for at in np.flatnonzero(changes).tolist():
        x = _x(at - 0.5, len(changes))
        yield f'<line class="change" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 20:g}" y2="{height - AXIS:.1f}"/>'
        anchor = "end" if x > WIDTH / 2 else "start"
        yield f'<text class="label" x="{x:.1f}" y="{TOP - 24:g}" text-anchor="{anchor}">another device</text>'


def _axis(nights: np.ndarray, begin: int, top: float, *, dates: bool) -> Iterator[str]:
    count = len(nights)
    for at, text in _months(nights) if dates else _numbers(begin, count):
        x = _x(at, count)
        yield f'<line class="tick" x1="{x:.1f}" x2="{x:.1f}" y1="{top:g}" y2="{top + 5:g}"/>'
        yield f'<text class="label" x="{x:.1f}" y="{top + 18:g}" text-anchor="middle">{text}</text>'
    word = "local date on which the night ends" if dates else "night, counted from the first"
    yield (
        f'<text class="label" x="{LEFT + (WIDTH - LEFT - RIGHT) / 2:.0f}" y="{top + 36:g}" '
        f'text-anchor="middle">{word}</text>'
    )


def _months(nights: np.ndarray) -> list[tuple[int, str]]:
    """First days of months, or of weeks where the nights are few."""
    if len(nights) < 70:
        every = range(0, len(nights), max(7, 7 * (len(nights) // 7 // _MOST_TICKS + 1)))
        return [(at, str(nights[at])) for at in every]
    month = nights.astype("datetime64[M]")
    first = np.flatnonzero(month.astype("datetime64[D]") == nights)
    step = -(-len(first) // _MOST_TICKS)
    return [(int(at), str(month[at])) for at in first[::step]]


def _numbers(begin: int, count: int) -> list[tuple[int, str]]:
    found = _ticks(begin + 1.0, float(begin + count), _MOST_TICKS)
    return [(round(tick) - begin - 1, f"{tick:g}") for tick in found if begin < tick <= begin + count]


def _fitting(drawn: list[NDArray[np.float64]], top: float) -> _Strip:
    values = np.concatenate(drawn)
    known = values[np.isfinite(values)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    room = 0.06 * (high - low) or max(abs(high) * 0.05, 0.5)
    return _Strip(top, low - room, high + room)


def _ticks(low: float, high: float, most: int) -> tuple[float, ...]:
    """Round numbers between two."""
    raw = (high - low) / most
    power = 10.0 ** np.floor(np.log10(raw)) if raw > 0 else 1.0
    step = next(float(one * power) for one in (1, 2, 5, 10) if one * power >= raw)
    first = np.ceil(low / step)
    # A zero added to takes the sign off a zero.
    return tuple(float(round(one * step, 10)) + 0.0 for one in np.arange(first, np.floor(high / step) + 1))


def _runs(where: NDArray[np.bool_]) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(where.astype(np.int8), prepend=0, append=0))
    return [(int(first), int(last)) for first, last in edges.reshape(-1, 2)]


def _points(values: NDArray[np.float64], strip: _Strip, first: int, last: int) -> str:
    return " ".join(f"{_x(at, len(values)):.1f},{strip.y(values[at]):.1f}" for at in range(first, last))


def _x(at: float | int, count: int) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * (at + 0.5) / count


def _shown(unit: str) -> str:
    return {"celsius": "°C", "1/d": "a day"}.get(unit, unit)
