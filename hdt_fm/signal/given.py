"""Doses and meals as a signal: how much was given in each step, and where nobody is known to have written it down."""

import numpy as np

from hdt_fm.schema.errors import RecordingError
from hdt_fm.schema.modalities import modality
from hdt_fm.schema.recording import NS_PER_S, Channel, LabelTrack, Recording, Visit

# Who wrote nothing down for longer is not known to have taken nothing.
SILENT_S = 2 * 86_400.0


def amounts_given(visit: Visit, name: str, sampling_rate_hz: float) -> Recording | None:
    """The visit's events of a treatment on a grid, from its first recording to its last.

    A sample is the sum of what was given in the step that ends with it, so that it knows nothing later. A step is
    observed while the newest entry is no older than `SILENT_S`: no entry is then a dose of zero. Before, and in a visit
    without such events, what was given is unknown, which is not zero.

    Returns:
        None for a visit without recordings or without such events.

    Raises:
        RecordingError: If an amount is one that nobody is given.
        UnitError: If the events' unit is not one of the modality.
    """
    track = visit.labels.get(name)
    if track is None or track.kind != "event" or not visit.recordings:
        return None
    amounts, known = _amounts(track, name), np.isfinite(track.values)
    begin = min(one.start_ns for one in visit.recordings.values())
    end = max(one.end_ns for one in visit.recordings.values())
    size = max(1, int((end - begin) / NS_PER_S * sampling_rate_hz))
    # 1e-6 absorbs the rounding of rates.
    step = np.ceil((track.start_ns[known] - begin) / NS_PER_S * sampling_rate_hz - 1e-6).astype(np.int64)
    inside = (step >= 0) & (step < size)
    if not inside.any():
        return None
    values = np.bincount(step[inside], amounts[known][inside], minlength=size)
    newest = np.maximum.accumulate(np.where(np.bincount(step[inside], minlength=size) > 0, np.arange(size), -size * 2))
    observed = (np.arange(size) - newest) / sampling_rate_hz <= SILENT_S
    return Recording(
        modality=name,
        channels=(Channel(name, track.unit),),
        sampling_rate_hz=sampling_rate_hz,
        start_ns=begin,
        values=np.where(observed, values, 0.0)[None].astype(np.float32),
        observed=observed,
        subject=visit.subject,
        device="log",
        body_site="",
    )


def _amounts(track: LabelTrack, name: str) -> np.ndarray:
    """In the modality's unit."""
    entry = modality(name)
    scale, offset = entry.conversion(track.unit)
    amounts = track.values * scale + offset
    low, high = entry.plausible
    if np.any((amounts < low) | (amounts > high)):
        raise RecordingError(
            "An amount is one that nobody is given",
            where=f"events of {name}",
            expected=f"{low:g} to {high:g} {entry.unit}",
            got="one outside",
            fix="correct the unit or the entry in the source",
        )
    return amounts
