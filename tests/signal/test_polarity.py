import numpy as np
import pytest

from hdt_fm.signal.polarity import pulse_polarity

RATE = 64.0


def pulses(seconds=120, rate_hz=1.2, rise=0.2):
    """A saw-tooth with a steep rise, its period off the window's length."""
    phase = (np.arange(int(seconds * RATE)) * rate_hz / RATE) % 1
    return np.where(phase < rise, phase / rise, (1 - phase) / (1 - rise))[None].astype(np.float32)


def seen(values):
    return np.ones(values.shape[1], dtype=bool)


def test_sign_follows_the_steeper_side_and_turns_with_the_wave():
    wave = pulses()
    upright = pulse_polarity(wave, seen(wave), RATE)
    assert upright > 0.5
    assert pulse_polarity(-wave, seen(wave), RATE) == pytest.approx(-upright)


def test_movement_skewed_the_other_way_does_not_outvote_the_clean_quarter():
    wave = pulses(240)
    generator = np.random.default_rng(0)
    dirty = np.flatnonzero(np.arange(wave.shape[1]) < 160 * RATE)
    jumps = np.cumsum(generator.exponential(2.0, len(dirty)) * (generator.random(len(dirty)) < 0.05))
    wave[0, dirty] += (3 * (jumps % 5)).astype(np.float32)
    assert pulse_polarity(wave, seen(wave), RATE) > 0.3
    assert pulse_polarity(-wave, seen(wave), RATE) < -0.3


@pytest.mark.parametrize(("size", "rate"), [(100, 64.0), (4_000, 10.0), (0, 64.0)])
def test_too_short_or_too_slow_says_nothing(size, rate):
    wave = np.ones((1, size), dtype=np.float32)
    assert pulse_polarity(wave, seen(wave), rate) == 0


def test_a_symmetric_or_missing_wave_says_nothing():
    wave = np.sin(np.arange(8_000) / 9)[None].astype(np.float32)
    assert abs(pulse_polarity(wave, seen(wave), RATE)) < 0.05
    assert pulse_polarity(wave, ~seen(wave), RATE) == 0
    assert pulse_polarity(np.zeros_like(wave), seen(wave), RATE) == 0


@pytest.mark.real
def test_wrist_and_bedside_pulses_are_upright(real_data):
    from data_pipelines.readers import choose

    for path in sorted(real_data.glob("stress_predict/Raw_data/S0[2-4].zip")):
        ppg = choose(path)[1].read(path, subject="s" + "0" * 32).recordings["ppg"]
        assert pulse_polarity(ppg.values, ppg.observed, ppg.sampling_rate_hz) > 0.1
