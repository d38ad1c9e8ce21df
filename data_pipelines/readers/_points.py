"""Numbers with a time each, of any kind a device or record may hold -> recordings and label tracks."""

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from data_pipelines.readers._cgm import glucose, usual_step_s
from data_pipelines.readers._slow import Worn, averaged, check_plausible, events, intervals, spread, utc_offsets
from hdt_fm.schema.errors import ReaderError, UnitError
from hdt_fm.schema.recording import NS_PER_S, LabelTrack, Recording, Visit

SLEEP_STAGES = ("wake", "light", "deep", "rem", "asleep")
# Glucose further apart than this comes from fingersticks, not from a sensor.
_SPOT_STEP_S = 1800


@dataclass(frozen=True)
class Kept:
    """How one type of record is kept.

    Attributes:
        form: Mean in a cell, rate in a cell, point in time, interval of a number, sensor glucose, or sleep.
        name: Of the modality or of the label.
        units: A unit of the file -> unit here, and the factor to it; the one here is the same for all.
        channel: Of the modality.
        step_s: Of the grid.
    """

    form: Literal["averaged", "spread", "event", "interval", "glucose", "sleep"]
    name: str
    units: dict[str, tuple[str, float]]
    channel: str = ""
    step_s: int = 60

    @property
    def unit(self) -> str:
        """Of what comes out."""
        return next(iter(self.units.values()))[0]


@dataclass
class Points:
    """Records of one person, one by one; later all of them as one visit."""

    rows: dict[str, list[tuple[int, int, float, int | None]]] = field(default_factory=dict)
    kept: dict[str, Kept] = field(default_factory=dict)

    def add(self, kept: Kept, begin_ns: int, end_ns: int, value: float, unit: str, offset_s: int | None) -> None:
        """One record.

        Raises:
            UnitError: If the unit is not known for it.
        """
        scale = kept.units.get(unit) if kept.units else ("", 1.0)
        if scale is None:
            raise UnitError(
                f"A unit of {kept.name} is not known",
                expected=", ".join(kept.units),
                fix="correct the unit where the file was made",
            )
        self.kept[kept.name] = kept
        self.rows.setdefault(kept.name, []).append((begin_ns, end_ns, value * scale[1], offset_s))

    def visit(self, *, subject: str, source: str, recordings: dict[str, Recording] | None = None) -> Visit:
        """All of it.

        Raises:
            ReaderError: If there is nothing, or times cannot be.
            UnitError: If most values of a kind cannot be in their unit.
        """
        made_of, tracks, clocks = dict(recordings or {}), [], []
        for name, rows in self.rows.items():
            begins, ends = (np.array([row[place] for row in rows], dtype=np.int64) for place in (0, 1))
            values = np.array([row[2] for row in rows], dtype=np.float64)
            known = [(row[0], row[3]) for row in rows if row[3] is not None]
            clocks += known
            worn = Worn(subject, source, utc_offset_s=min(known)[1] if known else None)
            ranks = np.zeros(len(rows), dtype=np.int64)
            found = kept_as(self.kept[name], begins, ends, values, ranks, worn=worn, where=name)
            if isinstance(found, Recording):
                made_of[name] = found
            else:
                tracks += found
        if clocks:
            times, offsets = zip(*clocks, strict=True)
            tracks.append(utc_offsets(np.array(times, dtype=np.int64), np.array(offsets, dtype=np.int64)))
        labels = {track.name: track for track in tracks if len(track.values)}
        if not made_of and not labels:
            raise ReaderError("The file holds nothing of use", where=source, fix="see what the reader keeps")
        return Visit(subject=subject, recordings=made_of, labels=labels, source=source)


def kept_as(
    kept: Kept,
    begins: NDArray[np.int64],
    ends: NDArray[np.int64],
    values: NDArray[np.float64],
    ranks: NDArray[np.int64],
    *,
    worn: Worn,
    where: str,
) -> Recording | list[LabelTrack]:
    """Numbers with times of one kind as a recording or as label tracks; of overlapping sources the lowest rank wins.

    Raises:
        ReaderError: If the times cannot be.
        UnitError: If most values cannot be in the unit.
    """
    grid: dict[str, Any] = {"unit": kept.unit, "channel": kept.channel, "step_s": kept.step_s} if kept.units else {}
    if kept.form == "averaged":
        middle = begins + (ends - begins) // 2
        return averaged(middle, values, modality=kept.name, ranks=ranks, worn=worn, where=where, **grid)
    if kept.form == "spread":
        return spread(begins, ends, values, modality=kept.name, ranks=ranks, worn=worn, where=where, **grid)
    if kept.form == "glucose":
        first = ranks == ranks.min()
        steps = np.diff(np.unique(begins[first]))
        if len(steps) == 0 or np.median(steps) > _SPOT_STEP_S * NS_PER_S:
            check_plausible(values, modality="glucose", unit=kept.unit, worn=worn, where=where)
            return [events("spot_glucose", begins, values, kept.unit)]
        step_s = usual_step_s(begins[first])
        return glucose(begins[first], values[first], unit=kept.unit, step_s=step_s, worn=worn, where=where)
    if kept.form == "sleep":
        return _sleep(begins, ends, values, ranks)
    if kept.form == "interval":
        return [intervals(kept.name, begins, ends, values, unit=kept.unit)]
    return [events(kept.name, begins, values, kept.unit)]


def _sleep(
    begins: NDArray[np.int64], ends: NDArray[np.int64], values: NDArray[np.float64], ranks: NDArray[np.int64]
) -> list[LabelTrack]:
    stages, bed = values >= 0, values == -1
    keep = _one_source(begins[stages], ends[stages], ranks[stages])
    kept_bed = _one_source(begins[bed], ends[bed], ranks[bed])
    return [
        intervals("sleep_stage", begins[stages][keep], ends[stages][keep], values[stages][keep], classes=SLEEP_STAGES),
        intervals("in_bed", begins[bed][kept_bed], ends[bed][kept_bed], np.zeros(kept_bed.sum()), classes=("in_bed",)),
    ]


def _one_source(begins: NDArray[np.int64], ends: NDArray[np.int64], ranks: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Of intervals of several sources those that meet none of a source of lower rank."""
    keep = np.zeros(len(begins), dtype=np.bool_)
    for rank in np.unique(ranks):
        mine = np.flatnonzero(ranks == rank)
        order = np.argsort(begins[keep], kind="stable")
        starts, stops = begins[keep][order], np.maximum.accumulate(ends[keep][order]) if keep.any() else ends[keep]
        before = np.searchsorted(starts, ends[mine], side="left")
        meets = (before > 0) & (np.concatenate([[np.iinfo(np.int64).min], stops])[before] > begins[mine])
        keep[mine[~meets]] = True
    return keep
