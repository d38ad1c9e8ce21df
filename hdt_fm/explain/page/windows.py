"""What the template of the example windows is given: their figures by the leading method, and by the further ones."""

from itertools import groupby
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from hdt_fm.explain.methods import Method
from hdt_fm.explain.page.axis import TimeAxis, short
from hdt_fm.explain.page.drawing import FULL, HALF, channel_figure, stored_wave
from hdt_fm.explain.page.examples import OTHER_REFERENCE, Channel, Example, bins_of, examples, scales
from hdt_fm.explain.page.report import Report


def windows_of(report: Report) -> list[dict[str, Any]]:
    """Example windows, each with its figures as inline SVG."""
    shown = examples(report)
    scale = scales(shown)
    return [_window(report, example, scale) for example in shown]


def waves_of(report: Report, shown: tuple[Example, ...]) -> list[Markup]:
    """Every waveform once; the figures refer to them."""
    found = []
    for example in shown:
        for place, channel in enumerate(example.channels):
            if channel.values is not None:
                found.append(stored_wave(_ident(example, place), channel))
    return found


def with_unit(report: Report, value: float) -> str:
    return f"{short(value)} {report.output_unit}".rstrip()


def _window(report: Report, example: Example, scale: dict[str, float]) -> dict[str, Any]:
    lead, *further = report.methods.values()
    interval = example.interval
    return {
        "number": example.number,
        "output": with_unit(report, example.output),
        "interval": None if interval is None else f"{short(interval[0])} to {short(interval[1])}",
        "reference": with_unit(report, example.reference_output),
        "alternative": None if example.alternative_output is None else with_unit(report, example.alternative_output),
        "events": [f"{kind}: {len(times)}" for kind, times in example.events.items() if len(times)],
        "absent": example.absent,
        "left_out": example.left_out,
        "lead": _by(report, example, lead, scale),
        "further": [_by(report, example, method, scale) for method in further],
    }


def _by(report: Report, example: Example, method: Method, scale: dict[str, float]) -> dict[str, Any]:
    """Figures by one method, by modality; pairs where the leading one has another reference beside."""
    pairs = report.alternative is not None and method is report.lead
    groups = []
    numbered = enumerate(example.channels)
    for (label, rate), members in groupby(numbered, key=lambda one: (one[1].label, one[1].sampling_rate_hz)):
        figures = []
        for place, channel in members:
            figures.append(_figure(report, example, method, scale, place, channel.credit[method.name], half=pairs))
            if pairs:
                assert channel.alternative is not None
                figures.append(
                    _figure(report, example, method, scale, place, channel.alternative, half=True, other=True)
                )
        groups.append({"label": label, "rate": _rate(rate), "figures": figures})
    stretch = TimeAxis.of(report.explanation.window_s / bins_of(report, method.name)).words
    full = f"{short(scale.get(method.name, 0.0))} {report.credit_unit(method)}"
    other = (
        f"; against the other reference {short(scale[OTHER_REFERENCE])}" if OTHER_REFERENCE in scale and pairs else ""
    )
    return {
        "method": method,
        "directed": directed(method),
        "groups": groups,
        "pairs": pairs,
        "full": f"{full} in a stretch of {stretch}{other}",
    }


def _figure(
    report: Report,
    example: Example,
    method: Method,
    scale: dict[str, float],
    place: int,
    credit: NDArray[np.float64],
    *,
    half: bool = False,
    other: bool = False,
) -> Markup:
    channel: Channel = example.channels[place]
    wave = _ident(example, place)
    return channel_figure(
        channel,
        credit,
        ident=f"{wave}-{method.name.replace('_', '-')}{'-other' if other else ''}",
        wave="" if channel.values is None else wave,
        scale=scale[OTHER_REFERENCE if other else method.name],
        signed=directed(method),
        window_s=report.explanation.window_s,
        events=example.events,
        width=HALF if half else FULL,
    )


def directed(method: Method) -> bool:
    """Whether a map says which way the output was pushed, and not only how much."""
    return method.signs and method.of_output


def _ident(example: Example, place: int) -> str:
    return f"wave-{example.number}-{place + 1}"


def _rate(rate: float) -> str:
    """Samples a second, or how far apart they are where that is the easier word."""
    return f"{short(rate)} Hz" if rate >= 0.5 else f"one sample every {TimeAxis.of(1 / rate).words}"
