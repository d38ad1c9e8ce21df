"""Small configs of every architecture that the shipped table of fitness holds (scripts/explain_planted.py).

The first four are the families of configs/encoder/ as they come; the others have the paths beside the blocks that some
of configs/experiment/ ask for, at the size of the first ones. A test composes all of those
(tests/cli/explain/test_fitness.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hdt_fm.schema.manifest import ModelConfig, Part
from hdt_fm.schema.shard import ModalityColumn


def column(name: str, channels: int, rate_hz: float, samples: int) -> ModalityColumn:
    return ModalityColumn(
        name=name, unit="au", channels=channels, sampling_rate_hz=rate_hz, samples=samples, encoding="f32"
    )


@dataclass(frozen=True)
class Small:
    """One encoder, the signals that it reads and its arguments."""

    encoder: str
    columns: tuple[ModalityColumn, ...]
    args: Mapping[str, Any]
    per_modality: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


FAST = (column("ppg", 1, 32.0, 640), column("acc", 3, 16.0, 320))
DAY = (column("glucose", 1, 1 / 900, 96), column("temp", 2, 1 / 900, 96))
COARSE_DAY = (column("glucose", 1, 1 / 1800, 48), column("temp", 2, 1 / 1800, 48))
# A day, and the two hours after it that models of glucose do not read.
DAY_AND_AHEAD = (column("glucose", 1, 1 / 900, 104), column("temp", 2, 1 / 900, 104))

TRANSFORMER = {"width": 32, "depth": 1, "heads": 4, "slots": 20}
PULSE, MOVEMENT = {"patch_s": 1.0, "patch_points": 32}, {"patch_s": 1.0, "patch_points": 16}
# One spectrum of the whole window, and BIDMC's rhythms. No rhythm is taught by another signal: noise has none to teach.
SLOW = {"slow_s": 20.0, "slow_points": 64}
RHYTHMS = {
    "breath": {"span_s": 20.0, "low_hz": 0.06, "high_hz": 0.62, "peak": 2.0},
    "pulse": {"span_s": 20.0, "low_hz": 0.7, "high_hz": 3.0, "peak": 4.0},
}
RECURRENT = {"width": 48, "patch_s": 3600.0, "points": 4}

ENCODERS: Mapping[str, Small] = {
    "patch_transformer": Small("patch_transformer", FAST, TRANSFORMER, {"ppg": PULSE, "acc": MOVEMENT}),
    "resnet": Small("resnet", FAST, {"width": 32, "depth": 3, "rate_hz": 16.0}),
    "irregular": Small("irregular", COARSE_DAY, {"width": 32, "depth": 1, "heads": 4, "time_unit_s": 1800.0}),
    "recurrent": Small("recurrent", DAY, RECURRENT),
    "patch_transformer, slow spectrum": Small(
        "patch_transformer", FAST, TRANSFORMER, {"ppg": {**PULSE, **SLOW}, "acc": {**MOVEMENT, **SLOW}}
    ),
    "patch_transformer, slow spectrum, rhythms": Small(
        "patch_transformer",
        FAST,
        TRANSFORMER,
        {"ppg": {**PULSE, **SLOW, "rhythms": RHYTHMS}, "acc": {**MOVEMENT, **SLOW}},
    ),
    "recurrent, end not read": Small("recurrent", DAY_AND_AHEAD, {**RECURRENT, "ahead_s": 7200.0}),
}


def config_of(name: str) -> ModelConfig:
    one = ENCODERS[name]
    return ModelConfig(
        modalities=one.columns,
        encoder=Part(name=one.encoder, args=dict(one.args)),
        per_modality={signal: dict(args) for signal, args in one.per_modality.items()},
        projection=Part(name="projection", args={"dim": 8}),
        statistics={column.name: (0.0, 1.0) for column in one.columns},
        window_s=one.columns[0].samples / one.columns[0].sampling_rate_hz,
    )
