"""What the numbers of FIT messages mean, as far as they are signals of a body (developer.garmin.com/fit/protocol)."""

from dataclasses import dataclass

# Names of messages.
FILE_ID, USER_PROFILE, RECORD, WEIGHT_SCALE, ACTIVITY, MONITORING = 0, 3, 20, 30, 34, 55
HRV, MONITORING_INFO, HR, STRESS, SPO2, SLEEP_LEVEL, BEAT_INTERVALS, RESPIRATION = 78, 103, 132, 227, 269, 275, 290, 297


@dataclass(frozen=True)
class Signal:
    """A modality and the field that holds it: canonical unit = value / scale - offset."""

    modality: str
    unit: str
    message: int
    number: int
    scale: float = 1.0
    offset: float = 0.0
    # A field that adds to it, with its scale.
    fraction: tuple[int, float] | None = None
    # The field of its time, where it is not the usual one.
    time: int | None = None


# The first of a modality that holds anything is taken, so that the finer of two comes first.
SIGNALS: tuple[Signal, ...] = (
    Signal("heart_rate", "bpm", RECORD, 3),
    Signal("heart_rate", "bpm", MONITORING, 27),
    Signal("cadence", "1/min", RECORD, 4, fraction=(53, 128.0)),
    Signal("power", "W", RECORD, 7),
    Signal("speed", "m/s", RECORD, 73, 1000.0),
    Signal("speed", "m/s", RECORD, 6, 1000.0),
    Signal("altitude", "m", RECORD, 78, 5.0, 500.0),
    Signal("altitude", "m", RECORD, 2, 5.0, 500.0),
    Signal("device_temp", "celsius", RECORD, 13),
    Signal("resp_rate", "1/min", RECORD, 108, 100.0),
    Signal("resp_rate", "1/min", RECORD, 99),
    Signal("resp_rate", "1/min", RESPIRATION, 0, 100.0),
    Signal("stress_score", "1", STRESS, 0, time=1),
    Signal("spo2", "%", SPO2, 0),
)
# Devices write these instead of a number that they could not find.
BELOW_ZERO_IS_NONE = {"stress_score", "resp_rate"}

MANUFACTURERS = {1: "garmin", 23: "suunto", 32: "wahoo", 123: "polar", 294: "coros"}
SLEEP_LEVELS = ("unmeasurable", "awake", "light", "deep", "rem")
# Activity types whose cycles are steps.
RUNNING, WALKING = 1, 6
