import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from scipy.signal import butter, sosfreqz

from hdt_fm.signal.filters import band_filter

RATE = 64.0


def apply(values, observed=None, highpass_hz=None, lowpass_hz=None, order=3, rate=RATE):
    observed = np.ones(values.shape[1], dtype=bool) if observed is None else observed
    return band_filter(
        values.astype(np.float32),
        observed,
        sampling_rate_hz=rate,
        highpass_hz=highpass_hz,
        lowpass_hz=lowpass_hz,
        order=order,
    )


@pytest.mark.parametrize(
    ("edges", "kind"), [((0.5, None), "highpass"), ((None, 8.0), "lowpass"), ((0.5, 8.0), "bandpass")]
)
@pytest.mark.parametrize("frequency_hz", [0.25, 0.5, 2.0, 8.0, 12.0])
def test_gain_is_the_square_of_the_theory_and_the_phase_zero(edges, kind, frequency_hz):
    time = np.arange(round(80 * RATE)) / RATE
    values = np.sin(2 * np.pi * frequency_hz * time)[None]
    filtered, _ = apply(values, highpass_hz=edges[0], lowpass_hz=edges[1])
    given = [edge for edge in edges if edge]
    sections = butter(3, given if len(given) == 2 else given[0], btype=kind, fs=RATE, output="sos")
    _, response = sosfreqz(sections, worN=[frequency_hz], fs=RATE)
    inner = slice(round(20 * RATE), round(60 * RATE))
    gain = 2 * np.mean(filtered[0, inner] * values[0, inner])
    quadrature = 2 * np.mean(filtered[0, inner] * np.cos(2 * np.pi * frequency_hz * time)[inner])
    assert gain == pytest.approx(abs(response[0]) ** 2, abs=2e-3)
    assert quadrature == pytest.approx(0, abs=2e-3)


def test_half_power_twice_at_the_edge():
    time = np.arange(4000) / RATE
    filtered, _ = apply(np.sin(2 * np.pi * 4 * time)[None], lowpass_hz=4.0)
    assert np.abs(filtered[0, 1000:3000]).max() == pytest.approx(0.5, abs=5e-3)


def test_no_edges_or_nyquist_change_nothing():
    values = np.arange(12, dtype=np.float32)[None]
    assert np.array_equal(apply(values)[0], values)
    assert np.array_equal(apply(values, lowpass_hz=RATE / 2)[0], values)


def test_a_run_too_short_becomes_unobserved():
    observed = np.ones(500, dtype=bool)
    observed[[100, 120]] = False  # 100, 19 and 379 samples; the high-pass remembers 64 / 1 = 64 of them
    values = np.ones((2, 500)) * observed
    filtered, seen = apply(values, observed, highpass_hz=1.0)
    assert seen.sum() == 100 + 379
    assert not seen[100:121].any()
    assert (filtered[:, ~seen] == 0).all()
    # One period of a 0.1 Hz edge is 640 samples: none of the runs holds it.
    assert not apply(values, observed, highpass_hz=0.1)[1].any()


@hypothesis.settings(max_examples=30, deadline=None)
@hypothesis.given(lengths=st.lists(st.integers(1, 200), min_size=3, max_size=6), seed=st.integers(0, 1000))
def test_nothing_crosses_a_gap(lengths, seed):
    generator = np.random.default_rng(seed)
    observed = np.concatenate([np.full(n, i % 2 == 0) for i, n in enumerate(lengths)])
    values = generator.normal(size=(2, len(observed))) * observed
    changed = values.copy()
    changed[:, : lengths[0]] = 1e5
    filtered, seen = apply(values, observed, highpass_hz=2.0, lowpass_hz=20.0, order=2)
    other, other_seen = apply(changed, observed, highpass_hz=2.0, lowpass_hz=20.0, order=2)
    after = lengths[0] + lengths[1]
    assert np.array_equal(seen, other_seen)
    assert not (seen & ~observed).any()
    assert np.array_equal(filtered[:, after:], other[:, after:])
