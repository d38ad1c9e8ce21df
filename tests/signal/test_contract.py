"""Recordings in another unit, upside down or at another rate show in their values; what is only lively does not."""

import math

import numpy as np
import pytest

from hdt_fm.schema.errors import CheckpointError
from hdt_fm.schema.shard import ModalityColumn
from hdt_fm.signal.contract import Look, check_declared, doubts, from_statistics, look, typical

RATE, SECONDS, WINDOWS = 16.0, 60, 5


def wrist(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Gravity along a direction of one's own, and movement; (window, channel, time) in g."""
    draw = np.random.default_rng(seed)
    down = draw.normal(size=3)
    down /= np.linalg.norm(down)
    moved = draw.normal(size=(WINDOWS, 3, int(RATE * SECONDS))) * draw.uniform(0.01, 0.2)
    return (down[None, :, None] + moved).astype(np.float32), np.ones((WINDOWS, int(RATE * SECONDS)), np.bool_)


def pulse(seed: int, rate: float = 32.0, faster: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Beats that rise fast and fall slowly, around zero; (window, 1, time)."""
    draw = np.random.default_rng(seed)
    times = np.arange(int(rate * SECONDS)) / rate
    beats = (times * faster * draw.uniform(1.1, 1.3)) % 1
    wave = np.where(beats < 0.2, beats / 0.2, (1 - beats) / 0.8) - 0.5
    noisy = wave * draw.uniform(5, 15) + draw.normal(size=(WINDOWS, 1, len(times))) * 0.2
    return noisy.astype(np.float32), np.ones((WINDOWS, len(times)), np.bool_)


ACC = typical([look("acc", *wrist(seed), RATE) for seed in range(12)])
PPG = typical([look("ppg", *pulse(seed), 32.0) for seed in range(12)])


def said(name: str, values: np.ndarray, observed: np.ndarray, rate: float) -> dict[str, float]:
    usual = ACC if name == "acc" else PPG
    return {doubt.what: doubt.ratio for doubt in doubts(name, look(name, values, observed, rate), usual)}


@pytest.mark.parametrize("seed", range(20, 30))
def test_other_people_are_not_doubted(seed: int) -> None:
    assert said("acc", *wrist(seed), RATE) == {}
    assert said("ppg", *pulse(seed), 32.0) == {}


def test_metres_per_second_taken_for_g_is_told_by_its_ratio_and_name() -> None:
    values, observed = wrist(30)
    (doubt,) = doubts("acc", look("acc", values * np.float32(9.80665), observed, RATE), ACC)
    assert doubt.what == "level"
    assert doubt.ratio == pytest.approx(9.81, rel=0.05)
    assert "m/s^2 taken for g" in str(doubt)
    assert "times as large as in training" in str(doubt)


def test_milli_taken_for_whole_is_told() -> None:
    values, observed = wrist(31)
    (doubt,) = doubts("acc", look("acc", values * np.float32(1000), observed, RATE), ACC)
    assert doubt.ratio == pytest.approx(1000, rel=0.1)
    assert "mg taken for g" in str(doubt) or "1000 times too large" in str(doubt)


def test_pulses_upside_down_are_told_and_axes_that_turned_are_not() -> None:
    values, observed = pulse(32)
    assert said("ppg", -values, observed, 32.0) == {"lean": -1.0}
    # A watch on the other wrist.
    assert said("acc", -wrist(32)[0], wrist(32)[1], RATE) == {}
    (doubt,) = doubts("ppg", look("ppg", -values, observed, 32.0), PPG)
    assert "the other way up" in str(doubt)


def test_half_the_rate_is_told_by_its_pace() -> None:
    """It says 32 Hz and has 16: all that is in it comes twice as fast."""
    values, observed = pulse(33, faster=2.0)
    assert said("ppg", values, observed, 32.0)["pace"] == pytest.approx(2.0, rel=0.2)


def test_what_was_not_observed_does_not_count() -> None:
    values, observed = wrist(34)
    values[:, :, :400], observed[:, :400] = 1e6, False
    assert said("acc", values, observed, RATE) == {}
    assert look("acc", values, np.zeros_like(observed), RATE) == Look(None, None, None, None)


def test_fewer_than_five_people_are_not_typical() -> None:
    assert typical([look("acc", *wrist(seed), RATE) for seed in range(4)]) is None
    assert ACC.people == 12


def test_an_old_checkpoint_knows_the_size_of_values_by_its_statistics_alone() -> None:
    values, observed = wrist(35)
    center, scale = float(np.median(values)), 1.4826 * float(np.median(np.abs(values - np.median(values))))
    usual = from_statistics(center, scale, 3)
    assert doubts("acc", look("acc", values, observed, RATE), usual) == ()
    (doubt,) = doubts("acc", look("acc", values * np.float32(1000), observed, RATE), usual)
    assert math.log10(doubt.ratio) == pytest.approx(3, abs=0.5)


@pytest.mark.parametrize(
    ("change", "words"),
    [({"unit": "m/s^2"}, "another unit"), ({"channels": 1}, "another number of channels")],
)
def test_what_is_declared_otherwise_is_refused(change: dict, words: str) -> None:
    ours = ModalityColumn(name="acc", unit="g", channels=3, sampling_rate_hz=16, samples=64, encoding="f32")
    check_declared(ours, ours, where="shards")
    with pytest.raises(CheckpointError, match=words) as caught:
        check_declared(ours, ours.model_copy(update=change), where="shards")
    assert "preprocess.json" in str(caught.value)
