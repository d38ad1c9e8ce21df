"""Stretches of a recording that were recorded once and stored twice."""

import numpy as np
from jaxtyping import Bool, Float32

from hdt_fm.signal.segments import runs

MIN_S = 5.0
MIN_SAMPLES = 64
# More than this is not searched: it bounds memory (about 40 bytes a sample) at some two days of 100 Hz.
MAX_SAMPLES = 20_000_000
# Stretches are recognised by so many samples at a time, at least half of which must differ from the one before:
# what stands still is equal everywhere without having been copied.
WORD = 16
_ODD = np.uint64(0x9E3779B97F4A7C15)


def repeated(
    values: Float32[np.ndarray, "channel time"],
    observed: Bool[np.ndarray, " time"],
    sampling_rate_hz: float,
    min_s: float = MIN_S,
) -> Bool[np.ndarray, " time"]:
    """Samples that equal, bit for bit and in order, an earlier stretch of at least `min_s` (and 64 samples).

    A file that was appended to itself or a buffer that was sent twice. A short exact period is none: a repeat must be
    as long as `min_s` at one distance.
    """
    found = np.zeros(len(observed), dtype=np.bool_)
    values, observed = values[:, :MAX_SAMPLES], observed[:MAX_SAMPLES]
    if len(observed) < 2 * MIN_SAMPLES:
        return found
    words, told = _words(values, observed)
    _, first, which = np.unique(words, return_index=True, return_inverse=True)
    distance = np.where(told, np.arange(len(words)) - first[which], 0)
    change = np.flatnonzero(np.diff(distance)) + 1
    least = max(round(min_s * sampling_rate_hz), MIN_SAMPLES)
    for start, stop in zip([0, *change], [*change, len(distance)], strict=True):
        if distance[start] > 0 and stop - start + WORD - 1 >= least:
            found[start : stop + WORD - 1] = True
    return found


def _words(
    values: Float32[np.ndarray, "channel time"], observed: Bool[np.ndarray, " time"]
) -> tuple[np.ndarray, np.ndarray]:
    """A number for each run of `WORD` samples, and whether it tells anything."""
    bits = np.ascontiguousarray(values).view(np.uint32).astype(np.uint64)
    sample = np.zeros(len(observed), dtype=np.uint64)
    for channel in bits:
        sample = (sample ^ channel) * _ODD
        sample ^= sample >> np.uint64(29)
    count = len(sample) - WORD + 1
    words = np.zeros(count, dtype=np.uint64)
    for place in range(WORD):
        words = words * _ODD + sample[place : place + count]
    moves = np.concatenate([[0], np.cumsum(np.diff(sample) != 0)])
    whole = np.concatenate([[0], np.cumsum(~observed)])
    told = (moves[WORD - 1 :] - moves[:count] >= WORD // 2) & (whole[WORD:] == whole[:count])
    # A word that tells nothing must not be the first of its kind.
    words[~told] = np.arange(count, dtype=np.uint64)[~told] * np.uint64(2) + np.uint64(1)
    return words, told


def longest_s(found: Bool[np.ndarray, " time"], sampling_rate_hz: float) -> float:
    """Longest stretch in seconds."""
    return max((stop - start for start, stop in runs(found)), default=0) / sampling_rate_hz
