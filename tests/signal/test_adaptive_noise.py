"""Noise is cancelled causally, in any blocks alike, and not at all where nothing moves."""

import numpy as np
import pytest

from hdt_fm.schema.errors import RecordingError
from hdt_fm.schema.preparation import NoiseCancelling
from hdt_fm.signal.adaptive_noise import MEMORY_S, STEP, Canceller
from hdt_fm.signal.filters import band_filter

RATE = 64.0
METHODS = ("rls", "nlms", "ridge")


def filtered(rows):
    rows = np.atleast_2d(rows).astype(np.float32)
    seen = np.ones(rows.shape[1], dtype=bool)
    return band_filter(rows, seen, sampling_rate_hz=RATE, highpass_hz=0.4, lowpass_hz=8.0, order=4)[0]


@pytest.fixture(scope="module")
def walk(signals):
    """Pulse at 75 bpm, steps at 108 a minute, and what steps do to the pulse through a filter of each axis."""
    generator = np.random.default_rng(1)
    pulse = filtered(signals.ppg(90, generator, bpm=75))[0]
    axes = signals.steps(90, generator, hz=1.8, rate=RATE)
    kernels = generator.normal(size=(3, 6)) * np.exp(-np.arange(6) / 3)
    heard = filtered(
        sum(np.convolve(axis, kernel)[: axes.shape[1]] for axis, kernel in zip(axes, kernels, strict=True))
    )[0]
    heard *= pulse.std() / heard.std() * 10 ** (3.5 / 20)
    return pulse, filtered(axes), heard.astype(np.float32)


def canceller(axes=3, rate=RATE, **settings):
    return Canceller(NoiseCancelling(**settings), sampling_rate_hz=rate, axes=axes)


def snr_db(pulse, signal, settled=24):
    inner = slice(round(settled * RATE), None)
    return 10 * np.log10((pulse[inner] ** 2).mean() / ((signal - pulse)[inner] ** 2).mean())


@pytest.mark.parametrize(("method", "least"), [("rls", 14), ("nlms", 6), ("ridge", 12)])
@pytest.mark.parametrize("gated", [True, False])
def test_steps_are_taken_out(walk, method, least, gated):
    pulse, axes, heard = walk
    mixed = pulse + heard
    cleaned = canceller(method=method, gated=gated).block(mixed, axes)
    assert snr_db(pulse, mixed) == pytest.approx(-3.5, abs=0.5)
    assert snr_db(pulse, cleaned.values) - snr_db(pulse, mixed) >= least
    assert np.array_equal(cleaned.raw, mixed)
    assert (cleaned.gain[round(24 * RATE) :] == 1).mean() > 0.9


@pytest.mark.parametrize("method", METHODS)
def test_at_rest_not_one_bit_changes(walk, method):
    pulse, axes, _ = walk
    still = filtered(np.random.default_rng(0).normal(0, 0.01, axes.shape))
    cleaned = canceller(method=method).block(pulse, still)
    assert cleaned.values.tobytes() == pulse.tobytes()
    assert not cleaned.gain.any()
    assert not cleaned.estimate.any()
    # Without the gate the same is changed, so the test can fail.
    assert canceller(method=method, gated=False).block(pulse, still).values.tobytes() != pulse.tobytes()


def test_movement_that_the_pulse_does_not_follow_changes_nothing(walk):
    pulse, axes, _ = walk
    cleaned = canceller().block(pulse, axes)
    assert np.array_equal(cleaned.values, pulse)
    assert (cleaned.estimate != 0).any()  # it listened


def test_the_gate_opens_after_movement_begins_and_shuts_after_it_ends(walk):
    pulse, axes, heard = walk
    inside = np.zeros(len(pulse), dtype=np.float32)
    inside[round(30 * RATE) : round(60 * RATE)] = 1
    cleaned = canceller().block(pulse + heard * inside, axes * inside)
    touched = np.flatnonzero(cleaned.gain) / RATE
    assert 31 <= touched.min() <= 42
    assert 60 <= touched.max() <= 64
    # It opens and shuts without a step.
    assert np.abs(np.diff(cleaned.gain)).max() <= 1 / (0.5 * RATE) + 1e-6


@pytest.mark.parametrize("method", METHODS)
def test_any_blocks_give_the_bytes_of_one_call(walk, method):
    pulse, axes, heard = (rows[..., : round(20 * RATE)] for rows in walk)
    mixed = pulse + heard
    whole = canceller(method=method).block(mixed, axes)
    assert (whole.gain > 0).any()
    streamed, parts, at = canceller(method=method), [], 0
    for size in np.random.default_rng(0).integers(0, 200, 16):
        parts.append(streamed.block(mixed[at : at + size], axes[:, at : at + size]))
        at += size
    for name in ("values", "gain", "estimate", "coherence", "raw"):
        joined = np.concatenate([getattr(part, name) for part in parts])
        assert joined.tobytes() == getattr(whole, name)[: len(joined)].tobytes(), name
    stepped, few = canceller(method=method, gated=False), 300
    answers = [stepped.step(float(mixed[at]), axes[:, at]) for at in range(few)]
    whole = canceller(method=method, gated=False).block(mixed, axes)
    assert np.array(answers, dtype=np.float32).tobytes() == whole.values[:few].tobytes()


@pytest.mark.parametrize("method", METHODS)
def test_nothing_of_the_future_reaches_back(walk, method):
    pulse, axes, heard = (rows[..., : round(24 * RATE)] for rows in walk)
    mixed, at = pulse + heard, round(20.3 * RATE)
    later, moved = mixed.copy(), axes.copy()
    later[at:], moved[:, at:] = 9, -4
    one, other = (canceller(method=method).block(*both).values for both in ((mixed, axes), (later, moved)))
    assert one[:at].tobytes() == other[:at].tobytes()
    assert one[at] != other[at]


def test_rls_by_the_textbook(walk):
    """Against least squares with forgetting, solved from all of the past at once (Haykin 2002, 9.2)."""
    pulse, axes, heard = (rows[..., :300] for rows in walk)
    mixed, taps, floor = (pulse + heard).astype(np.float64), 3, 0.03
    got = canceller(method="rls", gated=False, taps=taps).block((pulse + heard), axes).estimate
    rows = np.array(
        [[axis[at - lag] if at >= lag else 0 for axis in axes for lag in range(taps - 1, -1, -1)] for at in range(300)],
        dtype=np.float64,
    )
    forget = 1 - 1 / (MEMORY_S * RATE)
    for at in (5, 120, 299):
        weight = forget ** np.arange(at - 1, -1, -1)
        moments = (rows[:at].T * weight) @ rows[:at] + forget**at * floor**2 * np.eye(3 * taps)
        wanted = rows[at] @ np.linalg.solve(moments, (rows[:at].T * weight) @ mixed[:at])
        assert got[at] == pytest.approx(wanted, rel=1e-4)


def test_nlms_by_hand():
    """One axis, one tap: w += mu e u / (floor² + u²)."""
    signal, heard = np.array([1.0, 2.0, -1.0], dtype=np.float32), np.array([[0.5, 1.0, 2.0]], dtype=np.float32)
    got = canceller(axes=1, method="nlms", gated=False, taps=1, motion_floor=0.5).block(signal, heard)
    first = STEP * 1.0 * 0.5 / (0.25 + 0.25)
    second = first + STEP * (2.0 - first * 1.0) * 1.0 / (0.25 + 1.0)
    assert got.estimate.tolist() == pytest.approx([0, first, second * 2.0], rel=1e-6)
    assert got.values.tolist() == pytest.approx([1, 2 - first, -1 - second * 2], rel=1e-6)


def test_rls_stays_bounded_when_axes_are_still_or_alike(walk):
    pulse, axes, heard = walk
    alike = np.concatenate([axes[:1], axes[:1], np.zeros_like(axes[:1])])
    cleaner = canceller(gated=False)
    for _ in range(4):
        cleaned = cleaner.block(pulse + heard, alike)
    assert np.isfinite(cleaned.values).all()
    assert np.abs(cleaned.values).max() < 3 * np.abs(pulse + heard).max()
    # With forgetting alone it would have grown by a factor of e every 16 s, to 10^9 and more.
    assert np.trace(cleaner._inverse) < 2 * 1e4 * len(cleaner._inverse) / 0.03**2


def test_a_microphone_is_a_reference_of_one_channel(walk):
    pulse, axes, _ = walk
    sound = axes[:1] * 50
    heard = filtered(np.convolve(sound[0], [0.2, 0.5, -0.1])[: len(pulse)])[0]
    heard *= 2 * pulse.std() / heard.std()
    cleaned = canceller(axes=1, motion_floor=1.0).block((pulse + heard).astype(np.float32), sound)
    assert snr_db(pulse, cleaned.values) > snr_db(pulse, pulse + heard) + 10


def test_what_does_not_fit_is_refused(walk):
    pulse, axes, _ = walk
    with pytest.raises(RecordingError, match="do not fit"):
        canceller().block(pulse, axes[:, :-1])
    with pytest.raises(RecordingError, match="do not fit"):
        canceller(axes=2).block(pulse, axes)
    with pytest.raises(RecordingError, match="too slowly"):
        canceller(rate=8.0)
