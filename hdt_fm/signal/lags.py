"""Offsets between two recordings of movement, piece by piece."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from hdt_fm.schema.errors import RecordingError
from hdt_fm.schema.recording import NS_PER_S, Recording
from hdt_fm.signal.coherence import BAND_HZ
from hdt_fm.signal.filters import band_filter
from hdt_fm.signal.resample import resample

RATE_HZ = 32.0
PIECE_S = 60.0
# A piece counts when the two fit this well at one offset, and by this factor better than at any other that is more
# than a second away: steady steps fit at every step.
MIN_FIT, MIN_MARGIN = 0.5, 1.25
APART_S = 1.0
# Spread of the vector's length over the piece, of the recording's median piece, below which there is only noise.
MIN_SHARE = 0.25


class Lags(NamedTuple):
    """Pieces in which both moved alike.

    Attributes:
        time_s: Middle of each piece, from the device's start.
        offset_s: What must be added to the device's time.
        compared: Pieces that were looked at.
        resolution_s: A piece is no more exact than this: a quarter of a sample.
    """

    time_s: Float64[np.ndarray, " piece"]
    offset_s: Float64[np.ndarray, " piece"]
    compared: int
    resolution_s: float


def piece_lags(device: Recording, reference: Recording, max_offset_s: float) -> Lags:
    """Best offset of each minute of the device within +-`max_offset_s` of the reference.

    Raises:
        RecordingError: If `max_offset_s` is not positive and at most an hour.
    """
    if not 0 < max_offset_s <= 3600:
        raise RecordingError("The range of offsets makes no sense", expected="0 < max_offset_s <= 3600")
    one, seen_one = _length_of_vector(device)
    other, seen_other = _length_of_vector(reference)
    lead = (device.start_ns - reference.start_ns) / NS_PER_S
    piece, reach = round(PIECE_S * RATE_HZ), round(max_offset_s * RATE_HZ)
    spread = [one[at : at + piece].std() for at in range(0, len(one) - piece + 1, piece)]
    floor = MIN_SHARE * float(np.median(spread)) if spread else 0.0
    times, offsets = [], []
    for number, moved in enumerate(spread):
        begin = number * piece
        # Where the piece lies in the reference if both clocks agree, and the fraction of a sample that is lost by it.
        exact = begin + lead * RATE_HZ
        at = round(exact)
        low, high = at - reach, at + reach + piece
        if low < 0 or high > len(other) or not (seen_one[begin : begin + piece].all() and seen_other[low:high].all()):
            continue
        if moved <= floor or moved == 0:
            continue
        lag = _best(one[begin : begin + piece], other[low:high])
        if lag is not None:
            times.append((begin + piece / 2) / RATE_HZ)
            offsets.append((lag - reach + at - exact) / RATE_HZ)
    return Lags(np.array(times), np.array(offsets), len(spread), 0.25 / RATE_HZ)


def _length_of_vector(recording: Recording) -> tuple[np.ndarray, np.ndarray]:
    values, observed = resample(recording.values, recording.observed, recording.sampling_rate_hz, RATE_HZ)
    length = np.sqrt((values.astype(np.float64) ** 2).sum(axis=0, keepdims=True)).astype(np.float32)
    low, high = BAND_HZ
    moved, known = band_filter(length, observed, sampling_rate_hz=RATE_HZ, highpass_hz=low, lowpass_hz=high, order=2)
    return moved[0].astype(np.float64), known


def _best(piece: np.ndarray, wide: np.ndarray) -> float | None:
    """Lag in samples at which the piece fits into the wider stretch, if it does at one and only one."""
    fit = _fits(piece, wide)
    best = int(fit.argmax())
    apart = round(APART_S * RATE_HZ)
    elsewhere = np.concatenate([fit[: max(best - apart, 0)], fit[best + apart + 1 :]])
    if fit[best] < MIN_FIT or (len(elsewhere) and fit[best] < MIN_MARGIN * elsewhere.max()):
        return None
    if not 0 < best < len(fit) - 1:
        return None  # at the edge of the range: the true one may lie beyond
    before, here, after = fit[best - 1 : best + 2]
    curve = before - 2 * here + after
    return best + (0.5 * (before - after) / curve if curve < 0 else 0.0)


def _fits(piece: np.ndarray, wide: np.ndarray) -> np.ndarray:
    """Correlation of the piece with every stretch of its length."""
    count = len(wide) - len(piece) + 1
    size = 1 << (len(wide) + len(piece)).bit_length()
    centred = piece - piece.mean()
    cross = np.fft.irfft(np.fft.rfft(wide, size) * np.conj(np.fft.rfft(centred, size)), size)[:count]
    total, squares = (np.concatenate([[0.0], np.cumsum(rows)]) for rows in (wide, wide**2))
    means = (total[len(piece) :] - total[:count]) / len(piece)
    energy = squares[len(piece) :] - squares[:count] - len(piece) * means**2
    scale = np.sqrt(np.maximum(energy, 0.0) * float((centred**2).sum()))
    return np.divide(cross, scale, out=np.zeros(count), where=scale > 0)
