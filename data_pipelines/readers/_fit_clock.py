"""When FIT messages were written: full times, and those of which a message keeps the low bits only."""

import numpy as np
from numpy.typing import NDArray

from data_pipelines.readers._fit_stream import Part
from hdt_fm.schema.recording import NS_PER_S

# 1989-12-31T00:00:00Z in UNIX seconds.
EPOCH_S = 631_065_600
# Below this a time counts from when the device was switched on: it had no clock yet.
_FIRST_DATE = 0x10000000
TIMESTAMP = 253
_MONITORING, _TIMESTAMP_16 = 55, 26


class Clock:
    """The times of one part of a file, UNIX seconds.

    A full time stands in field 253. A compressed header keeps its low five bits, a monitoring message its low
    sixteen: the time is the first after the one before it that ends in those bits.
    """

    def __init__(self, part: Part) -> None:
        places, times, masks = _stamps(part)
        full = np.flatnonzero(masks == 0)
        if not len(full):
            places, times = places[:0], times[:0]
        else:
            # What stands before the first full time cannot be told.
            places, times, masks = places[full[0] :], times[full[0] :], masks[full[0] :]
            times = completed(times, masks)
        self._places, self._times = places, times

    def of(self, places: NDArray[np.int64]) -> NDArray[np.float64]:
        """The last time at or before each message; NaN before the first."""
        if not len(self._times):
            return np.full(len(places), np.nan)
        index = np.searchsorted(self._places, places, side="right") - 1
        times = np.where(index >= 0, self._times[np.maximum(index, 0)], np.nan)
        return np.where(times >= _FIRST_DATE, times + EPOCH_S, np.nan)


def completed(numbers: NDArray[np.int64], masks: NDArray[np.int64]) -> NDArray[np.int64]:
    """Numbers that rise, of which some keep the low bits only; a mask of 0 says that all are there, as in the first."""
    if len(np.unique(masks[masks != 0])) > 1:
        whole = numbers.tolist()
        for k, mask in enumerate(masks.tolist()):
            if mask:
                whole[k] = whole[k - 1] + ((whole[k] - whole[k - 1]) & mask)
        return np.array(whole, dtype=np.int64)
    # With one mask, the low bits of the number before are all that counts.
    risen = np.concatenate([[0], (numbers[1:] - numbers[:-1]) & masks[1:]]).cumsum()
    last_whole = np.maximum.accumulate(np.where(masks == 0, np.arange(len(masks)), 0))
    return numbers[last_whole] + risen - risen[last_whole]


def utc_seconds(stamps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values of a field that holds a time -> UNIX seconds; NaN where the device had no date yet."""
    return np.where(stamps >= _FIRST_DATE, stamps + EPOCH_S, np.nan)


def to_ns(times_s: NDArray[np.float64]) -> NDArray[np.int64]:
    """UNIX seconds, exact to the microsecond."""
    return np.rint(times_s * 1e6).astype(np.int64) * (NS_PER_S // 1_000_000)


def _stamps(part: Part) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Place, (bits of the) time, and mask of the bits, 0 for all; in order of place."""
    found = []
    for message in part.messages:
        places, stamps = part.places(message), part.column(message, TIMESTAMP)[:, 0]
        found.append((places[np.isfinite(stamps)], stamps[np.isfinite(stamps)], 0))
    low = part.column(_MONITORING, _TIMESTAMP_16)[:, 0]
    found.append((part.places(_MONITORING)[np.isfinite(low)], low[np.isfinite(low)], 0xFFFF))
    compressed, seconds = part.compressed_seconds()
    found.append((compressed, seconds.astype(np.float64), 0x1F))
    places = np.concatenate([one[0] for one in found])
    times = np.concatenate([one[1] for one in found]).astype(np.int64)
    masks = np.concatenate([np.full(len(one[0]), one[2], dtype=np.int64) for one in found])
    order = np.argsort(places, kind="stable")
    return places[order], times[order], masks[order]
