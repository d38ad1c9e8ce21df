"""What a visit tells of its clocks: rates off the nominal one, and devices that felt one movement at other times."""

from dataclasses import dataclass
from itertools import combinations

from hdt_fm.schema.errors import RecordingError
from hdt_fm.schema.modalities import modality
from hdt_fm.schema.recording import Recording, Visit
from hdt_fm.signal.align import align_motion

# Rates that devices are set to, in hertz; the nearest is taken for the nominal one.
_USUAL_HZ: tuple[float, ...] = (
    5,
    6.25,
    8,
    10,
    12.5,
    15.625,
    16,
    20,
    25,
    30,
    31.25,
    32,
    40,
    50,
    51.2,
    60,
    62.5,
    64,
    75,
    80,
)
_USUAL_HZ += (600 / 7, 100, 102.4, 120, 125, 128, 200, 204.8, 250, 256, 300, 360, 400, 500, 512, 1000, 1024, 2000, 2048)
# No crystal is off by more; beyond it the nominal rate is another one.
_MOST_PPM = 20_000.0


@dataclass(frozen=True)
class ClockPrint:
    """Two devices of one visit that felt the same movement.

    Attributes:
        pair: The modalities; the second's clock is the reference.
        offset_s: What is to be added to the first's time in the middle; None when too little movement says so.
        offset_error_s, drift_error_ppm: Half widths of 95 % intervals.
        drift_ppm: By how much the offset grows; None when the base is too short.
    """

    pair: tuple[str, str]
    offset_s: float | None
    offset_error_s: float | None
    drift_ppm: float | None
    drift_error_ppm: float | None


def off_nominal_ppm(sampling_rate_hz: float) -> float | None:
    """How much faster than the nearest usual rate a device ran; None where none is near.

    Readers of loggers take the rate from the time stamps, so this is the drift of the device's clock.
    """
    nominal = min(_USUAL_HZ, key=lambda rate: abs(rate - sampling_rate_hz))
    ppm = (sampling_rate_hz / nominal - 1) * 1e6
    return round(ppm, 1) if abs(ppm) <= _MOST_PPM else None


def between_devices(visit: Visit) -> tuple[ClockPrint, ...]:
    """Every two accelerometers of the visit that different devices, or places of the body, wore."""
    moving = [one for one in visit.recordings.values() if modality(one.modality).kind == "acc"]
    return tuple(_compared(*pair) for pair in combinations(moving, 2) if _apart(*pair))


def _apart(one: Recording, other: Recording) -> bool:
    return (one.device, one.body_site) != (other.device, other.body_site)


def _compared(one: Recording, other: Recording) -> ClockPrint:
    pair = (one.modality, other.modality)
    try:
        fit = align_motion(one, other)
    except RecordingError:  # too short, or at different times
        return ClockPrint(pair, None, None, None, None)
    return ClockPrint(
        pair, *(_short(x) for x in (fit.offset_s, fit.offset_error_s, fit.drift_ppm, fit.drift_error_ppm))
    )


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
