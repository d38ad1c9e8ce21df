"""Recordings that are not what they say, given to a model: what is declared is refused, what shows is doubted.

On real recordings: scripts/reproduce_contract.py.
"""

from collections.abc import Callable

import numpy as np
import pytest

from hdt_fm.schema.errors import CheckpointError
from hdt_fm.schema.shard import ModalityColumn
from hdt_fm.signal.contract import check_declared, doubts, look, typical

SURFACE = "recording of another contract"
RATE, WINDOWS, TIME = 32.0, 5, 1920
ACC = ModalityColumn(name="acc", unit="g", channels=3, sampling_rate_hz=RATE, samples=TIME, encoding="f32")


def wrist(seed: int) -> np.ndarray:
    draw = np.random.default_rng(seed)
    down = draw.normal(size=3)
    moved = draw.normal(size=(WINDOWS, 3, TIME)) * 0.1
    return (down[None, :, None] / np.linalg.norm(down) + moved).astype(np.float32)


def pulse(seed: int) -> np.ndarray:
    draw = np.random.default_rng(seed)
    beats = (np.arange(TIME) / RATE * draw.uniform(1.1, 1.3)) % 1
    wave = np.where(beats < 0.2, beats / 0.2, (1 - beats) / 0.8) - 0.5
    return (wave * 10 + draw.normal(size=(WINDOWS, 1, TIME)) * 0.2).astype(np.float32)


def level(seed: int, center: float) -> np.ndarray:
    draw = np.random.default_rng(seed)
    walk = draw.normal(size=(WINDOWS, 1, TIME)).cumsum(axis=2) * 1e-3 * center
    return (center * draw.uniform(0.9, 1.1) + walk).astype(np.float32)


MAKERS: dict[str, Callable[[int], np.ndarray]] = {
    "acc": wrist,
    "ppg": pulse,
    "ecg": lambda seed: level(seed, 1.0),
    "heart_rate": lambda seed: level(seed, 70.0),
    "temp": lambda seed: level(seed, 32.0),
}
SPOILT: dict[str, tuple[str, Callable[[np.ndarray], np.ndarray], str, float]] = {
    "acc in m/s^2 that says g": ("acc", lambda values: values * 9.80665, "level", 9.8),
    "acc in mg that says g": ("acc", lambda values: values * 1000, "level", 1000.0),
    "ecg in uV that says mV": ("ecg", lambda values: values * 1000, "level", 1000.0),
    "intervals in ms that say beats a minute": ("heart_rate", lambda values: 60_000 / values, "level", 12.2),
    "temp in Kelvin that says Celsius": ("temp", lambda values: values + 273.15, "level", 9.5),
    "ppg upside down": ("ppg", lambda values: -values, "lean", -1.0),
    "ppg at half the rate that it says": (
        "ppg",
        lambda values: np.concatenate([values, values], axis=2)[..., ::2],
        "pace",
        2.0,
    ),
}


@pytest.mark.parametrize("case", SPOILT)
def test_what_shows_in_the_values_is_doubted(case: str) -> None:
    name, spoil, what, ratio = SPOILT[case]
    known = np.ones((WINDOWS, TIME), np.bool_)
    usual = typical([look(name, MAKERS[name](seed), known, RATE) for seed in range(12)])
    clean = MAKERS[name](50)
    assert doubts(name, look(name, clean, known, RATE), usual) == ()
    found = doubts(name, look(name, spoil(clean).astype(np.float32), known, RATE), usual)
    assert {doubt.what: doubt.ratio for doubt in found}[what] == pytest.approx(ratio, rel=0.25)


DECLARED = {
    "acc that says m/s^2": ({"unit": "m/s^2"}, CheckpointError, "another unit than the model learned from"),
    "acc of one channel": ({"channels": 1}, CheckpointError, "another number of channels"),
}


@pytest.mark.parametrize("case", DECLARED)
def test_what_is_declared_is_refused(case: str) -> None:
    change, error, words = DECLARED[case]
    with pytest.raises(error, match=words):
        check_declared(ACC, ACC.model_copy(update=change), where="shards")


def test_the_order_of_axes_cannot_be_told(room: object) -> None:
    """Which axis is which is the wearer's wrist as much as the device's: x and y in each other's place are not seen."""
    known = np.ones((WINDOWS, TIME), np.bool_)
    usual = typical([look("acc", wrist(seed), known, RATE) for seed in range(12)])
    assert doubts("acc", look("acc", wrist(50)[:, ::-1].copy(), known, RATE), usual) == ()


def _warned(ratio: float) -> str:
    return f"a warning: {'upside down' if ratio < 0 else f'about {ratio:g} times what is usual in training'}"


GOT = {
    **{case: ("(none)", _warned(ratio)) for case, (_, _, _, ratio) in SPOILT.items()},
    "acc with its axes in another order": ("(none)", "not seen: the order of axes is not in the values"),
}
