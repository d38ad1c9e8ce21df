"""What cohorts of people with diabetes share: one word for each treatment, and how doses become tracks.

Words: `bolus` (rapid or regular insulin, U), `long_acting` (basal insulin by injection, U), `premixed`, `intermediate`,
`insulin_iv` (U), `carbs`, `protein`, `fat`, `fibre` (g), `drug_<name>` (mg), `meal` (eaten, amount unknown); and the
recording `insulin_rate` (U/h) of a pump.
"""

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_pipelines.readers._slow import Worn, averaged, events
from hdt_fm.schema.errors import ReaderError, UnitError
from hdt_fm.schema.recording import NS_PER_S, LabelTrack, Recording

# A stretch without a row is not known to have been in the mode before it.
_LONGEST_ROW_S = 1800


def require_files(found: Collection[object], folder: Path, expected: str) -> None:
    """Refuse a folder without the cohort's files.

    Raises:
        ReaderError: If there is none.
    """
    if not found:
        raise ReaderError(
            "The cohort's folder holds none of its files",
            where=str(folder),
            expected=expected,
            fix="point cohort.path to the data set's folder",
        )


def amounts(name: str, times_ns: NDArray[np.int64], values: NDArray[np.float64], unit: str) -> LabelTrack:
    """Events of what was given or eaten; zeros and empty cells are none."""
    return events(name, times_ns, np.where(values > 0, values, np.nan), unit)


def insulin_rate(
    times_ns: NDArray[np.int64], values: NDArray[np.float64], *, step_s: int, worn: Worn
) -> Recording | None:
    """A pump's basal rate in U/h on a grid; None where there is none, or most of it no pump can give."""
    known = np.isfinite(values)
    if not known.any():
        return None
    try:
        return averaged(
            times_ns[known],
            values[known],
            modality="insulin_rate",
            unit="U/h",
            channel="basal",
            step_s=step_s,
            worn=worn,
            where="basal rates",
        )
    except UnitError:
        return None


def held(
    times_ns: NDArray[np.int64], values: NDArray[np.float64], *, step_s: int, longest_s: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """A rate that holds until the next entry -> a value a step, for no longer than `longest_s` after an entry."""
    order = np.argsort(times_ns, kind="stable")
    times, values = times_ns[order], values[order]
    ends = np.minimum(np.append(times[1:], times[-1] + step_s * NS_PER_S), times + longest_s * NS_PER_S)
    counts = np.maximum(-(-(ends - times) // (step_s * NS_PER_S)), 1)
    place = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.repeat(times, counts) + place * step_s * NS_PER_S, np.repeat(values, counts)


def device_modes(
    times_ns: NDArray[np.int64], modes: NDArray[np.int64], classes: Sequence[str], *, step_s: int
) -> LabelTrack:
    """Rows that say the mode in force -> intervals of one mode each."""
    order = np.argsort(times_ns, kind="stable")
    times, modes = times_ns[order], modes[order]
    step, longest = step_s * NS_PER_S, _LONGEST_ROW_S * NS_PER_S
    gap = np.diff(times)
    new = np.concatenate([[True], (gap > longest) | (np.diff(modes) != 0)])
    first = np.flatnonzero(new)
    last = np.append(first[1:] - 1, len(times) - 1)
    following = np.append(times[1:], times[-1] + step)
    ends = np.where(following[last] - times[last] > longest, times[last] + step, following[last])
    return LabelTrack(
        "device_mode", "class", times[first], ends, modes[first].astype(np.float64), classes=tuple(classes)
    )
