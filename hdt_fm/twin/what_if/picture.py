"""The same figure as a PNG, for those who send pictures; drawn by matplotlib, without a screen."""

from collections.abc import Mapping
from io import BytesIO
from typing import Any

from hdt_fm.twin.forecast.drawing import stretches, time_ticks, time_words
from hdt_fm.twin.what_if import panels
from hdt_fm.twin.what_if.told import PLANS
from hdt_fm.twin.what_if.words import CALLED, shown, signed

INK, SOFT, GREY, GREEN = "#1a1a1a", "#4a4a4a", "#8a8a8a", "#00694b"
COLOURS = {"plan": "#1f5f8b", "against": "#b34e00"}
_STYLES = {"plan": "-", "against": "--"}
_DPI, _LEGEND_LETTERS = 120, 90


def whole_picture(told: Mapping[str, Any]) -> bytes:
    """All panels of a record, always on white."""
    # It comes with captum and wfdb; a second to import, so only here.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    curves = panels.curve_panels(told)
    rows = 2 + (len(curves) + 1) // 2
    heights = [1.5, 1.0, *[1.0] * (rows - 2)]
    figure = Figure(figsize=(9.6, 2.6 * sum(heights)), dpi=_DPI, layout="constrained", facecolor="white")
    grid = figure.add_gridspec(rows, 2, height_ratios=heights)
    _levels(figure.add_subplot(grid[0, :]), told)
    _effect(figure.add_subplot(grid[1, :]), told)
    for at, (curve, panel) in enumerate(zip(told["curves"], curves, strict=True)):
        _curve(figure.add_subplot(grid[2 + at // 2, at % 2]), curve, panel)
    out = BytesIO()
    # Without a date or a version inside: equal answers give equal files.
    FigureCanvasAgg(figure).print_png(out, metadata={"Software": None})
    return out.getvalue()


def _levels(axes: Any, told: Mapping[str, Any]) -> None:
    panel = panels.levels_panel(told)
    for name in reversed(PLANS):
        minutes, low = zip(*panels.course(told, name, "low"), strict=True)
        _, high = zip(*panels.course(told, name, "high"), strict=True)
        axes.fill_between(minutes, low, high, color=COLOURS[name], alpha=0.16, linewidth=0)
    for name in PLANS:
        words = panels.short(f"{CALLED[name]}: {told['plans'][name]['words']}", _LEGEND_LETTERS)
        middle = zip(*panels.course(told, name, "point"), strict=True)
        axes.plot(*middle, color=COLOURS[name], linewidth=1.8, linestyle=_STYLES[name], label=words)
    for threshold in told["thresholds"]:
        axes.axhline(threshold, color=SOFT, linewidth=1, linestyle=":")
        words = f"{threshold:g} {told['unit']}"
        axes.annotate(words, (panel.first, threshold), (4, 3), textcoords="offset points", color=SOFT, size=8)
    for stretch in stretches(told["readings"]):
        axes.plot(*zip(*stretch, strict=True), color=INK, linewidth=1, marker="o", markersize=2.2)
    axes.axvline(0, color=SOFT, linewidth=1)
    _framed(axes, panel, time_ticks(told, panel.frame), time_words(told))
    axes.set_ylabel(f"{told['modality'].capitalize()} ({told['unit']})")
    axes.legend(loc="upper left", fontsize=8, frameon=False)
    axes.set_title(f"{told['kind'].capitalize()}. No medical advice.", size=10, color=SOFT)


def _effect(axes: Any, told: Mapping[str, Any]) -> None:
    panel = panels.effect_panel(told)
    _band(axes, panels.band(told), GREEN, "-")
    for one in shown(told):
        value = one["effect"]["point"]
        axes.plot([one["min"]], [value], color=GREEN, marker="o", markersize=4)
        words, side = signed(value), "right" if one is told["ahead"][-1] else "center"
        axes.annotate(words, (one["min"], value), (0, 5), textcoords="offset points", color=INK, size=8, ha=side)
    _framed(axes, panel, panels.hour_ticks(told, panel), "from the newest reading")
    axes.set_ylabel(f"Effect ({told['unit']})")


def _curve(axes: Any, curve: Mapping[str, Any], panel: panels.Panel) -> None:
    for supported, points in panels.parted(curve["points"]):
        _band(axes, panels.curve_band(points), GREEN if supported else GREY, "-" if supported else "--")
    for one in curve["points"]:
        axes.plot([one["dose"]], [one["point"]], color=GREEN if one["supported"] else GREY, marker="o", markersize=3)
    if panel.first <= curve["asked"] <= panel.last:
        axes.axvline(curve["asked"], color=SOFT, linewidth=1)
    axes.set(xlim=(panel.first, panel.last), ylim=(panel.low, panel.high))
    axes.set_xlabel(panels.curve_axis(curve), size=8)
    axes.set_title(f"{panels.curve_title(curve)}; dashed: people do not dose so", size=8, color=SOFT)


def _band(axes: Any, band: tuple[list[panels.Point], ...], colour: str, style: str) -> None:
    (across, low), (_, point), (_, high) = (zip(*line, strict=True) for line in band)
    axes.axhline(0, color=SOFT, linewidth=0.8)
    axes.fill_between(across, low, high, color=colour, alpha=0.16, linewidth=0)
    axes.plot(across, point, color=colour, linewidth=1.8, linestyle=style)


def _framed(axes: Any, panel: panels.Panel, ticks: Any, words: str) -> None:
    axes.set_xticks([minute for minute, _ in ticks], [text for _, text in ticks])
    axes.set(xlim=(panel.first, panel.last), ylim=(panel.low, panel.high), xlabel=words)
