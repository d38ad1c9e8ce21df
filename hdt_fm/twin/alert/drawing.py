"""Nights as one inline SVG: a strip an indicator with what is usual, and the evidence below."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from hdt_fm.signal.segments import runs
from hdt_fm.twin import svg
from hdt_fm.twin.alert.report import AlertReport
from hdt_fm.twin.nights.indicators import INDICATORS
from hdt_fm.twin.nights.night import Nights

WIDTH, LEFT, RIGHT, TOP = 960.0, 84.0, 14.0, 46.0
STRIP, BETWEEN, AXIS = 104.0, 34.0, 46.0
# More nights than there are points across say nothing to an eye.
MOST_NIGHTS = 730
# Within so many personal SDs of the usual lie about 19 nights in 20.
BAND_SDS = 2.0
# Evidence is drawn up to this; 1 is an alert.
_MOST_EVIDENCE = 1.6
_MOST_TICKS = 8
# With fewer nights their dates are told by the week, not by the month.
_WEEKS_BELOW = 70


@dataclass(frozen=True)
class _Strip:
    """One panel: what is drawn in it, and how its numbers become heights."""

    top: float
    low: float
    high: float

    @property
    def area(self) -> svg.Area:
        return svg.Area(LEFT, self.top, WIDTH - LEFT - RIGHT, STRIP)

    def y(self, value: float) -> float:
        return self.top + STRIP * (self.high - value) / (self.high - self.low)

    def places(self, values: NDArray[np.float64], first: int, last: int) -> list[tuple[float, float]]:
        """Of the nights from `first` up to `last`."""
        return [(_x(at, len(values)), self.y(values[at])) for at in range(first, last)]


def nights_figure(report: AlertReport, nights: Nights, *, dates: bool, words: str) -> Markup:
    """The last two years of nights.

    Args:
        nights: Those that the report is of.
        dates: False numbers the nights from 1.
        words: What the figure shows, for those who do not see it.
    """
    every, begin = nights.on_calendar(), max(0, len(report.dates) - MOST_NIGHTS)
    shown = slice(begin, None)
    count = len(report.dates) - begin
    evidence_top = TOP + len(report.names) * (STRIP + BETWEEN)
    height = evidence_top + STRIP + AXIS
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
    parts += _evidence(report.cusum[shown] / report.threshold[shown], evidence_top)
    parts += _changes(every.changes()[shown], height)
    parts += _marks(state == "alert")
    parts += _axis(report.dates[shown], begin, height, dates=dates)
    return svg.figure(
        "nights", WIDTH, height, parts, title=f"{count} nights, each against this person's usual", words=words
    )


def _band(low: NDArray[np.float64], high: NDArray[np.float64], strip: _Strip) -> Iterator[str]:
    """Below the shades of nights, which would not be seen through it."""
    for first, last in runs(np.isfinite(low)):
        yield svg.polygon("band", strip.places(high, first, last), strip.places(low, first, last))


def _values(name: str, values: NDArray[np.float64], usual: NDArray[np.float64], strip: _Strip) -> Iterator[str]:
    known = INDICATORS.get(name)
    label = f"{known.label} ({_shown(known.unit)})" if known else f"{name} (unit of the table)"
    ticks = [(tick, strip.y(tick)) for tick in svg.round_values(strip.low, strip.high, 4)]
    yield from svg.frame(strip.area, label, ticks)
    for first, last in runs(np.isfinite(usual)):
        yield svg.polyline("usual", strip.places(usual, first, last))
    for first, last in runs(np.isfinite(values)):
        if last - first > 1:
            yield svg.polyline("value", strip.places(values, first, last))
    for at in np.flatnonzero(np.isfinite(values)).tolist():
        yield svg.dot("dot", _x(at, len(values)), strip.y(values[at]), 1.5)


def _evidence(share: NDArray[np.float64], top: float) -> Iterator[str]:
    strip = _Strip(top, 0.0, _MOST_EVIDENCE)
    yield from svg.frame(strip.area, "Evidence (1 = alert)", [(tick, strip.y(tick)) for tick in (0.0, 0.5, 1.0, 1.5)])
    yield svg.line("limit", (strip.area.left, strip.y(1.0)), (strip.area.right, strip.y(1.0)))
    for first, last in runs(np.isfinite(share)):
        yield svg.polyline("value", strip.places(np.minimum(share, _MOST_EVIDENCE), first, last))


def _stretches(where: NDArray[np.bool_], kind: str, height: float) -> Iterator[str]:
    """Nights of a kind, shaded from top to bottom; each begins and ends half-way to its neighbours."""
    for first, last in runs(where):
        left = _x(first - 0.5, len(where))
        width = max(_x(last - 0.5, len(where)) - left, 1.0)
        yield (
            f'<rect class="{kind}" x="{left:.1f}" y="{TOP:g}" width="{width:.1f}" height="{height - AXIS - TOP:.1f}"/>'
        )


def _marks(alert: NDArray[np.bool_]) -> Iterator[str]:
    """A triangle over each alert, for those who cannot tell the shades apart."""
    for first, last in runs(alert):
        x = _x((first + last - 1) / 2, len(alert))
        yield f'<path class="mark" d="M{x - 5:.1f} 1h10l-5 8z"/>'


def _changes(changes: NDArray[np.bool_], height: float) -> Iterator[str]:
    for at in np.flatnonzero(changes).tolist():
        x = _x(at - 0.5, len(changes))
        yield svg.line("change", (x, TOP - 20), (x, height - AXIS))
        yield svg.text("label", x, TOP - 24, "another device", anchor="end" if x > WIDTH / 2 else "start")


def _axis(nights: np.ndarray, begin: int, height: float, *, dates: bool) -> Iterator[str]:
    named = _months(nights) if dates else _numbers(begin, len(nights))
    words = "local date on which the night ends" if dates else "night, counted from the first"
    area = svg.Area(LEFT, TOP, WIDTH - LEFT - RIGHT, height - AXIS - TOP)
    yield from svg.axis_below(area, [(_x(at, len(nights)), name) for at, name in named], words)


def _months(nights: np.ndarray) -> list[tuple[int, str]]:
    """First days of months, or of weeks where the nights are few."""
    if len(nights) < _WEEKS_BELOW:
        every = range(0, len(nights), max(7, 7 * (len(nights) // 7 // _MOST_TICKS + 1)))
        return [(at, str(nights[at])) for at in every]
    month = nights.astype("datetime64[M]")
    first = np.flatnonzero(month.astype("datetime64[D]") == nights)
    step = -(-len(first) // _MOST_TICKS)
    return [(int(at), str(month[at])) for at in first[::step]]


def _numbers(begin: int, count: int) -> list[tuple[int, str]]:
    found = svg.round_values(begin + 1.0, float(begin + count), _MOST_TICKS)
    return [(round(tick) - begin - 1, f"{tick:g}") for tick in found if begin < tick <= begin + count]


def _fitting(drawn: list[NDArray[np.float64]], top: float) -> _Strip:
    """A strip that holds all of it, with some room."""
    values = np.concatenate(drawn)
    known = values[np.isfinite(values)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    room = 0.06 * (high - low) or max(abs(high) * 0.05, 0.5)
    return _Strip(top, low - room, high + room)


def _x(at: float | int, count: int) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * (at + 0.5) / count


def _shown(unit: str) -> str:
    return {"celsius": "°C", "1/d": "a day"}.get(unit, unit)
