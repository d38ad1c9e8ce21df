"""Windows of a folder -> the series that they were cut from."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hdt_fm.data.shards import ShardFolder
from hdt_fm.schema.errors import ConfigError, unknown_name
from hdt_fm.schema.series import DAY_S, Series

PIECE = 4096
# Windows further apart than this begin another series: nothing is forecast across it.
APART_S = 2.0 * DAY_S
QUARTER_S = 900.0


def series_of(folder: ShardFolder, modality: str) -> list[Series]:
    """One channel of a modality, window by window put back on the grid of its recording.

    What no window holds was not observed. Windows that overlap say the same of what they share. Where the folder knows
    how far the local clock is ahead of UTC (`utc_offset`), a series says it of its beginning: where a clock is changed
    on the way, its time of day is an hour off from there on.

    Returns:
        Series in order of subject and time.

    Raises:
        UnknownNameError: If the folder does not have the modality.
        ConfigError: If it has several channels: a forecast is of one number.
    """
    columns = {column.name: column for column in folder.header.modalities}
    if modality not in columns:
        raise unknown_name("modality", modality, columns, where="shards")
    column = columns[modality]
    if column.channels != 1:
        raise ConfigError(
            "A series has one channel", where=modality, expected="a modality such as glucose", got=f"{column.channels}"
        )
    groups = _groups(folder)
    found: list[Series] = []
    for subject, positions in _people(folder, modality):
        group = groups[folder.manifest.subjects[subject].group]
        for part in _apart(folder, positions, 1 / column.sampling_rate_hz):
            found.append(_joined(folder, modality, part, 1 / column.sampling_rate_hz, subject, group))
    return found


def series_beside(folder: ShardFolder, other: ShardFolder, modality: str) -> list[Series]:
    """Series of another folder of the same cohort, with this folder's numbers of people; of those in both.

    Raises:
        UnknownNameError, ConfigError: As `series_of`.
    """
    number = {row.subject: place for place, row in enumerate(folder.manifest.subjects)}
    groups = _groups(folder)
    found = []
    for one in series_of(other, modality):
        own = number.get(other.manifest.subjects[one.subject].subject)
        if own is not None:
            found.append(replace(one, subject=own, group=groups[folder.manifest.subjects[own].group]))
    return found


def _groups(folder: ShardFolder) -> dict[str, int]:
    """Each group's number: its first person's."""
    return {row.group: number for number, row in reversed(list(enumerate(folder.manifest.subjects)))}


def _people(folder: ShardFolder, modality: str) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Positions that hold the modality, of each person in order of time."""
    held = np.flatnonzero(folder.present[:, folder.modalities.index(modality)])
    order = held[np.lexsort((folder.t0_ns[held], folder.subject_rows[held]))]
    people = folder.subject_rows[order]
    for subject in np.unique(people):
        yield int(subject), order[people == subject]


def _apart(folder: ShardFolder, positions: NDArray[np.int64], step_s: float) -> list[NDArray[np.int64]]:
    """Parts whose windows lie on one grid, no further apart than `APART_S`."""
    gap_s = np.diff(folder.t0_ns[positions]) / 1e9
    off = np.abs(gap_s / step_s - np.round(gap_s / step_s)) > 0.01
    return np.split(positions, np.flatnonzero(off | (gap_s > APART_S)) + 1)


def _joined(
    folder: ShardFolder, modality: str, positions: NDArray[np.int64], step_s: float, subject: int, group: int
) -> Series:
    start_ns = folder.t0_ns[positions[0]]
    places = np.round((folder.t0_ns[positions] - start_ns) / 1e9 / step_s).astype(np.int64)
    samples = next(column.samples for column in folder.header.modalities if column.name == modality)
    values = np.zeros(int(places[-1]) + samples, dtype=np.float32)
    observed = np.zeros(len(values), dtype=np.bool_)
    for first in range(0, len(positions), PIECE):
        signal = folder.gather(positions[first : first + PIECE]).signals[modality]
        rows, seen = signal.values[:, 0].numpy(), signal.observed.numpy()
        index = places[first : first + PIECE, None] + np.arange(samples)
        values[index[seen]], observed[index[seen]] = rows[seen], True
    offset_s = _utc_offset_s(folder, positions)
    return Series(values, observed, step_s, float(start_ns) / 1e9, subject, group, utc_offset_s=offset_s)


def _utc_offset_s(folder: ShardFolder, positions: NDArray[np.int64]) -> float:
    """What the first window that knows it says; 0 where none does, as of a clock that was read as UTC."""
    said = folder.labels["utc_offset"][positions] if "utc_offset" in folder.labels else np.empty(0)
    known = said[np.isfinite(said)]
    # A window in which the clock was changed holds a mean; clocks are quarters of an hour apart.
    return float(np.round(known[0] / QUARTER_S) * QUARTER_S) if len(known) else 0.0
