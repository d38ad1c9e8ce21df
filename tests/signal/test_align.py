import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data_pipelines.readers.empatica_e4 import EmpaticaE4
from hdt_fm.schema.errors import RecordingError
from hdt_fm.schema.recording import Channel, Recording
from hdt_fm.signal.align import ClockFit, align_events, align_motion, apply
from hdt_fm.signal.resample import resample

S = 1_000_000_000
T0 = 1_700_000_000 * S
SUBJECT = "s" + "d" * 32
HALF_HOUR = 1800.0


def worn(times_s, axes, rate, start_ns, noise=0.02, observed=None, modality="acc", seed=0):
    """What a device of `rate` feels of one movement at true times."""
    waves = np.random.default_rng(99)
    # Bursts of their own length and rhythm, as a person's day has them: an envelope times a chirping wave.
    values = np.zeros((3, len(times_s)))
    for begin in np.arange(0, times_s[-1], 7.0):
        hz, width, phase = waves.uniform(0.7, 3), waves.uniform(0.5, 2), waves.uniform(0, 6)
        inside = slice(*np.searchsorted(times_s, (begin - 8, begin + 8)))
        burst = np.exp(-((times_s[inside] - begin) ** 2) / 2 / width**2) * np.sin(
            2 * np.pi * hz * times_s[inside] + phase
        )
        values[:, inside] += waves.uniform(0.1, 0.5) * burst
    turned = np.array(axes)[:, None] * values.sum(axis=0) / 3 + np.array([[0.1], [0.2], [0.97]])
    turned += np.random.default_rng(seed).normal(0, noise, turned.shape)
    observed = np.ones(len(times_s), dtype=bool) if observed is None else observed
    return Recording(
        modality=modality,
        channels=tuple(Channel(name, "g") for name in "xyz"),
        sampling_rate_hz=rate,
        start_ns=start_ns,
        values=np.where(observed, turned, 0).astype(np.float32),
        observed=observed,
        subject=SUBJECT,
        device="bench",
        body_site="wrist",
    )


def pair(offset_s=0.0, ppm=0.0, seconds=HALF_HOUR, rate=50.0, **more):
    """A device whose clock must be moved by `offset_s` at its start, and whose seconds are 1 + ppm true ones."""
    reference = worn(np.arange(round(seconds * 32)) / 32, (0.3, 0.2, 1.0), 32.0, T0, seed=1)
    true = np.arange(round(seconds * rate)) / rate * (1 + ppm * 1e-6)
    device = worn(true, (-0.2, 0.9, 0.5), rate, T0 - round(offset_s * S), seed=2, **more)
    return device, reference


def at_start(fit, device):
    return fit.offset_s + fit.drift_ppm * 1e-6 * (device.start_ns - fit.at_ns) / S


@pytest.mark.parametrize(("offset_s", "ppm"), [(3.7, 120.0), (-12.34, -60.0), (0.0, 0.0)])
def test_planted_offset_and_drift_lie_within_the_stated_error(offset_s, ppm):
    device, reference = pair(offset_s, ppm)
    fit = align_motion(device, reference)
    assert fit.method == "motion"
    assert fit.used >= 20
    assert abs(fit.drift_ppm - ppm) <= fit.drift_error_ppm < 40
    assert abs(at_start(fit, device) - offset_s) <= fit.offset_error_s + HALF_HOUR / 2 * fit.drift_error_ppm * 1e-6
    assert fit.offset_error_s < 0.02


@pytest.mark.parametrize("count", [4, 8, 20])
def test_intervals_hold_the_truth_about_as_often_as_they_say(count):
    held, generator = np.zeros(2), np.random.default_rng(5)
    for _ in range(200):
        device_s = np.sort(generator.uniform(0, 7200, count))
        reference_s = device_s + 5 + 80e-6 * (device_s - 3600) + generator.normal(0, 0.05, count)
        fit = align_events((device_s * S).astype(np.int64), (reference_s * S).astype(np.int64), jitter_s=0.05)
        truth = 5 + 80e-6 * (fit.at_ns / S - 3600)
        if fit.drift_ppm is not None:  # three events of four may lie too close together
            held += abs(fit.drift_ppm - 80) <= fit.drift_error_ppm, abs(fit.offset_s - truth) <= fit.offset_error_s
    assert (held >= 180).all()  # 190 are expected of 200


def test_events_that_contradict_each_other_are_unknown():
    device_s = np.arange(0, 3600, 600.0)
    reference_s = device_s + np.array([0, 9, -7, 20, -15, 4])
    fit = align_events((device_s * S).astype(np.int64), (reference_s * S).astype(np.int64), jitter_s=0.01)
    assert (fit.method, fit.offset_s, fit.reason) == ("unknown", None, "the events compared do not agree")


def test_one_wrong_event_is_left_out():
    device_s = np.arange(0, 3600, 400.0)
    reference_s = device_s - 2.5
    reference_s[4] += 40
    fit = align_events((device_s * S).astype(np.int64), (reference_s * S).astype(np.int64), jitter_s=0.01)
    assert (fit.used, fit.found) == (8, 9)
    assert fit.offset_s == pytest.approx(-2.5, abs=1e-6)
    assert fit.drift_ppm == pytest.approx(0, abs=1e-3)
    assert fit.offset_error_s >= 0.003  # no better than events are stamped


def test_one_event_gives_an_offset_and_no_drift():
    fit = align_events(np.array([T0]), np.array([T0 + 2 * S]), jitter_s=0.5)
    assert (fit.offset_s, fit.offset_error_s, fit.drift_ppm) == (2.0, 0.5, None)
    assert "too few" in fit.reason
    assert not align_events(np.array([], dtype=np.int64), np.array([], dtype=np.int64), jitter_s=0.5).known


def test_events_that_do_not_pair_are_refused():
    with pytest.raises(RecordingError, match="2 and 1"):
        align_events(np.array([T0, T0 + S]), np.array([T0]), jitter_s=1.0)


def test_no_movement_in_common_is_unknown_and_no_number():
    device, _ = pair(seconds=1800)
    generator = np.random.default_rng(3)
    alone = worn(np.arange(1800 * 32) / 32, (0, 0, 0), 32.0, T0)
    alone.values[:] += generator.normal(0, 0.2, alone.values.shape).astype(np.float32)
    fit = align_motion(device, alone)
    assert (fit.method, fit.offset_s, fit.drift_ppm) == ("unknown", None, None)
    assert "movement in common" in fit.reason
    same, said = apply(device, fit)
    assert same is device
    assert "not aligned" in said


def test_steady_steps_alone_are_unknown():
    times = np.arange(1800 * 32) / 32
    steps = np.array([[0.3], [0.2], [1.0]]) * np.sin(2 * np.pi * 1.8 * times) + [[0.0], [0.0], [1.0]]
    both = []
    for seed, lag in ((0, 0), (1, 3)):
        one = worn(times, (0, 0, 0), 32.0, T0)
        noise = np.random.default_rng(seed).normal(0, 0.02, steps.shape)
        one.values[:] = (np.roll(steps, lag, axis=1) + noise).astype(np.float32)
        both.append(one)
    fit = align_motion(*both)
    assert fit.method == "unknown"
    assert fit.reason.startswith("0 of")  # each piece fits at every step, so none counts


def test_what_is_not_movement_is_refused():
    device, reference = pair(seconds=120)
    cuff = Recording(
        modality="ppg",
        channels=(Channel("ppg", "au"),),
        sampling_rate_hz=32.0,
        start_ns=T0,
        values=np.zeros((1, 64), dtype=np.float32),
        observed=np.ones(64, dtype=bool),
        subject=SUBJECT,
        device="bench",
        body_site="wrist",
    )
    with pytest.raises(RecordingError, match="ppg"):
        align_motion(cuff, reference)
    with pytest.raises(RecordingError, match="range"):
        align_motion(device, reference, max_offset_s=0.0)


def test_applied_beyond_50_ppm_the_signal_lies_on_the_reference_clock():
    rate, ppm, seconds = 32.0, 400.0, 1200
    true = np.arange(round(seconds * rate)) / rate * (1 + ppm * 1e-6)
    wave = np.sin(2 * np.pi * 0.5 * true)
    device = worn(true, (0, 0, 0), rate, T0 - 3 * S)
    device.values[:] = wave.astype(np.float32)
    fit = ClockFit("events", 3.0 + ppm * 1e-6 * 600, 0.01, ppm, 5.0, at_ns=T0 - 3 * S + 600 * S)
    moved, said = apply(device, fit)
    assert "resampled" in said
    assert moved.start_ns == pytest.approx(T0, abs=1000)
    assert moved.sampling_rate_hz == rate
    assert moved.values.shape[1] == round(len(true) * (1 + ppm * 1e-6))
    wanted = np.sin(2 * np.pi * 0.5 * np.arange(moved.values.shape[1]) / rate)
    # Half a second of drift by the end would show as an error of 1 here.
    assert np.abs(moved.values[0] - wanted)[100:-100].max() < 0.01


@pytest.mark.parametrize(("ppm", "error"), [(40.0, 5.0), (400.0, 500.0)])
def test_a_small_or_doubtful_drift_is_noted_only(ppm, error):
    device, _ = pair(seconds=120)
    moved, said = apply(device, ClockFit("motion", 1.5, 0.01, ppm, error, at_ns=device.start_ns))
    assert said.endswith("noted only")
    assert moved.values is device.values
    assert moved.start_ns == device.start_ns + round(1.5 * S)


@pytest.mark.real
def test_real_movement_of_a_wrist_with_a_planted_clock():
    if "HDT_FM_REAL_DATA" not in os.environ:
        pytest.skip("set HDT_FM_REAL_DATA")
    folder = Path(os.environ["HDT_FM_REAL_DATA"]) / "stress_predict" / "Raw_data"
    path = sorted(folder.glob("S*.zip"))[3]
    reference = EmpaticaE4().read(path, subject=SUBJECT).recordings["acc"]
    ppm, offset_s = 150.0, 4.2
    # A clock that falls behind takes a sample each 1 + ppm of what it calls 1 / 32 s.
    values, observed = resample(reference.values, reference.observed, 32.0, 32.0 / (1 + ppm * 1e-6))
    turned = (values[[2, 0, 1]] + np.random.default_rng(0).normal(0, 0.02, values.shape)).astype(np.float32)
    device = replace(
        reference,
        values=np.where(observed, turned, np.float32(0)),
        observed=observed,
        start_ns=reference.start_ns - round(offset_s * S),
    )
    fit = align_motion(device, reference)
    assert fit.method == "motion"
    assert abs(fit.drift_ppm - ppm) <= fit.drift_error_ppm < 60
    assert abs(at_start(fit, device) - offset_s) < 0.05
    other = EmpaticaE4().read(sorted(folder.glob("S*.zip"))[4], subject=SUBJECT).recordings["acc"]
    stranger = replace(other, start_ns=reference.start_ns)
    assert align_motion(device, stranger).method == "unknown"
