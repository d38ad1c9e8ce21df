"""Apple Health: export.xml of an iPhone, of any size."""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_pipelines.readers._apple_columns import Columns, short
from data_pipelines.readers._apple_types import KEPT, WORKOUT_PREFIX, WORKOUTS
from data_pipelines.readers._apple_xml import exports, opened, parse
from data_pipelines.readers._clock import seconds_with_offset
from data_pipelines.readers._points import Kept, kept_as
from data_pipelines.readers._slow import Worn, events, intervals, utc_offsets
from hdt_fm.schema.errors import ReaderError, UnitError
from hdt_fm.schema.recording import NS_PER_S, LabelTrack, Recording, Visit


class AppleHealth:
    """Reads one person's export: export.xml, its zip as the phone shares it, or the unpacked folder.

    Format: Health app, "Export All Health Data" (developer.apple.com/documentation/healthkit), versions up to iOS 18;
        read as a stream, so a file of many GB takes no more memory than the numbers kept.
    Units: As each record says: heart_rate bpm, hrv (SDNN) ms, spo2 %, resp_rate and steps 1/min, energy (active)
        kcal/min, glucose mg/dL, sound and sound_ear (headphones) dB. Labels: beats s (time since the beat before),
        sleep_stage, in_bed, workout, wrist_temperature, resting_heart_rate, body_temperature, weight,
        systolic_pressure, diastolic_pressure, insulin U, carbs g, caffeine mg, vo2max, utc_offset s.
    Lossy: Everything else, on purpose the routes (places), the date of birth, names of devices, cycle and clinical
        records, and free text. Samples become their mean in each minute; amounts over intervals (steps, energy) a rate
        in each minute that an interval touches, and minutes that none touches are unobserved, not zero. Where sources
        overlap, a minute (for sleep: an interval) is of one: an Apple Watch before an iPhone, before the source with
        most records. Basal energy is left out. Glucose further than half an hour apart is the label spot_glucose.

    The clock is UTC; `utc_offset_s` is the offset that the first record of a recording has, and the label utc_offset
    holds its changes, as the export writes them (it may write all in the zone where it was made).
    """

    @staticmethod
    def detect(path: Path) -> bool:
        """Whether it is XML with the element HealthData, or a zip or folder with such a file."""
        return bool(exports(path))

    def read(self, path: Path, *, subject: str) -> Visit:
        """Read every type of record that is known.

        Raises:
            ReaderError: If it is no export, or two, is cut off or damaged, or holds nothing of use.
            UnitError: If a record has an unknown unit, or most values of a type cannot be in theirs.
        """
        found = exports(path) or [path]
        if len(found) > 1:
            raise ReaderError("The folder holds two exports", expected="one export.xml", fix="read them one by one")
        columns = Columns()
        with opened(found[0]) as handle:
            try:
                parse(handle, columns.start, columns.after_block)
            except KeyError as error:
                raise ReaderError("A record lacks an attribute", where="export.xml", expected=f"{error}") from None
        return _visit(columns, subject)


def _visit(columns: Columns, subject: str) -> Visit:
    """All of it on grids and in tracks."""
    recordings: dict[str, Recording] = {}
    tracks: list[LabelTrack] = []
    by_index = {index: unit for unit, index in columns.units.items()}
    clocks = []
    for name in KEPT:
        if name not in columns.numbers:
            continue
        begins, ends, values, units, sources, offsets = columns.numbers.pop(name).arrays()
        # Where the offset stays the same from record to record, one of them says it.
        turns = np.append(np.flatnonzero(np.diff(offsets, prepend=offsets[0] + 1)), len(begins) - 1)
        clocks.append((begins[turns], offsets[turns]))
        offset = int(offsets[np.argmin(begins)])
        worn = Worn(subject, "apple_health", utc_offset_s=offset)
        kept = KEPT[name]
        ranks = _rank_of(columns, sources)
        values = _in_one_unit(name, kept, values, units, by_index)
        made = kept_as(kept, begins, ends, values, ranks, worn=worn, where=short(name))
        if isinstance(made, Recording):
            recordings[made.modality] = made
        else:
            tracks += made
    tracks += _workouts_and_beats(columns)
    if clocks:
        tracks.append(utc_offsets(*(np.concatenate(column).astype(np.int64) for column in zip(*clocks, strict=True))))
    if not recordings and not any(len(track.values) for track in tracks):
        raise ReaderError(
            "The export holds nothing of use", expected="records of heart rate, steps, sleep, glucose, ..."
        )
    labels = {track.name: track for track in tracks if len(track.values)}
    return Visit(subject=subject, recordings=recordings, labels=labels, source="apple_health")


def _rank_of(columns: Columns, sources: NDArray[np.uint16]) -> NDArray[np.int64]:
    """Of each record; the lowest goes first."""
    counts = np.bincount(sources, minlength=len(columns.ranks))
    order = sorted(range(len(counts)), key=lambda index: (columns.ranks.get(index, 2), -counts[index], index))
    place = np.empty(len(counts), dtype=np.int64)
    present = [index for index in order if counts[index]]
    place[present] = np.arange(len(present))
    return place[sources]


def _workouts_and_beats(columns: Columns) -> list[LabelTrack]:
    tracks = []
    if columns.workouts:
        begins, _ = seconds_with_offset([row["startDate"] for row in columns.workouts], where="Workout")
        ends, _ = seconds_with_offset([row["endDate"] for row in columns.workouts], where="Workout")
        kinds = [_workout(row["workoutActivityType"]) for row in columns.workouts]
        values = np.array([WORKOUTS.index(kind) for kind in kinds], dtype=np.float64)
        tracks.append(intervals("workout", begins * NS_PER_S, ends * NS_PER_S, values, classes=WORKOUTS))
    if len(columns.beat_times):
        times = np.frombuffer(columns.beat_times, dtype=np.int64)
        tracks.append(events("beats", times, np.frombuffer(columns.beat_gaps, dtype=np.float64), "s"))
    return tracks


def _in_one_unit(
    name: str, kept: Kept, values: NDArray[np.float64], units: NDArray[np.uint16], by_index: Mapping[int, str]
) -> NDArray[np.float64]:
    if not kept.units:
        return values
    factors = np.ones(len(by_index))
    for index in np.unique(units):
        unit = kept.units.get(by_index[int(index)])
        if unit is None:
            raise UnitError(
                f"A unit of {short(name)} is not known",
                expected=", ".join(kept.units),
                fix="set the Health app to one of these units and export again",
            )
        factors[index] = unit[1]
    fahrenheit = np.isin(units, [index for index, unit in by_index.items() if unit == "degF"])
    values = values * factors[units]
    return np.where(fahrenheit, (values - 32) * 5 / 9, values)


def _workout(text: str) -> str:
    words = re.sub(r"(?<!^)(?=[A-Z])", "_", text.removeprefix(WORKOUT_PREFIX)).lower()
    return words if words in WORKOUTS else "other"
