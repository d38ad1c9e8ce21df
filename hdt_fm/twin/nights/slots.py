"""Ten minutes of local time: what fell into each, from one device or several, and which of them are the night."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hdt_fm.schema.errors import ConfigError, RecordingError
from hdt_fm.schema.recording import NS_PER_S, Recording, Visit

SLOT_S = 600
SLOTS_A_DAY = 86_400 // SLOT_S


@dataclass(frozen=True)
class NightHours:
    """Which local hours are the night; 22 and 6 are from the evening before.

    Raises:
        ConfigError: If they are no hours of a day, or are equal.
    """

    begin_h: int = 0
    end_h: int = 6

    def __post_init__(self) -> None:
        if not (0 <= self.begin_h < 24 and 0 <= self.end_h < 24 and self.begin_h != self.end_h):
            raise ConfigError(
                "These are no hours of a night",
                where="night_hours",
                expected="two hours from 0 to 23, such as 0-6 or 22-6",
                got=f"{self.begin_h}-{self.end_h}",
                fix="choose other hours; 24 o'clock is 0",
            )

    def night_of(self, slots: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Date of the night that a slot is in (days since 1970), and whether it is in one."""
        date, hour = slots // SLOTS_A_DAY, slots % SLOTS_A_DAY * SLOT_S // 3600
        if self.begin_h < self.end_h:
            return date, (hour >= self.begin_h) & (hour < self.end_h)
        evening = hour >= self.begin_h
        return date + evening, evening | (hour < self.end_h)


@dataclass(frozen=True)
class Slotted:
    """Slots since 1970 in order, local time, each once; a number in each, and the part that it is from."""

    slot: NDArray[np.int64]
    value: NDArray[np.float64]
    part: NDArray[np.int64]


def in_slots(slots: NDArray[np.int64], values: NDArray[np.floating], *, mean: bool) -> Slotted:
    """The mean, or else the sum, of what fell into each."""
    slot, place = np.unique(slots, return_inverse=True)
    total = np.bincount(place, weights=values.astype(np.float64), minlength=len(slot))
    count = np.bincount(place, minlength=len(slot)) if mean else np.ones(len(slot))
    return Slotted(slot, total / count, np.zeros(len(slot), dtype=np.int64))


def merge(parts: Sequence[Slotted]) -> Slotted:
    """All parts; a slot that several have is the first one's, since two devices count the same steps twice."""
    slots = np.concatenate([one.slot for one in parts])
    whose = np.concatenate([np.full(len(one.slot), number, dtype=np.int64) for number, one in enumerate(parts)])
    slot, first = np.unique(slots, return_index=True)
    return Slotted(slot, np.concatenate([one.value for one in parts])[first], whose[first])


def local_slots(visit: Visit, one: Recording, given: int | None) -> NDArray[np.int64]:
    """Of the samples that were measured; here the hour of the day must be known.

    Raises:
        RecordingError: If the recording does not say its local time and nobody else does.
    """
    if one.utc_offset_s is None and given is None and "utc_offset" not in visit.labels:
        raise RecordingError(
            "The local time of a recording is not known, and which hours are the night hangs on it",
            where=f"recording of {one.modality}",
            expected="how far the local clock is ahead of the recording's",
            fix="say utc_offset_s=SECONDS: 3600 for an hour ahead of UTC, 0 for a recording in local time",
        )
    moments = one.start_ns + np.rint(np.flatnonzero(one.observed) / one.sampling_rate_hz * NS_PER_S).astype(np.int64)
    return slots_of(moments, visit, one, given)


def slots_of(
    moments_ns: NDArray[np.int64], visit: Visit, one: Recording | None, given: int | None
) -> NDArray[np.int64]:
    """By the visit's own changes of offset, the recording's, or `given`; without any the clock is taken as local.

    Args:
        one: The recording that the moments are of; None for a label, which goes by any recording of the visit.
    """
    track = visit.labels.get("utc_offset")
    if track is not None and len(track.values):
        at = np.maximum(np.searchsorted(track.start_ns, moments_ns, side="right") - 1, 0)
        return (moments_ns // NS_PER_S + track.values[at].astype(np.int64)) // SLOT_S
    own = [one] if one is not None else list(visit.recordings.values())
    known = [other.utc_offset_s for other in own if other.utc_offset_s is not None]
    return (moments_ns // NS_PER_S + (known[0] if known else given or 0)) // SLOT_S
