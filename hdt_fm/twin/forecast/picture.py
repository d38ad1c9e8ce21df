"""The same figure as a PNG, for those who send pictures; drawn by matplotlib, without a screen."""

from collections.abc import Mapping
from io import BytesIO
from typing import Any

from hdt_fm.twin.forecast import drawing

INK, SOFT, BLUE, ORANGE = "#1a1a1a", "#4a4a4a", "#1f5f8b", "#d55e00"
_DPI = 120


def fan_picture(told: Mapping[str, Any]) -> bytes:
    """Readings and fan of a `record`, always on white."""
    # It comes with captum and wfdb; a second to import, so only here.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    frame = drawing.frame_of(told)
    figure = Figure(figsize=(9.6, 4.2), dpi=_DPI, layout="constrained", facecolor="white")
    axes = figure.add_subplot()
    for low, high in drawing.pairs_of(told["levels"]):
        minutes, lower = zip(*drawing.edges_of(told, low), strict=True)
        _, upper = zip(*drawing.edges_of(told, high), strict=True)
        axes.fill_between(minutes, lower, upper, color=BLUE, alpha=0.16, linewidth=0)
    for quantile in (0, len(told["levels"]) - 1):
        axes.plot(*zip(*drawing.edges_of(told, quantile), strict=True), color=BLUE, linewidth=1, linestyle="--")
    middle = zip(*drawing.middle_of(told), strict=True)
    axes.plot(*middle, color=BLUE, linewidth=1.6, marker="o", markersize=4, markevery=slice(1, None))
    for event in told["events"]:
        axes.axhline(event["threshold"], color=ORANGE, linewidth=1, linestyle=":")
        words = f"{event['threshold']:g} {told['unit']}"
        axes.annotate(words, (frame.first, event["threshold"]), (4, 3), textcoords="offset points", color=SOFT, size=8)
    for stretch in drawing.stretches(told["readings"]):
        axes.plot(*zip(*stretch, strict=True), color=INK, linewidth=1, marker="o", markersize=2.2)
    axes.axvline(0, color=SOFT, linewidth=1)
    ticks = drawing.time_ticks(told, frame)
    axes.set_xticks([minute for minute, _ in ticks], [text for _, text in ticks])
    axes.set(xlim=(frame.first, frame.last), ylim=(frame.low, frame.high), xlabel=drawing.time_words(told))
    axes.set_ylabel(f"{told['modality'].capitalize()} ({told['unit']})")
    promised = f"{100 * told['promised']:.0f} %"
    axes.set_title(f"What is expected; dashed: {promised} interval. No medical advice.", size=10, color=SOFT)
    out = BytesIO()
    # Without a date or a version inside: equal forecasts give equal files.
    FigureCanvasAgg(figure).print_png(out, metadata={"Software": None})
    return out.getvalue()
