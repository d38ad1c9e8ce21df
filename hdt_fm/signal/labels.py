"""Label tracks -> one number a window."""

import numpy as np
from jaxtyping import Float32, Int64

from hdt_fm.schema.recording import NS_PER_S, LabelTrack

MIN_COVER = 0.5  # of a window, for its label to be known
MIN_EVENTS = 3


def window_labels(
    track: LabelTrack, starts_ns: Int64[np.ndarray, " window"], window_ns: int, *, min_cover: float = MIN_COVER
) -> Float32[np.ndarray, " window"]:
    """The track's value in each window [start, start + window_ns); NaN where it says too little.

    - `class`: index of the class that covers most of the window, if it covers at least `min_cover` of all of it
      (not of what is labelled); of two that cover half each, the lower index.
    - `value`: mean over the labelled time, if at least `min_cover` of the window is labelled. NaN counts as unlabelled.
      An interval that is the window itself is its value, whatever overlaps it.
    - `event`: events per minute, 60 / mean interval between consecutive events inside the window, from at
      least three events. A rate from intervals does not depend on where the window's edges fall.
    """
    if track.kind == "event":
        times = np.sort(track.start_ns[np.isfinite(track.values)])
        rates = [_rate_per_minute(_between(times, start, start + window_ns)) for start in starts_ns.tolist()]
        return np.array(rates, dtype=np.float32)
    known = np.flatnonzero(np.isfinite(track.values))
    order = known[np.argsort(track.start_ns[known], kind="stable")]
    begins, ends, values = track.start_ns[order], track.end_ns[order], track.values[order]
    reach = np.maximum.accumulate(ends) if len(ends) else ends
    labels = np.full(len(starts_ns), np.nan, dtype=np.float32)
    for row, start in enumerate(starts_ns.tolist()):
        stop = start + window_ns
        here = slice(np.searchsorted(reach, start, side="right"), np.searchsorted(begins, stop, side="left"))
        shared = np.clip(np.minimum(ends[here], stop) - np.maximum(begins[here], start), 0, None) / window_ns
        if track.kind == "class":
            labels[row] = _majority(values[here], shared, len(track.classes), min_cover)
        elif (own := (begins[here] == start) & (ends[here] == stop)).any():
            labels[row] = values[here][own].mean()
        elif (cover := shared.sum()) >= min_cover:
            labels[row] = (shared * values[here]).sum() / cover
    return labels


def _majority(values: np.ndarray, shared: np.ndarray, classes: int, min_cover: float) -> float:
    cover = np.bincount(values.astype(np.int64), weights=shared, minlength=max(classes, 1))
    most = int(cover.argmax())
    # Shares of many short intervals add up with rounding; half is half.
    return float(most) if cover[most] >= min_cover - 1e-9 else float("nan")


def _between(times: np.ndarray, start: int, stop: int) -> np.ndarray:
    return times[np.searchsorted(times, start, side="left") : np.searchsorted(times, stop, side="left")]


def _rate_per_minute(times: np.ndarray) -> float:
    if len(times) < MIN_EVENTS or times[-1] == times[0]:
        return float("nan")
    return 60.0 * (len(times) - 1) / (int(times[-1] - times[0]) / NS_PER_S)
