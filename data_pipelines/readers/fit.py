"""FIT files of watches, bicycle computers and heart-rate straps."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_pipelines.readers._beginning import first_bytes
from data_pipelines.readers._files import read_bytes
from data_pipelines.readers._fit_beats import beats, strap_rates
from data_pipelines.readers._fit_clock import Clock, to_ns, utc_seconds
from data_pipelines.readers._fit_profile import (
    ACTIVITY,
    BELOW_ZERO_IS_NONE,
    FILE_ID,
    MANUFACTURERS,
    MONITORING,
    MONITORING_INFO,
    RUNNING,
    SIGNALS,
    SLEEP_LEVEL,
    SLEEP_LEVELS,
    USER_PROFILE,
    WALKING,
    WEIGHT_SCALE,
    Signal,
)
from data_pipelines.readers._fit_stream import Part, read_parts
from data_pipelines.readers._grid import place_nearest
from data_pipelines.readers._recordings import make_recording
from hdt_fm.schema.errors import ReaderError
from hdt_fm.schema.recording import LabelTrack, Recording, Visit

Series = tuple[NDArray[np.float64], NDArray[np.float64]]
# Steps are told as a sum since midnight; over a longer span the share of each minute is anybody's guess.
_MAX_SPAN_S = 3600.0
_LONGEST_SLEEP_LEVEL_S = 4 * 3600.0
_QUARTER_HOUR_S = 900


class Fit:
    """Reads one file, or a chain of files in one.

    Format: FIT (developer.garmin.com/fit/protocol), any device: activities, all-day monitoring, strap memories,
        weights. Either byte order, compressed time stamps, sixteen-bit times and developer fields included; each
        part's checksum is tested.
    Units: heart_rate bpm, cadence 1/min, power W, speed m/s, altitude m, device_temp celsius, resp_rate 1/min,
        stress_score 1, spo2 %, steps 1/min; beats (event, the interval before in s, or 0), weight (event, kg),
        sleep_stage (class).
    Lossy: Positions are dropped, as a track tells where a person lives; so are serial numbers, the user's profile,
        laps, sessions, distances, developer fields, motion logs and what the vendor does not publish. Times are whole
        seconds. Signals that a device writes when they change lie on a coarser grid of whole seconds, where the
        sample nearest to a place is kept. Steps are a mean between two messages. `hrv` intervals have no clock of
        their own: their beats may be off by some seconds together.
    """

    @staticmethod
    def detect(path: Path) -> bool:
        """Whether the file begins as FIT does."""
        head = first_bytes(path, 12)
        return head[8:12] == b".FIT" and head[0] >= 12

    def read(self, path: Path, *, subject: str) -> Visit:
        """Read every signal of a body that the file holds.

        Raises:
            ReaderError: If it is truncated or damaged, of several people, goes back in time, or holds no such signal.
            UnitError: If values cannot be in the format's unit.
        """
        if not self.detect(path):
            raise ReaderError("This is no FIT file", expected="a header with the word .FIT in it")
        parts = list(read_parts(read_bytes(path)))
        _refuse_several_people(parts)
        clocks = [Clock(part) for part in parts]
        series = _series(parts, clocks)
        offset, device = _utc_offset(parts), _device(parts)
        recordings = {
            signal.modality: _recording(signal, times, values, subject, device, offset)
            for signal, (times, values) in series.items()
        }
        labels = {
            track.name: track
            for track in (beats(parts, clocks), _weights(parts, clocks), _sleep(parts, clocks))
            if track is not None and len(track.values)
        }
        if not recordings and not labels:
            raise ReaderError(
                "The FIT file holds no signal of a body",
                expected="records, monitoring, heart beats, weights or sleep",
                got="settings, courses or workouts",
                fix="leave it out",
            )
        return Visit(subject=subject, recordings=recordings, labels=labels, source="fit")


def _series(parts: Sequence[Part], clocks: Sequence[Clock]) -> dict[Signal, Series]:
    """The first signal of each modality that holds anything, in order of time."""
    found: dict[str, tuple[Signal, Series]] = {}
    for signal in SIGNALS:
        if signal.modality not in found:
            one = _joined([_of_part(signal, part, clock) for part, clock in zip(parts, clocks, strict=True)])
            if len(one[0]):
                found[signal.modality] = signal, one
    if "heart_rate" not in found and len((one := _joined([strap_rates(part) for part in parts]))[0]):
        found["heart_rate"] = SIGNALS[0], one
    steps = _joined([_steps(part, clock) for part, clock in zip(parts, clocks, strict=True)])
    if len(steps[0]):
        found["steps"] = Signal("steps", "1/min", MONITORING, 3), steps
    return dict(found.values())


def _of_part(signal: Signal, part: Part, clock: Clock) -> Series:
    raw = part.column(signal.message, signal.number)[:, 0]
    values = raw / signal.scale - signal.offset
    if signal.fraction is not None:
        number, scale = signal.fraction
        values = values + np.nan_to_num(part.column(signal.message, number)[:, 0]) / scale
    if signal.modality in BELOW_ZERO_IS_NONE:
        values = np.where(values < 0, np.nan, values)
    if signal.time is None:
        times = clock.of(part.places(signal.message))
    else:
        times = utc_seconds(part.column(signal.message, signal.time)[:, 0])
    known = np.isfinite(values) & np.isfinite(times)
    return times[known], values[known]


def _joined(series: Sequence[Series]) -> Series:
    return np.concatenate([one[0] for one in series]), np.concatenate([one[1] for one in series])


def _steps(part: Part, clock: Clock) -> Series:
    """Steps per minute of the minutes between two messages that tell sums, at the beginnings of the minutes."""
    times, sums = clock.of(part.places(MONITORING)), part.column(MONITORING, 3)[:, 0]
    kinds, packed = part.column(MONITORING, 5)[:, 0], part.column(MONITORING, 24)[:, 0]
    # The kind of activity stands by itself, or in the low five bits of a byte that holds the intensity too.
    kinds = np.where(np.isfinite(kinds), kinds, packed % 32)
    known = np.isin(kinds, (RUNNING, WALKING)) & np.isfinite(sums) & np.isfinite(times)
    times, kinds, sums = times[known], kinds[known], sums[known]
    minutes, rates = [], []
    for kind in (RUNNING, WALKING):
        at, total = times[kinds == kind], sums[kinds == kind]
        for begin, end, gained in zip(at[:-1].tolist(), at[1:].tolist(), np.diff(total).tolist(), strict=True):
            # A sum that falls began anew at midnight.
            if 60 <= end - begin <= _MAX_SPAN_S and gained >= 0:
                count = int((end - begin) // 60)
                minutes.append(begin + 60.0 * np.arange(count))
                rates.append(np.full(count, gained / (end - begin) * 60))
    if not minutes:
        return np.empty(0), np.empty(0)
    unique, index = np.unique(np.concatenate(minutes), return_inverse=True)
    return unique, np.bincount(index, weights=np.concatenate(rates)).astype(np.float64)


def _recording(
    signal: Signal,
    times: NDArray[np.float64],
    values: NDArray[np.float64],
    subject: str,
    device: str,
    offset: int | None,
) -> Recording:
    placed, rate = place_nearest(times, values[:, np.newaxis], where=f"{signal.modality} of the FIT file")
    return make_recording(
        placed.T,
        modality=signal.modality,
        unit=signal.unit,
        channels=(signal.modality,),
        sampling_rate_hz=rate,
        start_ns=int(to_ns(times[:1])[0]),
        subject=subject,
        device=device,
        where=f"{signal.modality} of the FIT file",
        utc_offset_s=offset,
    )


def _refuse_several_people(parts: Sequence[Part]) -> None:
    profiles = sum(len(part.places(USER_PROFILE)) for part in parts)
    people = np.concatenate([part.column(WEIGHT_SCALE, 12)[:, 0] for part in parts])
    if len(np.unique(people[np.isfinite(people)])) > 1 or (profiles > 1 and len(people)):
        raise ReaderError(
            "The FIT file holds the weights of several people",
            expected="one person's data in a file",
            got="several user profiles",
            fix="export each person's data from their own account",
        )


def _utc_offset(parts: Sequence[Part]) -> int | None:
    """Local time less UTC of the first message that tells both."""
    for part in parts:
        for message, number in ((ACTIVITY, 5), (MONITORING_INFO, 0)):
            both = np.stack([part.column(message, number)[:, 0], part.column(message, 253)[:, 0]])
            both = both[:, np.isfinite(both).all(axis=0)]
            if both.shape[1]:
                offset = round(float(both[0, 0] - both[1, 0]) / _QUARTER_HOUR_S) * _QUARTER_HOUR_S
                return offset if abs(offset) <= 14 * 3600 else None
    return None


def _device(parts: Sequence[Part]) -> str:
    makers = np.concatenate([part.column(FILE_ID, 1)[:, 0] for part in parts])
    return MANUFACTURERS.get(int(makers[0]), "fit") if len(makers) and np.isfinite(makers[0]) else "fit"


def _weights(parts: Sequence[Part], clocks: Sequence[Clock]) -> LabelTrack | None:
    times, values = _joined(
        [
            (clock.of(part.places(WEIGHT_SCALE)), part.column(WEIGHT_SCALE, 0)[:, 0] / 100)
            for part, clock in zip(parts, clocks, strict=True)
        ]
    )
    known = np.isfinite(times) & np.isfinite(values)
    begins = to_ns(times[known])
    return LabelTrack("weight", "event", begins, begins, values[known], unit="kg") if known.any() else None


def _sleep(parts: Sequence[Part], clocks: Sequence[Clock]) -> LabelTrack | None:
    """Each level holds until the next one; the last has no end, and is left out."""
    times, levels = _joined(
        [
            (clock.of(part.places(SLEEP_LEVEL)), part.column(SLEEP_LEVEL, 0)[:, 0])
            for part, clock in zip(parts, clocks, strict=True)
        ]
    )
    known = np.isfinite(times) & np.isfinite(levels) & (levels < len(SLEEP_LEVELS))
    times, levels = times[known], levels[known]
    lasts = np.diff(times)
    kept = np.flatnonzero((lasts > 0) & (lasts <= _LONGEST_SLEEP_LEVEL_S))
    if not len(kept):
        return None
    begins, ends = to_ns(times[kept]), to_ns(times[kept + 1])
    return LabelTrack("sleep_stage", "class", begins, ends, levels[kept], classes=SLEEP_LEVELS)
