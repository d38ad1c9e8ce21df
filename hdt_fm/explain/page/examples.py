"""The windows that are shown, as numbers: what the page, its pictures and its print all draw."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hdt_fm.explain.explanation import Explanation, segment_sums
from hdt_fm.explain.methods import METHODS
from hdt_fm.explain.page.report import Report
from hdt_fm.schema.modalities import modality as look_up_modality

# What fits on a page that is to stay small: more channels are counted, not drawn.
MOST_CHANNELS = 16
_FINE = 4
OTHER_REFERENCE = "other reference"


@dataclass(frozen=True)
class Channel:
    """One channel of one window.

    Attributes:
        values: (time,) in `unit`; None where waveforms are withheld.
        seen: (time,) what was measured.
        given: Whether a sample is an amount given at that moment (a dose), to be drawn as a stem.
        credit: Per method (bin,) credit of a stretch, signed where the method's signs add up, else its size.
        alternative: As `credit`, of the leading method against the other reference.
    """

    label: str
    channel: int
    unit: str
    sampling_rate_hz: float
    given: bool
    values: NDArray[np.float32] | None
    seen: NDArray[np.bool_]
    credit: Mapping[str, NDArray[np.float64]]
    alternative: NDArray[np.float64] | None

    @property
    def name(self) -> str:
        return f"{self.label}, channel {self.channel + 1}"


@dataclass(frozen=True)
class Example:
    """One window. `row`: its place among the explained ones; `left_out`: how many channels are not drawn."""

    number: int
    row: int
    output: float
    interval: tuple[float, float] | None
    reference_output: float
    alternative_output: float | None
    channels: tuple[Channel, ...]
    absent: tuple[str, ...]
    left_out: int
    events: Mapping[str, NDArray[np.float64]]


def examples(report: Report) -> tuple[Example, ...]:
    """Windows of the lowest, middle and highest output."""
    made, other = report.explanation, report.alternative
    shown = made.examples()
    drawn = _drawn(made, shown)
    found = []
    for place, row in enumerate(shown):
        here = {name: bool(made.present[row, column]) for column, name in enumerate(made.modalities)}
        channels = tuple(_channel(report, row, name, channel) for name, channel in drawn if here[name])
        total = sum(made.signals[name].values.shape[1] for name, there in here.items() if there)
        found.append(
            Example(
                number=place + 1,
                row=row,
                output=float(made.output[row]),
                interval=_pair(report.output_interval, row),
                reference_output=float(made.reference_output[row]),
                alternative_output=None if other is None else float(other.reference_output[row]),
                channels=channels,
                absent=tuple(look_up_modality(name).label for name, there in here.items() if not there),
                left_out=total - len(channels),
                events={} if report.withheld else {kind: np.asarray(t[row]) for kind, t in report.events.items()},
            )
        )
    return tuple(found)


def scales(shown: tuple[Example, ...]) -> dict[str, float]:
    """Per method the credit at full colour, the largest of any stretch; under `OTHER_REFERENCE` that against the other
    reference, whose credit may be of another size altogether."""
    out: dict[str, float] = {}
    for example in shown:
        for channel in example.channels:
            for method, credit in channel.credit.items():
                out[method] = max(out.get(method, 0.0), float(np.abs(credit).max(initial=0.0)))
            if channel.alternative is not None:
                largest = float(np.abs(channel.alternative).max(initial=0.0))
                out[OTHER_REFERENCE] = max(out.get(OTHER_REFERENCE, 0.0), largest)
    return out


def bins_of(report: Report, method: str) -> int:
    """Stretches in which credit is added up; withheld waveforms get no finer credit than the segments, since a fine
    map draws the waveform's outline."""
    fine = METHODS[method].grain == "sample" and not report.withheld
    return report.explanation.segments * (_FINE if fine else 1)


def _channel(report: Report, row: int, name: str, channel: int) -> Channel:
    made, other = report.explanation, report.alternative
    signal = made.signals[name]
    lead = made.maps[0].method
    return Channel(
        label=signal.label,
        channel=channel,
        unit=signal.unit,
        sampling_rate_hz=signal.sampling_rate_hz,
        given=look_up_modality(name).given,
        values=None if report.withheld else signal.values[row, channel],
        seen=signal.observed[row],
        credit={one.method: _credit(report, made, one.method, row, name, channel) for one in made.maps},
        alternative=None if other is None else _credit(report, other, lead, row, name, channel),
    )


def _credit(report: Report, made: Explanation, method: str, row: int, name: str, channel: int) -> NDArray[np.float64]:
    bins = bins_of(report, method)
    values = made.find(method).values.get(name)
    credit = np.zeros(made.signals[name].values.shape[2], np.float32) if values is None else values[row, channel]
    sums = segment_sums(credit if METHODS[method].signs else np.abs(credit), bins)
    # A slow channel has fewer samples than stretches: its longer ones are shared out, so that colours compare.
    return sums * len(sums) / bins


def _drawn(made: Explanation, shown: tuple[int, ...]) -> list[tuple[str, int]]:
    """Which channels are drawn, in the order of the data: of each modality the most credited one, then the rest."""
    values, rows = made.maps[0].values, list(shown)
    size = {
        (name, channel): float(np.abs(values[name][rows, channel]).sum()) if name in values else 0.0
        for name in made.modalities
        if name in made.signals
        for channel in range(made.signals[name].values.shape[1])
    }
    best = {name: max((one for one in size if one[0] == name), key=size.__getitem__) for name, _ in size}
    ranked = sorted(size, key=lambda one: (one != best[one[0]], -size[one]))
    kept = set(ranked[:MOST_CHANNELS])
    return [one for one in size if one in kept]


def _pair(interval: NDArray[np.float64] | None, row: int) -> tuple[float, float] | None:
    return None if interval is None else (float(interval[row, 0]), float(interval[row, 1]))
