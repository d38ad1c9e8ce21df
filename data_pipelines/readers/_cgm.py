"""What exports of glucose sensors share: the unit in a header, the step of the sensor, readings beyond its range."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from data_pipelines.readers._slow import Worn, events, intervals, sampled
from hdt_fm.schema.errors import ReaderError
from hdt_fm.schema.modalities import MODALITIES
from hdt_fm.schema.recording import NS_PER_S, LabelTrack, Recording, Visit

# Sensors measure every minute, 5 or 15 minutes.
STEPS_S = (60, 300, 900)
BEYOND = ("below_range", "above_range")
_UNITS = {"mg/dl": "mg/dL", "mmol/l": "mmol/L"}
_Pieces = list[tuple[NDArray[np.int64], NDArray[np.float64]]]


@dataclass
class Diary:
    """What the files of one person hold, before it is put on grids. Glucose labels are kept in mg/dL."""

    glucose: _Pieces = field(default_factory=list)
    beyond: list[NDArray[np.int8]] = field(default_factory=list)
    events: dict[tuple[str, str], _Pieces] = field(default_factory=dict)
    units: set[str] = field(default_factory=set)

    def add_glucose(
        self, times_ns: NDArray[np.int64], readings: tuple[NDArray[np.float64], NDArray[np.int8]], unit: str
    ) -> None:
        """Readings of the sensor, as `Rows.readings` gives them."""
        self.glucose.append((times_ns, readings[0]))
        self.beyond.append(readings[1])
        self.units.add(unit)

    def add_events(self, name: str, times_ns: NDArray[np.int64], values: NDArray[np.float64], unit: str) -> None:
        """Doses, meals and single measurements; zeros are entries without an amount and are left out."""
        if unit == "mmol/L" and name.endswith("glucose"):
            values, unit = values * MODALITIES["glucose"].conversion(unit)[0], "mg/dL"
        self.events.setdefault((name, unit), []).append((times_ns, np.where(values > 0, values, np.nan)))

    def visit(self, worn: Worn, *, source: str, further: Sequence[LabelTrack] = (), where: str) -> Visit:
        """All of it as one visit.

        Raises:
            ReaderError: If there is no glucose, or files differ in its unit.
            UnitError: If most readings cannot be in the unit.
        """
        if not self.glucose or not sum(len(times) for times, _ in self.glucose):
            raise ReaderError("The export holds no sensor glucose", where=where, fix="export a span with readings")
        if len(self.units) > 1:
            raise ReaderError(
                "The files of one person have different units of glucose", got=", ".join(sorted(self.units))
            )
        times, values = (np.concatenate(column) for column in zip(*self.glucose, strict=True))
        beyond = np.concatenate(self.beyond)
        step_s = usual_step_s(times)
        recording = glucose(times, values, unit=next(iter(self.units)), step_s=step_s, worn=worn, where=where)
        tracks = []
        for (name, unit), pieces in self.events.items():
            moments, amounts = (np.concatenate(column) for column in zip(*pieces, strict=True))
            tracks.append(events(name, moments, amounts, unit))
        out = beyond != 0
        ends = times[out] + step_s * NS_PER_S
        tracks.append(intervals("glucose_beyond", times[out], ends, (beyond[out] > 0) * 1.0, classes=BEYOND))
        return Visit(
            subject=worn.subject,
            recordings={"glucose": recording},
            labels={track.name: track for track in (*tracks, *further) if len(track.values)},
            source=source,
        )


def glucose(
    times_ns: NDArray[np.int64], values: NDArray[np.float64], *, unit: str, step_s: int, worn: Worn, where: str
) -> Recording:
    """Sensor readings on the sensor's step.

    Raises:
        UnitError: If most readings cannot be in the unit.
    """
    return sampled(
        times_ns, values, modality="glucose", unit=unit, channel="cgm", step_s=step_s, worn=worn, where=where
    )


def usual_step_s(times_ns: NDArray[np.int64]) -> int:
    """The step of a sensor, nearest to the median of the time from reading to reading."""
    steps = np.diff(np.sort(times_ns)) / NS_PER_S
    steps = steps[steps > 0]
    if len(steps) == 0:
        return STEPS_S[1]
    middle = float(np.median(steps))
    return min(STEPS_S, key=lambda step: abs(np.log(middle / step)))


def header_unit(column: str, *, where: str) -> str:
    """The unit of glucose that a column's name ends with.

    Raises:
        ReaderError: If it names none.
    """
    found = re.search(r"(mg/dl|mmol/l)", column.lower())
    if found is None:
        raise ReaderError(
            "The header does not say the unit of glucose", where=where, expected="mg/dL or mmol/L in the column's name"
        )
    return _UNITS[found[1]]
