import numpy as np
import pytest
from scipy.signal import coherence as oracle

from hdt_fm.schema.errors import RecordingError
from hdt_fm.signal.coherence import coherence
from hdt_fm.signal.pulse import heart_rate


@pytest.mark.parametrize("seconds", [8, 16, 32])
@pytest.mark.parametrize("bpm", [45, 72, 110, 165])
def test_heart_rate_of_a_pulse_wave(signals, bpm, seconds):
    generator = np.random.default_rng(bpm)
    wave = signals.ppg(seconds, generator, bpm=bpm) + generator.normal(0, 8, seconds * 64)
    found = heart_rate(wave[None], 64.0)
    assert found.bpm[0] == pytest.approx(bpm, abs=3)
    assert found.quality[0] > 0.5


def test_a_strong_second_harmonic_does_not_double_the_rate():
    time = np.arange(16 * 64) / 64
    wave = np.sin(2 * np.pi * 1.1 * time) + 1.1 * np.sin(2 * np.pi * 2.2 * time + 1)
    assert heart_rate(wave[None], 64.0).bpm[0] == pytest.approx(66, abs=0.5)


def test_exact_on_a_sine_and_quality_by_hand():
    time = np.arange(32 * 32) / 32
    sine, noise = np.sin(2 * np.pi * 1.337 * time), np.random.default_rng(0).normal(size=(40, len(time)))
    found = heart_rate(np.stack([sine, np.zeros_like(sine)]), 32.0)
    assert found.bpm[0] == pytest.approx(60 * 1.337, abs=0.05)
    assert found.quality[0] > 0.99
    assert np.isnan(found.bpm[1])
    assert found.quality[1] == 0
    # White noise: two lobes of 4 / 32 Hz out of 7.5 Hz hold 3.3 %, some more because the best place is looked for.
    assert 0.03 < heart_rate(noise, 32.0).quality.mean() < 0.15


def test_too_short_or_too_slow_is_refused():
    with pytest.raises(RecordingError, match="4 s or more"):
        heart_rate(np.zeros((1, 100)), 32.0)
    with pytest.raises(RecordingError, match="16 Hz"):
        heart_rate(np.zeros((1, 100)), 8.0)


def test_coherence_is_scipys_weighted_by_the_reference():
    generator = np.random.default_rng(3)
    reference = np.cumsum(generator.normal(size=(3, 768)), axis=1)
    signal = np.convolve(reference[1], [0.5, 1, -0.3])[:768] + generator.normal(0, 4, 768)
    wanted = []
    for axis in reference:
        frequency, found = oracle(signal, axis, fs=64, nperseg=128, noverlap=64, detrend="constant")
        inside = (frequency >= 0.5) & (frequency <= 8)
        pieces = np.lib.stride_tricks.sliding_window_view(axis, 128)[::64]
        window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(128) / 128)
        power = (np.abs(np.fft.rfft((pieces - pieces.mean(axis=1, keepdims=True)) * window)) ** 2).sum(axis=0)[inside]
        wanted.append((found[inside] * power).sum() / power.sum())
    assert coherence(signal, reference, 64.0) == pytest.approx(max(wanted), rel=1e-9)
    assert coherence(2 * reference[2], reference, 64.0) == pytest.approx(1)
    assert coherence(np.zeros(768), reference, 64.0) == 0
    assert coherence(signal[:150], reference[:, :150], 64.0) == 0


def test_unrelated_signals_are_seldom_coherent():
    found = []
    for seed in range(60):
        rows = np.random.default_rng(seed).normal(size=(4, 768))
        found.append(coherence(rows[0], rows[1:], 64.0))
    assert np.median(found) < 0.2
    assert np.mean(np.array(found) > 0.4) == 0


def test_the_gate_threshold_parts_steps_that_the_pulse_follows_from_those_it_does_not(signals):
    """What the README says of 12 s and 0.4, on 150 pulses and cadences drawn at random, coincidences included."""
    apart, follows = [], []
    for seed in range(150):
        generator = np.random.default_rng(seed)
        axes = signals.steps(18, generator, hz=generator.uniform(1.2, 2.6), rate=64.0)
        pulse = signals.ppg(18, generator, bpm=generator.uniform(55, 130))
        kernels = generator.normal(size=(3, 6)) * np.exp(-np.arange(6) / 3)
        heard = sum(np.convolve(axis, kernel)[: len(pulse)] for axis, kernel in zip(axes, kernels, strict=True))
        inner = slice(6 * 64, None)
        heard *= pulse[inner].std() / heard[inner].std()
        apart.append(coherence(pulse[inner], axes[:, inner], 64.0))
        follows.append(coherence((pulse + heard)[inner], axes[:, inner], 64.0))
    assert np.mean(np.array(apart) > 0.4) <= 0.10
    assert np.mean(np.array(follows) > 0.4) >= 0.97
