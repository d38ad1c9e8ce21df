"""What every reader does last: check rate, clock and unit, and make the Recording."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from hdt_fm.schema.errors import ReaderError, UnitError
from hdt_fm.schema.modalities import Modality, recorded
from hdt_fm.schema.recording import NS_PER_S, Channel, Recording

# Above this share of implausible samples it is the unit that is wrong, not the samples.
MAX_IMPLAUSIBLE = 0.5
# A common size of each signal in its canonical unit, to rank the units that would make the values plausible.
_TYPICAL = {"acc": 1.0, "temp": 33.0, "eda": 2.0, "glucose": 120.0, "heart_rate": 75.0, "spo2": 97.0, "ecg": 0.5}
_CYCLE_YEARS = 400
_FLOAT32_MAX = float(np.finfo(np.float32).max)
_PIECE = 1 << 15


def make_recording(
    values: NDArray[np.floating] | Sequence[NDArray[np.number]],
    *,
    modality: str,
    unit: str,
    channels: tuple[str, ...],
    sampling_rate_hz: float,
    start_ns: int,
    subject: str,
    device: str,
    body_site: str = "",
    where: str,
    missing: NDArray[np.bool_] | None = None,
    utc_offset_s: int | None = None,
    calibration: Sequence[tuple[float, float]] = (),
) -> Recording:
    """Raw samples (channel, time) -> Recording.

    `calibration` has (gain, offset) of each channel where `values` are numbers as a converter gave them:
    (number + offset) * gain is the value in `unit`.

    Raises:
        ReaderError: If there is no sample or the sampling rate is not a positive number.
        UnitError: If the unit is unknown, or most samples cannot be in it; the likely unit is suggested.
    """
    check_rate(sampling_rate_hz, where=where)
    if len(values[0]) == 0:
        raise ReaderError("The file holds no sample", where=where, fix="leave this recording out, or export it again")
    entry = recorded(modality)
    calibration = calibration or [(1.0, 0.0)] * len(values)
    arrays, observed = _arrays(values, calibration, entry, unit, missing)
    if not observed.all():
        told = np.stack([(row + offset) * gain for row, (gain, offset) in zip(values, calibration, strict=True)])
        known = np.isfinite(told).all(axis=0) & (~missing if missing is not None else True)
        if (known & ~observed).sum() > MAX_IMPLAUSIBLE * known.sum():
            raise _wrong_unit(told[:, known], entry, unit, where)
    return Recording(
        modality=modality,
        channels=tuple(Channel(name, unit) for name in channels),
        sampling_rate_hz=float(sampling_rate_hz),
        start_ns=int(start_ns),
        values=arrays,
        observed=observed,
        subject=subject,
        device=device,
        body_site=body_site,
        utc_offset_s=utc_offset_s,
    )


def _arrays(
    values: NDArray[np.floating] | Sequence[NDArray[np.number]],
    calibration: Sequence[tuple[float, float]],
    entry: Modality,
    unit: str,
    missing: NDArray[np.bool_] | None,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """As `recording_arrays` of the schema, piece by piece while it is in the cache: several times as fast."""
    length = len(values[0])
    # Beyond float32 nothing is finite; a comparison with NaN is false.
    low, high = max(entry.plausible[0], -_FLOAT32_MAX), min(entry.plausible[1], _FLOAT32_MAX)
    arrays = np.empty((len(values), length), dtype=np.float32)
    observed = ~missing if missing is not None else np.ones(length, dtype=np.bool_)
    with np.errstate(over="ignore", invalid="ignore"):
        for begin in range(0, length, _PIECE):
            piece = slice(begin, begin + _PIECE)
            for raw, (gain, zero), array in zip(values, calibration, arrays, strict=True):
                converted = np.add(raw[piece], zero, dtype=np.float64)
                for scale, offset in ((gain, 0.0), entry.conversion(unit)):
                    if scale != 1:
                        converted *= scale
                    if offset:
                        converted += offset
                array[piece] = converted
                observed[piece] &= (converted >= low) & (converted <= high)
    if not observed.all():
        arrays[:, ~observed] = 0
    return arrays, observed


def check_rate(sampling_rate_hz: float, *, where: str) -> None:
    """Refuse a rate that is not a positive number.

    Raises:
        ReaderError: If so.
    """
    if not (math.isfinite(sampling_rate_hz) and sampling_rate_hz > 0):
        raise ReaderError(
            "The sampling rate is not a positive number",
            where=where,
            expected="hertz above 0",
            got=f"{sampling_rate_hz:g}",
            fix="the header is damaged; export the recording again",
        )


def seconds_to_ns(seconds: float, *, where: str) -> int:
    """UNIX seconds (any fraction) -> nanoseconds, exact to the microsecond that a float holds.

    Raises:
        ReaderError: If it is no time, or beyond the years that int64 nanoseconds can hold.
    """
    if not (math.isfinite(seconds) and abs(seconds) < 9.2e9):
        raise ReaderError("The start time is not a UNIX time in seconds", where=where, expected="seconds since 1970")
    return round(seconds * 1e6) * 1000


def datetime_to_ns(moment: datetime | None) -> int:
    """UTC nanoseconds of a header's date; 0 where a file has none.

    De-identified sets use years such as 2704, which int64 nanoseconds cannot hold: those are moved back by
    whole 400-year cycles, after which every date falls on the same day of the week again; and those before 1700
    forward.
    """
    if moment is None:
        return 0
    while moment.year >= 2200:
        moment = moment.replace(year=moment.year - _CYCLE_YEARS)
    while moment.year < 1700:
        moment = moment.replace(year=moment.year + _CYCLE_YEARS)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * NS_PER_S + since.microseconds * 1000


def _wrong_unit(values: NDArray[np.float64], entry: Modality, unit: str, where: str) -> UnitError:
    fitting = sorted(
        (distance, name)
        for name in {entry.unit, *entry.units} - {unit}
        if (distance := _distance(values, entry, name)) is not None
    )
    low, high = entry.plausible
    return UnitError(
        f"The {entry.name} values cannot be in {unit!r}",
        where=where,
        expected=f"most samples from {low:g} to {high:g} {entry.unit} after conversion",
        got="more than half of the samples outside of it",
        fix=f"they look like {fitting[0][1]!r}; say so in the reader or mapping"
        if fitting
        else f"no known unit of {entry.name} fits them either: look at the file's scaling",
    )


def _distance(values: NDArray[np.float64], entry: Modality, unit: str) -> float | None:
    """How far from typical the values would be in a unit; None when they would not be plausible."""
    scale, offset = entry.conversion(unit)
    converted = values * scale + offset
    low, high = entry.plausible
    if ((converted >= low) & (converted <= high)).all(axis=0).mean() < 0.95:
        return None
    size = float(np.median(np.linalg.norm(converted, axis=0)))
    return abs(math.log(max(size, 1e-12) / _TYPICAL.get(entry.kind, 1.0)))
