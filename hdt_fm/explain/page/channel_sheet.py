"""A window's channels on a sheet: waveform over heat, credit as bars below, another reference's under that."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from hdt_fm.explain.page.axis import TimeAxis, printed_unit, short
from hdt_fm.explain.page.drawing import ends_of, thinned
from hdt_fm.explain.page.examples import OTHER_REFERENCE, Channel, Example
from hdt_fm.explain.page.palette import AGAINST, COLOURS, FOR, SIZE
from hdt_fm.explain.page.report import Report
from hdt_fm.explain.page.sheet import Sheet
from hdt_fm.explain.page.stamp import FAILED
from hdt_fm.explain.page.windows import directed

MARGIN = 0.7
_WAVE, _STRIP, _GAP = 0.6, 0.26, 0.42
_POINTS = 1500


def block(channels: tuple[Channel, ...]) -> float:
    """How tall a channel is, in inches."""
    other = any(channel.alternative is not None for channel in channels)
    return _WAVE + _STRIP + _GAP + (_STRIP + 0.06 if other else 0.0)


def draw_channels(
    sheet: Sheet,
    report: Report,
    example: Example,
    channels: tuple[Channel, ...],
    scale: Mapping[str, float],
    y: float,
) -> None:
    lead, window_s = report.lead.name, report.explanation.window_s
    left, room = MARGIN + 0.75, sheet.width - 2 * MARGIN - 0.75
    signed, axis = directed(report.lead), TimeAxis.of(window_s)
    for channel in channels:
        credit = channel.credit[lead]
        sheet.words(left, y + 0.1, channel.name, size=8.0, weight="bold")
        top = y + 0.15
        _heat(sheet, credit, scale[lead], signed, left, top, room)
        _gaps(sheet, channel.seen, left, top, room)
        for times in example.events.values():
            for at in times:
                sheet.line([left + room * at / window_s] * 2, [top - 0.03, top + (0.05 if len(times) > 8 else _WAVE)])
        if channel.values is not None:
            _wave(sheet, channel, channel.values, left, top, room)
        y = top + _WAVE + 0.04
        _strip(sheet, credit, scale[lead], signed, left, y, room, f"±{short(scale[lead])}")
        if channel.alternative is not None:
            y += _STRIP + 0.06
            full = scale[OTHER_REFERENCE]
            _strip(sheet, channel.alternative, full, signed, left, y, room, f"other ±{short(full)}")
        y += _STRIP
        for tick in axis.ticks:
            x = left + room * tick * axis.unit_s / window_s
            sheet.words(x, y + 0.1, f"{short(tick)} {axis.unit}", size=6.5, colour="soft", ha="center")
        if report.verdict == "fail":
            sheet.stamp(left + room / 2, top + _WAVE / 2, FAILED, size=20.0)
        y += _GAP - 0.15 - 0.04


def _wave(sheet: Sheet, channel: Channel, values: NDArray[np.float32], left: float, top: float, room: float) -> None:
    seen = channel.seen
    if not seen.any():
        return
    low, high = ends_of(channel)
    across = left + room * (np.arange(len(values)) + 0.5) / len(values)
    down = top + 0.03 + (_WAVE - 0.06) * (high - values) / (high - low or 1.0)
    if channel.given:
        for k in np.flatnonzero(seen & (values != 0)):
            sheet.line(
                [across[k]] * 2, [top + 0.03 + (_WAVE - 0.06) * high / (high - low or 1.0), down[k]], linewidth=2
            )
    lines = np.flatnonzero(np.diff(seen, prepend=False, append=False)).reshape(-1, 2).tolist()
    for first, last in () if channel.given else lines:
        index = first + thinned(values[first:last], max(2, _POINTS * (last - first) // len(values)))
        sheet.line(across[index], down[index])
    for y, text in (
        (top + 0.08, short(high)),
        (top + _WAVE / 2, printed_unit(channel.unit)),
        (top + _WAVE, short(low)),
    ):
        sheet.words(left - 0.06, y, text, size=6.5, colour="soft", ha="right")


def _heat(
    sheet: Sheet, credit: NDArray[np.float64], scale: float, signed: bool, left: float, top: float, room: float
) -> None:
    if scale > 0:
        width = room / len(credit)
        strength = np.minimum(np.abs(credit) / scale, 1.0) * 0.55
        colours = [(*_rgb(_colour(value, signed)), alpha) for value, alpha in zip(credit, strength, strict=True)]
        sheet.bars(left + width * np.arange(len(credit)), top + _WAVE, width, np.full(len(credit), _WAVE), colours)


def _strip(
    sheet: Sheet,
    credit: NDArray[np.float64],
    scale: float,
    signed: bool,
    left: float,
    top: float,
    room: float,
    words: str,
) -> None:
    zero, tall = (top + _STRIP / 2, _STRIP / 2) if signed else (top + _STRIP, _STRIP)
    sheet.line([left, left + room], [zero, zero], color=COLOURS["soft"], linewidth=0.4)
    sheet.words(left - 0.06, top + _STRIP / 2 + 0.04, words, size=6.5, colour="soft", ha="right")
    if scale > 0:
        width = room / len(credit)
        heights = np.clip(credit / scale, -1.0, 1.0) * tall
        colours = [_rgb(_colour(value, signed)) for value in credit]
        sheet.bars(left + width * np.arange(len(credit)), zero, width, heights, colours)


def _gaps(sheet: Sheet, seen: NDArray[np.bool_], left: float, top: float, room: float) -> None:
    for first, last in np.flatnonzero(np.diff(seen, prepend=True, append=True)).reshape(-1, 2).tolist():
        sheet.hatched(left + room * first / len(seen), top, room * (last - first) / len(seen), _WAVE)


def _colour(value: float, signed: bool) -> str:
    return SIZE if not signed else FOR if value >= 0 else AGAINST


def _rgb(colour: str) -> tuple[float, float, float]:
    red, green, blue = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    return red, green, blue
