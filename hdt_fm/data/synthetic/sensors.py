"""Sensors: the body's states -> what a worn device would have written, noise and artefacts included.

Every function returns (channel, time) in the modality's canonical unit. Motion artefacts are filtered
versions of the acceleration of the same person, so they can be told from the body's own signal.
"""

from collections.abc import Callable
from types import MappingProxyType

import numpy as np
from scipy.signal import butter, lfilter, sosfilt

from hdt_fm.data.synthetic.body import Truth
from hdt_fm.data.synthetic.processes import Array, coloured_noise, lag

RATES_HZ = MappingProxyType({"ecg": 128.0, "ppg": 64.0, "eda": 4.0, "temp": 4.0, "acc": 32.0, "glucose": 1 / 300})
# (centre, width, height) of P, Q, R, S, T around the R peak; P and T move with the root of the interval.
_QRS = ((-0.030, 0.010, -0.12), (0.0, 0.011, 1.0), (0.032, 0.011, -0.22))
_WAVES = ((-0.18, 0.022, 0.13), (0.27, 0.045, 0.27))
_SYSTOLE_S, _DIASTOLE_S = 0.085, 0.13
MAINS_HZ = 50.0


def sample_times(truth: Truth, rate_hz: float) -> Array:
    """Clock of a sensor over the whole visit, seconds (time,)."""
    return np.arange(int(truth.times_s[-1] * rate_hz + 1e-6)) / rate_hz


def acceleration(truth: Truth, generator: np.random.Generator, motion: float) -> Array:
    """Gravity turned by a drifting wrist, steps at the person's rate with harmonics, fidgeting, tremor (g)."""
    rate = RATES_HZ["acc"]
    times = sample_times(truth, rate)
    activity = np.interp(times, truth.times_s, truth.activity)
    arousal = np.interp(times, truth.times_s, truth.arousal)
    tilt, turn = (
        coloured_noise(generator, len(times), rate, sd=sd, time_constant_s=120.0) + generator.uniform(-1.5, 1.5)
        for sd in (0.35, 0.5)
    )
    gravity = np.stack([np.sin(tilt), np.cos(tilt) * np.sin(turn), np.cos(tilt) * np.cos(turn)])
    cadence = truth.person.step_hz * (1 + coloured_noise(generator, len(times), rate, sd=0.03, time_constant_s=10.0))
    phase = 2 * np.pi * np.cumsum(cadence) / rate
    gait = np.zeros((3, len(times)))
    # Arm swing at half the step rate, the step itself and two harmonics, with its own mixture per axis.
    for harmonic, height in ((0.5, 0.10), (1.0, 0.22), (2.0, 0.10), (3.0, 0.04)):
        shifts, weights = generator.uniform(0, 2 * np.pi, 3), generator.uniform(0.4, 1.0, 3)
        gait += height * weights[:, None] * np.sin(harmonic * phase[None, :] + shifts[:, None])
    restless = coloured_noise(generator, len(times), rate, sd=1.0, time_constant_s=4.0)
    fidget = 0.3 * np.maximum(restless - 1.8 + 0.15 * arousal, 0.0) * _band(generator, (3, len(times)), rate, 0.4, 3.0)
    shaking = truth.person.tremor_g * (1 + 0.5 * arousal) * _band(generator, (3, len(times)), rate, 7.0, 11.0)
    noise = 0.004 * generator.standard_normal((3, len(times)))
    return gravity + motion * (activity * gait + fidget) + shaking + noise


def ecg(truth: Truth, generator: np.random.Generator, artefact: Array) -> Array:
    """Five Gaussians per beat, breathing in height and baseline, wander, mains, muscle noise, motion (mV)."""
    rate, person = RATES_HZ["ecg"], truth.person
    times = sample_times(truth, rate)
    since, interval = _since_beat(times, truth.beat_times_s, nearest=True)
    stretch = np.sqrt(interval)
    wave = np.zeros(len(times))
    for centre, width, height in _QRS:
        wave += height * _bump(since, centre, width)
    for centre, width, height in _WAVES:
        wave += height * _bump(since, centre * stretch, width * stretch)
    breath = np.interp(times, truth.times_s, truth.breath)
    wander = 0.08 * breath + coloured_noise(generator, len(times), rate, sd=0.06, time_constant_s=3.0)
    mains = generator.uniform(0.005, 0.03) * np.sin(2 * np.pi * MAINS_HZ * times + generator.uniform(0, 2 * np.pi))
    muscle = 0.02 * generator.standard_normal(len(times)) * (1 + np.interp(times, truth.times_s, truth.activity))
    return (person.ecg_mv * wave * (1 + 0.05 * breath) + wander + mains + muscle + 0.5 * artefact)[None, :]


def ppg(truth: Truth, generator: np.random.Generator, artefact: Array) -> Array:
    """Two Gaussians per pulse, delayed by the transit time; smaller with constriction; breathing; motion (a.u.).

    The steepest point of the upstroke lies one transit time after the R peak.
    """
    rate, person = RATES_HZ["ppg"], truth.person
    times = sample_times(truth, rate)
    arrival = truth.beat_times_s + np.interp(truth.beat_times_s, truth.times_s, truth.transit_time_s)
    since, interval = _since_beat(times, arrival, nearest=False)
    pulse = np.zeros(len(times))
    # The pulse of this beat, of the one before and of the one to come overlap.
    for shift in (-1, 0, 1):
        offset = since - shift * interval
        pulse += _bump(offset, _SYSTOLE_S, _SYSTOLE_S)
        pulse += 0.45 * _bump(offset, _SYSTOLE_S + 0.29 * np.sqrt(interval), _DIASTOLE_S)
    breath = np.interp(times, truth.times_s, truth.breath)
    tone = np.interp(times, truth.times_s, truth.vasomotor)
    height = np.exp(-0.25 * tone + coloured_noise(generator, len(times), rate, sd=0.15, time_constant_s=60.0))
    wander = coloured_noise(generator, len(times), rate, sd=0.25, time_constant_s=8.0)
    noise = 0.02 * generator.standard_normal(len(times))
    clean = height * (1 + 0.06 * breath) * pulse + 0.12 * breath + wander + noise
    return (person.ppg_gain * (clean + 5.0 * artefact))[None, :]


def eda(truth: Truth, generator: np.random.Generator, artefact: Array) -> Array:
    """Skin conductance with sensor noise and the slow part of motion, a share of the level (uS)."""
    times = sample_times(truth, RATES_HZ["eda"])
    conductance = np.interp(times, truth.times_s, truth.eda_us)
    noise = 0.004 * generator.standard_normal(len(times))
    return np.clip(conductance * (1 + 0.25 * artefact) + noise, 0.0, 99.0)[None, :]


def skin_temperature(truth: Truth, generator: np.random.Generator) -> Array:
    """Skin temperature in steps of 0.02 degrees, as a thermistor writes it (celsius)."""
    times = sample_times(truth, RATES_HZ["temp"])
    noise = 0.01 * generator.standard_normal(len(times))
    return (np.round((np.interp(times, truth.times_s, truth.skin_celsius) + noise) / 0.02) * 0.02)[None, :]


def glucose(truth: Truth, generator: np.random.Generator) -> Array:
    """Tissue glucose each 5 min with correlated sensor error (SD 5, 0.7 from one to the next), 40 to 400 mg/dL."""
    rate = RATES_HZ["glucose"]
    times = sample_times(truth, rate)
    error = coloured_noise(generator, len(times), rate, sd=5.0, time_constant_s=-300.0 / np.log(0.7))
    seen = np.interp(times, truth.glucose_times_s, truth.tissue_glucose_mg_dl)
    return np.clip(np.round(seen + error), 40.0, 400.0)[None, :]


def motion_artefact(
    acceleration_g: Array, generator: np.random.Generator, truth: Truth, *, rate_hz: float, lowpass_hz: float
) -> Array:
    """How movement couples into another sensor (time,): a random mix of axes, without gravity, softly filtered."""
    mix = generator.normal(0.0, 1.0, 3)
    mix *= truth.person.artefact_gain / max(float(np.linalg.norm(mix)), 1e-9)
    moving = mix @ acceleration_g
    moving = moving - lag(moving, 1.0, RATES_HZ["acc"])
    smooth = sosfilt(butter(2, lowpass_hz, fs=RATES_HZ["acc"], output="sos"), moving)
    # The strap gives way and springs back: an echo after 60 ms.
    echoed = lfilter([1.0, 0.0, 0.4], [1.0], smooth)
    times = sample_times(truth, rate_hz)
    return np.interp(times, np.arange(len(echoed)) / RATES_HZ["acc"], echoed)


COUPLING_LOWPASS_HZ = MappingProxyType({"ecg": 12.0, "ppg": 6.0, "eda": 0.8})
MOVED: MappingProxyType[str, Callable[[Truth, np.random.Generator, Array], Array]] = MappingProxyType(
    {"ecg": ecg, "ppg": ppg, "eda": eda}
)
STILL: MappingProxyType[str, Callable[[Truth, np.random.Generator], Array]] = MappingProxyType(
    {"temp": skin_temperature, "glucose": glucose}
)


def _bump(offset: Array, centre: Array | float, width: Array | float) -> Array:
    return np.exp(-0.5 * ((offset - centre) / width) ** 2)


def _since_beat(times_s: Array, beats_s: Array, *, nearest: bool) -> tuple[Array, Array]:
    """Seconds from each sample's beat (the nearest one or the last one) and the interval it lies in."""
    first, last = beats_s[1] - beats_s[0], beats_s[-1] - beats_s[-2]
    # Beats just outside the visit, so that its first and last samples lie in an interval too.
    padded = np.concatenate([beats_s[0] - first * np.arange(3, 0, -1), beats_s, beats_s[-1] + last * np.arange(1, 4)])
    phase = np.interp(times_s, padded, np.arange(len(padded), dtype=np.float64))
    own = (np.round(phase) if nearest else np.floor(phase)).astype(int)
    before = np.clip(np.floor(phase).astype(int), 0, len(padded) - 2)
    return times_s - padded[own], padded[before + 1] - padded[before]


def _band(
    generator: np.random.Generator, shape: tuple[int, int], rate_hz: float, low_hz: float, high_hz: float
) -> Array:
    """White noise through a band-pass, scaled to SD 1 in expectation over a long record."""
    noise = sosfilt(
        butter(2, (low_hz, high_hz), "bandpass", fs=rate_hz, output="sos"), generator.standard_normal(shape)
    )
    return noise / max(float(noise.std()), 1e-9)
