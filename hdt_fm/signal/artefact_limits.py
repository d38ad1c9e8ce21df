"""What counts as an artefact in each kind of signal: one table, each number with its reason."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from hdt_fm.schema.errors import unknown_name
from hdt_fm.schema.modalities import modality


@dataclass(frozen=True)
class Limits:
    """None switches a test off, because that kind cannot show it.

    Attributes:
        spread_s: Stretch over which the local spread (SD) is taken: a beat at 30 bpm must fit.
        burst: Spread over the recording's typical one, beyond which it is movement whoever says so. A pulse that
            doubles is within what warmth and posture do to it; three times is not.
        burst_moving: The same while the reference moves: less is enough then.
        lost: Spread below this share of the typical one: the pulse is gone and noise is left.
        lost_s: For at least so long; two slow beats must be missed.
        still_s: Equal samples for so long are no measurement: the device filled a gap. Noise alone changes them.
        clip_samples: Equal samples at the recording's own extreme that are a rail and no peak.
        lowest: Level below which the sensor does not touch skin.
        rise, fall: Units a second that a body does not reach.
        around_s: What lies so near to a change too fast is not to be trusted either.
        mains: Whether wires pick up the mains.
        nonwear: Whether long stillness says that nobody wears it.
    """

    spread_s: float = 2.0
    burst: float | None = None
    burst_moving: float = 1.5
    lost: float | None = None
    lost_s: float = 3.0
    still_s: float | None = None
    clip_samples: int | None = None
    lowest: float | None = None
    rise: float | None = None
    fall: float | None = None
    around_s: float = 1.0
    mains: bool = False
    nonwear: bool = False


# RMS of a reference accelerometer between 0.5 and 8 Hz over 2 s, worst axis, in g. Desk work at the wrist stays below
# 0.03; steps are above 0.1, and at that no optical pulse of a wrist is spared.
MOVING_G, STEPPING_G = 0.03, 0.1

# Mains: at its frequency, as it shows after sampling, must stand this much more than around it, and 1 % of all
# power (20 dB below the signal; less is seen by nobody). Below 10 Hz a body has harmonics of its own: nothing is said.
MAINS_HZ, MAINS_LOWEST_HZ, MAINS_RATIO, MAINS_SHARE = (50.0, 60.0), 10.0, 4.0, 0.01

# Non-wear: SD below 13 mg and range below 50 mg in two axes of three over an hour (van Hees et al. 2013, GGIR).
NONWEAR_S, NONWEAR_HOP_S, NONWEAR_SD_G, NONWEAR_RANGE_G = 3600.0, 900.0, 0.013, 0.050

LIMITS: Mapping[str, Limits] = MappingProxyType(
    {
        "ppg": Limits(burst=3.0, lost=0.1, still_s=0.25, clip_samples=3, mains=True),
        # An ECG between beats can be as quiet as its converter's step, so stillness must last longer than that.
        "ecg": Limits(burst=3.0, burst_moving=2.0, lost=0.1, still_s=1.0, clip_samples=3, mains=True),
        # Contact: below 0.05 uS (Kleckner et al. 2018). Speed: the largest responses rise 3 uS within a second or so,
        # and need two seconds or more to fall by half; a factor of two is left. At 4 Hz a calm level repeats itself.
        "eda": Limits(lowest=0.05, rise=6.0, fall=1.5, clip_samples=8),
        # Non-wear by wrist temperature: below 26 degrees (Zhou et al. 2015). A skin and a sensor are too slow for more
        # than half a degree a second.
        "temp": Limits(lowest=26.0, rise=0.5, fall=0.5),
        # Movement is what it measures. Equal samples of all axes for 10 s: even a table shakes the last bit.
        "acc": Limits(still_s=10.0, clip_samples=3, nonwear=True),
    }
)


def limits_of(name: str) -> Limits:
    """Of a modality, wherever it is worn.

    Raises:
        UnknownNameError: If no artefacts are known for its kind.
    """
    kind = modality(name).kind
    if kind not in LIMITS:
        raise unknown_name("kind of signal with artefact limits", kind, LIMITS, where="preparation.modalities")
    return LIMITS[kind]
