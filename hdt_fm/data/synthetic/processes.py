"""Building blocks of the simulation: seeded streams, first-order lags, coloured noise, episodes, gaps."""

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

Array = NDArray[np.float64]

# Each purpose has its own stream, so that leaving out a meal or a modality moves no other random number.
# Append only: the order is part of what a seed means.
PURPOSES = ("person", "plan", "body", "presence", "ecg", "ppg", "eda", "temp", "acc", "glucose", "gaps", "hum")


def stream(seed: int, subject_index: int, purpose: str) -> np.random.Generator:
    """The random stream of one purpose of one person; independent of how many people there are."""
    return np.random.default_rng([seed, subject_index, PURPOSES.index(purpose)])


def lag(drive: Array, time_constant_s: float, rate_hz: float, initial: float | None = None) -> Array:
    """Follow `drive` by tau dx/dt = drive - x, exact for a drive that is constant within a step.

    Args:
        drive: Samples (time,).
        time_constant_s: tau.
        rate_hz: Samples per second.
        initial: x before the first sample; the first value of `drive` by default (settled).
    """
    keep = np.exp(-1.0 / (time_constant_s * rate_hz))
    start = float(drive[0]) if initial is None else initial
    return lfilter([1.0 - keep], [1.0, -keep], drive, zi=np.array([keep * start]))[0]


def coloured_noise(
    generator: np.random.Generator, count: int, rate_hz: float, *, sd: float, time_constant_s: float
) -> Array:
    """Ornstein-Uhlenbeck noise (time,): mean 0, the given standard deviation, correlation exp(-|dt| / tau)."""
    keep = np.exp(-1.0 / (time_constant_s * rate_hz))
    shocks = generator.standard_normal(count)
    shocks[1:] *= np.sqrt(1.0 - keep**2)
    return sd * lfilter([1.0], [1.0, -keep], shocks)


def alternating_episodes(
    generator: np.random.Generator, duration_s: float, *, off_s: tuple[float, float], on_s: tuple[float, float]
) -> Array:
    """Start and end (episode, 2) in seconds of episodes parted by pauses, both of uniform random length.

    In a visit too short for a pause and an episode of mean length, both shrink to fit.
    """
    shrink = min(1.0, duration_s / (sum(off_s) + sum(on_s)))
    count = int(np.ceil(duration_s / (shrink * (off_s[0] + on_s[0])))) + 1
    pauses = generator.uniform(*off_s, count) * shrink
    lengths = generator.uniform(*on_s, count) * shrink
    starts = np.cumsum(pauses + np.concatenate([[0.0], lengths[:-1]]))
    episodes = np.stack([starts, starts + lengths], axis=1)
    return np.minimum(episodes[starts < duration_s], duration_s)


def on_grid(episodes: Array, times_s: Array, heights: Array | None = None) -> Array:
    """Step function (time,) that holds an episode's height (1 by default) within it and 0 elsewhere."""
    track = np.zeros(len(times_s))
    heights = np.ones(len(episodes)) if heights is None else heights
    for (start, end), height in zip(episodes, heights, strict=True):
        track[(times_s >= start) & (times_s < end)] = height
    return track


def draw_missing(
    generator: np.random.Generator, count: int, rate_hz: float, *, gaps_per_hour: float
) -> NDArray[np.bool_]:
    """Samples lost to gaps (time,): a Poisson number of gaps of exponential length, mean 20 s or two samples."""
    duration_s = count / rate_hz
    missing = np.zeros(count, dtype=np.bool_)
    number = generator.poisson(gaps_per_hour * duration_s / 3600.0)
    mean_s = max(20.0, 2.0 / rate_hz)
    starts = generator.uniform(0.0, duration_s, number)
    lengths = np.clip(generator.exponential(mean_s, number), mean_s / 10, 6 * mean_s)
    for start, length in zip(starts, lengths, strict=True):
        first = int(start * rate_hz)
        missing[first : max(first + 1, int((start + length) * rate_hz))] = True
    return missing
