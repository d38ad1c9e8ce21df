"""Two clocks: by how much one device's is off and drifts, with an uncertainty; or "unknown", and never a guess.

Events that both devices noted (a clap, a button) are best. Without them, movement that both felt is compared piece by
piece, and a robust line through the pieces that agree gives offset and drift.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Float64, Int64

from hdt_fm.schema.errors import RecordingError
from hdt_fm.schema.modalities import modality
from hdt_fm.schema.recording import NS_PER_S, Recording
from hdt_fm.signal.lags import piece_lags
from hdt_fm.signal.resample import resample

# Less drift than this moves a day by four seconds, and an hour by 0.2 s: it is noted and not resampled.
RESAMPLE_PPM = 50.0
# Bounds of 95 % follow from Student's t of the points that the line may still use; a table, as scipy.stats is heavy.
_T95 = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23)
# Where pieces differ by more than this from their line, in robust SDs or seconds, they do not agree with it.
_OUTLIER_SD, _AGREE_S = 3.5, 0.25
# A line must keep this many pieces, and this share of those that were found; a few can agree by chance.
_MIN_PIECES, _MIN_AGREEING = 3, 0.6
# A drift needs a base: over less than ten minutes a tenth of a second of error is 170 ppm.
_MIN_SPAN_S = 600.0


@dataclass(frozen=True)
class ClockFit:
    """How a device's clock relates to a reference's: reference = device + offset + drift * (device - at).

    Attributes:
        method: "events", "motion", or "unknown", when neither says anything; then all numbers are None.
        offset_s: What is to be added to the device's time at `at_ns`.
        offset_error_s: Half width of its 95 % interval.
        drift_ppm: By how much the offset grows, in microseconds a second; None when the base is too short or thin.
        drift_error_ppm: Half width of its 95 % interval.
        at_ns: Device time, the middle of what was compared.
        used, found: Events or pieces that the line uses, of those compared.
        reason: Why nothing is known, or nothing of the drift; else empty.
    """

    method: Literal["events", "motion", "unknown"]
    offset_s: float | None = None
    offset_error_s: float | None = None
    drift_ppm: float | None = None
    drift_error_ppm: float | None = None
    at_ns: int = 0
    used: int = 0
    found: int = 0
    reason: str = ""

    @property
    def known(self) -> bool:
        return self.offset_s is not None


def align_events(
    device_ns: Int64[np.ndarray, " event"], reference_ns: Int64[np.ndarray, " event_there"], *, jitter_s: float
) -> ClockFit:
    """From events that both clocks stamped, in the same order.

    One event gives an offset; three over ten minutes give the drift as well. Where there are three or more, one that
    disagrees is left out.

    Args:
        jitter_s: How exactly an event is stamped (a button is 1 s on an E4's tags, a clap some ms); no interval is
            narrower than this allows.

    Raises:
        RecordingError: If the counts differ: which belongs to which is then not known.
    """
    if len(device_ns) != len(reference_ns):
        raise RecordingError(
            "Two clocks stamped different numbers of events",
            expected="event k of the one is event k of the other",
            got=f"{len(device_ns)} and {len(reference_ns)}",
            fix="leave out those that only one device noted",
        )
    if not len(device_ns):
        return ClockFit(method="unknown", reason="no event was declared")
    at_ns = int(device_ns[0]) + (int(device_ns[-1]) - int(device_ns[0])) // 2
    times = (device_ns - at_ns) / NS_PER_S
    return _line("events", times, (reference_ns - device_ns) / NS_PER_S, at_ns, resolution_s=jitter_s)


def align_motion(device: Recording, reference: Recording, *, max_offset_s: float = 30.0) -> ClockFit:
    """From movement that two accelerometers (or gyroscopes) felt together.

    The length of the vector, 0.5 to 8 Hz, does not depend on how a device is turned. Pieces of a minute that move are
    compared at all offsets up to `max_offset_s`; a piece counts when it fits well at one offset and at no other, which
    steady steps alone do not.

    Raises:
        RecordingError: If a recording is not of movement, or the wanted range is longer than the recordings.
    """
    for recording in (device, reference):
        if modality(recording.modality).kind not in ("acc", "gyro"):
            raise RecordingError(
                f"A recording of {recording.modality} is not aligned by movement",
                expected="acc or gyro",
                fix="declare events, and use align_events",
            )
    lags = piece_lags(device, reference, max_offset_s)
    if len(lags.offset_s) < _MIN_PIECES:
        return ClockFit(
            method="unknown",
            found=len(lags.offset_s),
            reason=f"{len(lags.offset_s)} of {lags.compared} pieces show movement in common; {_MIN_PIECES} are needed",
        )
    middle = float(lags.time_s[0] + lags.time_s[-1]) / 2
    at_ns = device.start_ns + round(middle * NS_PER_S)
    return _line("motion", lags.time_s - middle, lags.offset_s, at_ns, resolution_s=lags.resolution_s)


def apply(recording: Recording, fit: ClockFit, *, min_ppm: float = RESAMPLE_PPM) -> tuple[Recording, str]:
    """The recording on the reference's clock, and one sentence about what was done.

    Its start moves by the offset there. Beyond `min_ppm`, if the interval excludes none, its rate is taken as measured
    and it is resampled to the nominal one by soxr; a smaller drift is only said. Nothing is done when nothing is known.
    """
    if fit.offset_s is None:
        return recording, f"clock not aligned: {fit.reason}"
    drift = (fit.drift_ppm or 0.0) * 1e-6
    at_start = fit.offset_s + drift * ((recording.start_ns - fit.at_ns) / NS_PER_S)
    error = fit.offset_error_s if fit.offset_error_s is not None else math.nan
    said = f"clock moved by {fit.offset_s:+.3f} s (±{error:.3f})"
    moved = replace(recording, start_ns=recording.start_ns + round(at_start * NS_PER_S))
    if fit.drift_ppm is None or fit.drift_error_ppm is None:
        return moved, f"{said}; drift unknown{': ' + fit.reason if fit.reason else ''}"
    said = f"{said}; drift {fit.drift_ppm:+.1f} ppm (±{fit.drift_error_ppm:.1f})"
    if abs(fit.drift_ppm) <= min_ppm or abs(fit.drift_ppm) <= fit.drift_error_ppm:
        return moved, f"{said}, noted only"
    # A clock that falls behind its reference (drift > 0) takes fewer samples a second than it says.
    measured_hz = recording.sampling_rate_hz / (1.0 + drift)
    values, observed = resample(recording.values, recording.observed, measured_hz, recording.sampling_rate_hz)
    return replace(moved, values=values, observed=observed), f"{said}, resampled"


def _line(
    method: Literal["events", "motion"],
    times: Float64[np.ndarray, " point"],
    offsets: Float64[np.ndarray, " point"],
    at_ns: int,
    *,
    resolution_s: float,
) -> ClockFit:
    """Theil-Sen, then least squares over the points that agree with it."""
    slope = _theil_sen(times, offsets) if len(times) >= _MIN_PIECES else 0.0
    rest = offsets - slope * times
    far = np.abs(rest - np.median(rest))
    # Points that all but coincide must not make their neighbours outliers; points that scatter by more than a quarter
    # of a second must not hide behind their own scatter.
    # The factor for few points is Rousseeuw and Leroy's (1987, p. 202): their median is small by chance.
    usual = 1.4826 * (1 + 5 / max(len(times) - 2, 1)) * float(np.median(far))
    limit = min(max(_OUTLIER_SD * usual, 2 * resolution_s), max(_AGREE_S, 4 * resolution_s))
    agree = far <= limit
    count = int(agree.sum())
    if count < min(_MIN_PIECES, len(times)) or count < _MIN_AGREEING * len(times):
        return ClockFit(method="unknown", used=count, found=len(times), reason=f"the {method} compared do not agree")
    times, offsets = times[agree], offsets[agree]
    span = float(np.ptp(times)) if count else 0.0
    told = ClockFit(method=method, at_ns=at_ns, used=count, found=len(agree))
    if count < _MIN_PIECES or span < _MIN_SPAN_S:
        error = resolution_s + (_t95(count - 1) * float(offsets.std(ddof=1)) / math.sqrt(count) if count > 1 else 0.0)
        reason = f"{count} point(s) over {span:.0f} s are too few for a drift"
        return replace(told, offset_s=float(offsets.mean()), offset_error_s=error, reason=reason)
    slope, level = np.polyfit(times, offsets, 1)
    residual = offsets - (level + slope * times)
    spread = math.sqrt(float((residual**2).sum()) / max(count - 2, 1))
    # No residual says how far off all pieces are together; a point is no finer than its resolution.
    spread = max(spread, resolution_s)
    deviation = times - times.mean()
    of_slope = spread / math.sqrt(float((deviation**2).sum()))
    of_level = math.hypot(spread / math.sqrt(count), of_slope * float(times.mean()))
    wide = _t95(count - 2)
    return replace(
        told,
        offset_s=float(level),
        offset_error_s=wide * of_level,
        drift_ppm=1e6 * float(slope),
        drift_error_ppm=1e6 * wide * of_slope,
    )


def _theil_sen(times: np.ndarray, offsets: np.ndarray) -> float:
    first, second = np.triu_indices(len(times), 1)
    apart = times[second] - times[first]
    slopes = (offsets[second] - offsets[first])[apart != 0] / apart[apart != 0]
    return float(np.median(slopes)) if len(slopes) else 0.0


def _t95(freedom: int) -> float:
    table: Sequence[float] = _T95
    return table[min(max(freedom, 1), len(table)) - 1] if freedom <= len(table) else 1.96 + 2.7 / freedom
