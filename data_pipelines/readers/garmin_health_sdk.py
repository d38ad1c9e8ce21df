"""Garmin Health SDK: streams of a watch, logged as lines of time; kind; value."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from data_pipelines.readers._beginning import first_bytes
from data_pipelines.readers._files import read_bytes
from data_pipelines.readers._grid import place
from data_pipelines.readers._numbers import parse_csv
from data_pipelines.readers._recordings import make_recording, seconds_to_ns
from hdt_fm.schema.errors import ReaderError
from hdt_fm.schema.recording import NS_PER_S, LabelTrack, Recording, Visit

_ISO = rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}(?:Z|[+-]\d\d:\d\d)"
_STREAM = re.compile(_ISO + rb";[A-Z_]{3,40};-?\d+(?:\.\d+)?\r?\n")
_ACC = re.compile(_ISO + rb";-?\d+;-?\d+;-?\d+\r?\n")
_HEAD_BYTES = 256
_ACC_RATE_HZ = 25.0
# Kind -> modality, unit, and the rate of the grid: about how often the watch sends it.
_SIGNALS = {"HEART_RATE": ("heart_rate", "bpm", 1.0), "STRESS": ("stress_score", "1", 0.1)}
_BEATS = "HEART_RATE_VARIABILITY"
_LONGEST_STEP_S = 600.0
_MOST_STEPS = 400.0


class GarminHealthSdk:
    """Reads the stream of numbers, the acceleration, or a folder of both.

    Format: Lines of `time;KIND;value` or `time;x;y;z` without a header (.csv, .csv.gz), as loggers built on the
        Garmin Health SDK (developer.garmin.com/health-sdk) write them; ISO times with an offset.
    Units: heart_rate bpm at 1 Hz; stress_score at 0.1 Hz (negative codes are unobserved); acc mg at 25 Hz -> g.
    Lossy: Calories, ascent, intensity minutes and other kinds; the second of two values at one place of the grid.
        HEART_RATE_VARIABILITY holds intervals between beats, which become events `beats` (in s, at the time of
        arrival); the day's step counter becomes the values `steps` per minute between two readings of it.
    """

    @staticmethod
    def detect(path: Path) -> bool:
        """Whether it begins with such a line, or is a folder with such files."""
        if path.is_dir():
            return any(_kind(child) for child in sorted(path.iterdir()) if child.is_file())
        return path.is_file() and bool(_kind(path))

    def read(self, path: Path, *, subject: str) -> Visit:
        """Read every stream that is there.

        Raises:
            ReaderError: If there is none, two of one kind, or a line is damaged.
            UnitError: If values are impossible.
        """
        children = sorted(path.iterdir()) if path.is_dir() else [path]
        kinds = [(kind, child) for child in children if child.is_file() and (kind := _kind(child))]
        if not kinds or len({kind for kind, _ in kinds}) < len(kinds):
            raise ReaderError(
                "There is no stream of the Garmin Health SDK here, or two of one kind",
                expected="lines of time;KIND;value in one file, time;x;y;z in another",
                fix="make one folder per recording",
            )
        recordings: dict[str, Recording] = {}
        labels: dict[str, LabelTrack] = {}
        for kind, child in kinds:
            data = read_bytes(child)
            if kind == "acc":
                recordings["acc"] = _acceleration(data, subject)
            else:
                found, labels = _stream(data, subject)
                recordings |= found
        return Visit(subject=subject, recordings=recordings, labels=labels, source="garmin_health_sdk")


def _kind(path: Path) -> str:
    """`acc`, `stream`, or empty for anything else."""
    if not path.name.lower().endswith((".csv", ".csv.gz")):
        return ""
    head = first_bytes(path, _HEAD_BYTES)
    if _ACC.match(head):
        return "acc"
    return "stream" if _STREAM.match(head) else ""


def _table(data: bytes, names: list[str], text: list[str], where: str) -> tuple[pa.Table, NDArray[np.float64], int]:
    """Columns, UTC seconds, and the local offset of the first line."""
    types = {name: pa.string() if name in text else pa.float64() for name in names}
    table = parse_csv(data, where=where, names=names, types=types, delimiter=";")
    if any(table.column(name).null_count for name in names):
        raise ReaderError("A line is incomplete", where=where, expected=";".join(names), fix="the file was cut off")
    texts = table.column("time").to_pandas()
    try:
        moments = pd.to_datetime(texts, utc=True, format="ISO8601")
        first = pd.Timestamp(texts.iloc[0])
    except (ValueError, TypeError):
        raise ReaderError("A time is not ISO 8601", where=where, expected="2026-03-05T09:30:00.123+01:00") from None
    seconds = moments.dt.as_unit("ms").astype("int64").to_numpy() / 1000
    if (np.diff(seconds) < 0).any():
        raise ReaderError("The lines are not in order of time", where=where, fix="sort them, or split the file there")
    shift = first.utcoffset()
    return table, seconds, round(shift.total_seconds()) if shift is not None else 0


def _acceleration(data: bytes, subject: str) -> Recording:
    axes = ["x", "y", "z"]
    table, times, offset = _table(data, ["time", *axes], ["time"], "acc")
    values = np.stack([table.column(axis).to_numpy() for axis in axes], axis=1)
    # Two samples with one time, and none at the next place: the second was stamped early.
    places = np.rint((times - times[0]) * _ACC_RATE_HZ)
    early = np.flatnonzero((np.diff(places, prepend=-1) == 0) & (np.diff(places, append=np.inf) >= 2))
    places[early] += 1
    return make_recording(
        place(places / _ACC_RATE_HZ, values, _ACC_RATE_HZ, where="acc").T,
        modality="acc",
        unit="mg",
        channels=("x", "y", "z"),
        sampling_rate_hz=_ACC_RATE_HZ,
        start_ns=seconds_to_ns(float(times[0]), where="acc"),
        subject=subject,
        device="garmin",
        body_site="wrist",
        utc_offset_s=offset,
        where="acc",
    )


def _stream(data: bytes, subject: str) -> tuple[dict[str, Recording], dict[str, LabelTrack]]:
    table, times, offset = _table(data, ["time", "kind", "value"], ["time", "kind"], "stream")
    kinds = table.column("kind").to_numpy(zero_copy_only=False)
    values = table.column("value").to_numpy()
    recordings = {}
    for kind, (modality, unit, rate) in _SIGNALS.items():
        of_kind = kinds == kind
        if (values[of_kind] >= 0).any():
            recordings[modality] = _signal(times[of_kind], values[of_kind], modality, unit, rate, offset, subject)
    labels = {
        track.name: track for track in (_beats(times, values, kinds), _steps(times, values, kinds)) if len(track.values)
    }
    if not recordings and not labels:
        raise ReaderError(
            "The stream holds no known kind", where="stream", expected=", ".join([*_SIGNALS, _BEATS, "STEPS"])
        )
    return recordings, labels


def _signal(
    times: NDArray[np.float64],
    values: NDArray[np.float64],
    modality: str,
    unit: str,
    rate: float,
    offset: int,
    subject: str,
) -> Recording:
    # Below zero is a code: not worn, too much motion, no estimate yet.
    times, values = times[values >= 0], values[values >= 0]
    places = np.floor((times - times[0]) * rate)
    first = np.concatenate([[True], np.diff(places) > 0])
    return make_recording(
        place(places[first] / rate, values[first, None], rate, where=modality).T,
        modality=modality,
        unit=unit,
        channels=(modality,),
        sampling_rate_hz=rate,
        start_ns=seconds_to_ns(float(times[0]), where=modality),
        subject=subject,
        device="garmin",
        body_site="wrist",
        utc_offset_s=offset,
        where=modality,
    )


def _beats(times: NDArray[np.float64], values: NDArray[np.float64], kinds: NDArray[np.object_]) -> LabelTrack:
    known = (kinds == _BEATS) & (values > 0)
    moments = _ns(times[known])
    return LabelTrack("beats", "event", moments, moments, values[known] / 1000, unit="s")


def _steps(times: NDArray[np.float64], values: NDArray[np.float64], kinds: NDArray[np.object_]) -> LabelTrack:
    times, counter = times[kinds == "STEPS"], values[kinds == "STEPS"]
    taken, lasted = np.diff(counter), np.diff(times)
    # The counter starts anew at midnight; over a long pause it says too little about when.
    known = (taken >= 0) & (lasted > 0) & (lasted <= _LONGEST_STEP_S)
    # It also comes late at times: what nobody can walk was not walked between the two readings.
    known[known] = taken[known] / lasted[known] * 60 <= _MOST_STEPS
    per_minute = taken[known] / lasted[known] * 60
    return LabelTrack("steps", "value", _ns(times[:-1][known]), _ns(times[1:][known]), per_minute, unit="1/min")


def _ns(times: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.rint(times * 1000).astype(np.int64) * (NS_PER_S // 1000)
