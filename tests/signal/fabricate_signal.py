"""Clean signals of each kind, movement, and artefacts planted at known times."""

import numpy as np

from hdt_fm.schema.recording import Channel, Recording

T0 = 1_700_000_000_000_000_000
SUBJECT = "s" + "c" * 32
RATES = {"ppg": 64.0, "ecg": 125.0, "eda": 4.0, "temp": 4.0, "acc": 32.0}


def recording(modality, values, rate=None, observed=None, start_ns=T0):
    values = np.atleast_2d(values)
    observed = np.ones(values.shape[1], dtype=bool) if observed is None else observed
    return Recording(
        modality=modality,
        channels=tuple(Channel(f"c{i}", "au") for i in range(len(values))),
        sampling_rate_hz=RATES[modality] if rate is None else rate,
        start_ns=start_ns,
        values=np.where(observed, values, 0).astype(np.float32),
        observed=observed,
        subject=SUBJECT,
        device="bench",
        body_site="wrist",
    )


def phase_of(seconds, rate, hz, generator, wander=0.03):
    """Of an oscillation whose frequency breathes a little."""
    time = np.arange(round(seconds * rate)) / rate
    return 2 * np.pi * np.cumsum(hz * (1 + wander * np.sin(2 * np.pi * 0.11 * time + generator.uniform(0, 6)))) / rate


def ppg(seconds, generator, bpm=72, rate=64.0):
    phase = phase_of(seconds, rate, bpm / 60, generator)
    wave = np.sin(phase) + 0.4 * np.sin(2 * phase + 1) + 0.15 * np.sin(3 * phase + 2)
    return 40 * wave + generator.normal(0, 0.3, len(phase))


def ecg(seconds, generator, bpm=70, rate=125.0):
    phase = phase_of(seconds, rate, bpm / 60, generator) % (2 * np.pi) - np.pi
    waves = ((0.12, -1.1, 0.14), (-0.1, -0.12, 0.05), (1.1, 0.0, 0.06), (-0.2, 0.13, 0.05), (0.3, 1.4, 0.3))
    beat = sum(height * np.exp(-((phase - at) ** 2) / 2 / width**2) for height, at, width in waves)
    return beat + generator.normal(0, 0.01, len(phase))


def eda(seconds, generator, rate=4.0, level=2.0):
    time = np.arange(round(seconds * rate)) / rate
    driver = np.zeros(len(time))
    driver[generator.integers(0, len(time), round(seconds / 25))] = generator.uniform(0.1, 0.8, round(seconds / 25))
    response = np.exp(-time[: round(20 * rate)] / 4) - np.exp(-time[: round(20 * rate)] / 0.7)
    calm = level + 0.3 * np.sin(2 * np.pi * time / 400)
    return calm + np.convolve(driver, response)[: len(time)] + generator.normal(0, 0.002, len(time))


def temp(seconds, generator, rate=4.0):
    time = np.arange(round(seconds * rate)) / rate
    return np.round((33 + 0.6 * np.sin(2 * np.pi * time / 900) + generator.normal(0, 0.01, len(time))) / 0.02) * 0.02


def still_acc(seconds, generator, rate=32.0):
    return np.array([[0.1], [-0.3], [0.95]]) + generator.normal(0, 0.004, (3, round(seconds * rate)))


def steps(seconds, generator, hz=1.8, rate=32.0, amplitude=0.3):
    phase = phase_of(seconds, rate, hz, generator)
    axes = [
        generator.uniform(0.4, 1) * np.sin(phase + generator.uniform(0, 6))
        + generator.uniform(0.2, 0.5) * np.sin(2 * phase + generator.uniform(0, 6))
        for _ in range(3)
    ]
    return amplitude * np.array(axes) + generator.normal(0, 0.1 * amplitude, (3, len(phase)))


CLEAN = {"ppg": ppg, "ecg": ecg, "eda": eda, "temp": temp, "acc": still_acc}


def stretches(seconds, rate, count, length_s, generator):
    """Planted truth: one stretch in each equal part of the recording, away from its edges."""
    truth = np.zeros(round(seconds * rate), dtype=bool)
    part = seconds / count
    for number in range(count):
        begin = number * part + generator.uniform(0.2, 0.8) * (part - length_s)
        truth[round(begin * rate) : round((begin + length_s) * rate)] = True
    return truth


def scores(found, truth):
    """Precision and recall over samples."""
    hit = (found & truth).sum()
    return hit / max(found.sum(), 1), hit / max(truth.sum(), 1)
