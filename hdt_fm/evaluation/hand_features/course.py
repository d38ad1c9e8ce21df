"""The course of a window: level and energy of each short stretch, whatever the signal is."""

import itertools

import numpy as np
from numpy.typing import NDArray

from hdt_fm.evaluation.hand_features.basics import Array, Mask, mean

STRETCHES = 30
# With fewer samples, a stretch's energy says little; the window then gets fewer stretches.
MIN_SAMPLES = 4
LOG_FLOOR = 1e-4


def course_features(values: NDArray[np.floating], observed: Mask) -> Array:
    """Mean, and log energy of the signal and of its first two differences, in each stretch and channel.

    Differences are high-pass filters at any sampling rate, so that nothing here knows which modality it reads.

    Args:
        values: (window, channel, time).
        observed: (window, time); unobserved samples never count.

    Returns:
        (window, feature); NaN where nothing of a stretch was observed.
    """
    doubles = np.where(observed[:, None, :], np.asarray(values, dtype=np.float64), 0.0)
    seen = np.broadcast_to(observed[:, None, :], doubles.shape)
    layers = [(doubles, seen)]
    for _ in range(2):
        last, known = layers[-1]
        before = np.concatenate([np.zeros_like(known[:, :, :1]), known[:, :, :-1]], axis=2)
        layers.append((np.diff(last, axis=2, prepend=last[:, :, :1]), known & before))
    stretches = max(1, min(STRETCHES, doubles.shape[2] // MIN_SAMPLES))
    edges = np.linspace(0, doubles.shape[2], stretches + 1).round().astype(int)
    columns = []
    for start, stop in itertools.pairwise(edges):
        here = [(layer[:, :, start:stop], known[:, :, start:stop]) for layer, known in layers]
        level = mean(*here[0])
        columns += [level, _log_energy(here[0][0] - np.nan_to_num(level)[..., None], here[0][1])]
        columns += [_log_energy(*one) for one in here[1:]]
    return np.concatenate(columns, axis=1)


def _log_energy(values: Array, observed: Mask) -> Array:
    return 0.5 * np.log(mean(values**2, observed) + LOG_FLOOR**2)
