"""Filters, zero-phase or causal, each segment alone."""

import numpy as np
from jaxtyping import Bool, Float32
from scipy.signal import butter, sosfilt, sosfilt_zi, sosfiltfilt

from hdt_fm.signal.segments import runs


def band_filter(
    values: Float32[np.ndarray, "channel time"],
    observed: Bool[np.ndarray, " time"],
    *,
    sampling_rate_hz: float,
    highpass_hz: float | None,
    lowpass_hz: float | None,
    order: int,
    causal: bool = False,
) -> tuple[Float32[np.ndarray, "channel time"], Bool[np.ndarray, " time"]]:
    """Butterworth filter run forwards and backwards over each segment, so nothing is delayed; or forwards alone.

    A segment that is too short to be filtered becomes unobserved: one no longer than the filter's padding
    (three times its length), or shorter than one period of the high-pass edge, of which it cannot hold a cycle.

    Args:
        values: Zeros where unobserved.
        observed: Which samples were measured.
        sampling_rate_hz: Of `values`.
        highpass_hz: Lower edge, or None for none.
        lowpass_hz: Upper edge, or None for none; half the sampling rate counts as none.
        order: Order of one pass; the gain is squared by the second pass (-6 dB at the edges).
        causal: One pass, forwards (-3 dB at the edges): no sample knows of a later one, and all are delayed as the
            filter delays. It begins as if the first value had always been there. Which segments are kept is the same.

    Returns:
        Filtered values (0 where unobserved) and their mask; the input as it is when no edge is given.

    Numerics: second-order sections in float64.
    """
    sections = _sections(sampling_rate_hz, highpass_hz, lowpass_hz, order)
    if sections is None:
        return values, observed
    least = 3 * (2 * len(sections) + 1)
    period = sampling_rate_hz / highpass_hz if highpass_hz else 0.0
    filtered = np.zeros_like(values)
    kept = np.zeros_like(observed)
    for start, stop in runs(observed):
        length = stop - start
        if length <= least or length < period:
            continue
        segment = values[:, start:stop].astype(np.float64)
        if causal:
            begun = sosfilt_zi(sections)[:, None] * segment[None, :, :1]
            filtered[:, start:stop] = sosfilt(sections, segment, zi=begun)[0]
        else:
            # One period of the slowest edge as padding: the default is far shorter than a 0.05 Hz filter remembers.
            padding = min(length - 1, max(least, round(period)))
            filtered[:, start:stop] = sosfiltfilt(sections, segment, padlen=padding)
        kept[start:stop] = True
    return filtered, kept


def _sections(rate: float, highpass: float | None, lowpass: float | None, order: int) -> np.ndarray | None:
    if lowpass is not None and lowpass >= rate / 2 * (1 - 1e-9):
        lowpass = None
    if highpass is not None and lowpass is not None:
        return butter(order, [highpass, lowpass], btype="bandpass", fs=rate, output="sos")
    if highpass is not None:
        return butter(order, highpass, btype="highpass", fs=rate, output="sos")
    if lowpass is not None:
        return butter(order, lowpass, btype="lowpass", fs=rate, output="sos")
    return None
