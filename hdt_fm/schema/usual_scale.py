"""Where values of a modality usually lie, from textbooks and not from anybody's recording.

For models that may learn nothing of people but through noise: they are given these instead of the center and scale of
their training people. Rough is enough, since windows are standardised by themselves and only their level and spread are
told on this scale, by asinh and log.
"""

from collections.abc import Mapping
from types import MappingProxyType

from hdt_fm.schema.modalities import modality

# Kind -> center and scale in its canonical unit, of adults by day.
USUAL: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "ecg": (0.0, 0.3),
        "eeg": (0.0, 20.0),
        "eog": (0.0, 50.0),
        "emg": (0.0, 0.05),
        "abp": (90.0, 20.0),
        "cvp": (8.0, 4.0),
        "acc": (0.0, 0.6),
        "gyro": (0.0, 30.0),
        "eda": (2.0, 2.0),
        "temp": (33.0, 1.5),
        "glucose": (140.0, 50.0),
        "heart_rate": (75.0, 15.0),
        "spo2": (97.0, 2.0),
        "light": (100.0, 300.0),
        "mag": (0.0, 40.0),
        "device_temp": (30.0, 3.0),
        "pressure": (1013.0, 10.0),
        "sound": (50.0, 15.0),
        "resp_rate": (16.0, 4.0),
        "hrv": (40.0, 25.0),
        "steps": (10.0, 30.0),
        "counts": (300.0, 600.0),
        "energy": (1.3, 0.8),
        "met": (1.3, 0.8),
        "stress_score": (35.0, 20.0),
        "speed": (1.0, 1.0),
        "cadence": (80.0, 20.0),
        "power": (120.0, 70.0),
        "altitude": (200.0, 200.0),
        "insulin_rate": (0.8, 0.5),
    }
)


def usual_scale(name: str) -> tuple[float, float]:
    """Center and scale of a modality; (0, 1) of a kind without a unit of its own, or that is given."""
    return USUAL.get(modality(name).kind, (0.0, 1.0))
