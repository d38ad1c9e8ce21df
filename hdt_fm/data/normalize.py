"""Where a modality's values lie and how far they spread, from given people only."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from hdt_fm.data.selection import positions_of
from hdt_fm.data.shards import ShardFolder
from hdt_fm.schema.batch import Batch
from hdt_fm.schema.errors import SplitError
from hdt_fm.schema.modalities import STATIC
from hdt_fm.schema.permutation import keyed_permutation

GATHER = 64
# Median absolute deviation -> standard deviation of a normal distribution.
MAD_TO_SD = 1.4826


def input_statistics(
    folder: ShardFolder, subject_rows: NDArray[np.integer], max_windows: int = 2000, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """Robust (center, scale) per modality, in its canonical unit.

    The center is the median over windows of each window's median; the scale is 1.4826 times the median over
    windows of the median distance from that center. Unobserved samples do not count. A modality that these
    people do not have gets (0, 1); one that never changes gets scale 1.

    Args:
        subject_rows: The people to learn from. No other window is read.
        max_windows: Windows looked at, drawn by `seed`.

    Raises:
        SplitError: If these people have no window.
    """
    return joint_statistics([(folder, subject_rows, max_windows)], seed)


def joint_statistics(
    parts: Sequence[tuple[ShardFolder, NDArray[np.integer], int]], seed: int = 0
) -> dict[str, tuple[float, float]]:
    """`input_statistics` over several cohorts: the same medians, over the windows that are drawn of each.

    So a modality's numbers are those of the cohorts that have it, weighted by the windows drawn. Facts about people
    (`static`) have none: each column has its own, one value a person (see `covariates.py`).

    Args:
        parts: Of each cohort the folder, the people to learn from, and at most how many of their windows.

    Raises:
        SplitError: If the people of a cohort have no window.
    """
    drawn = [(folder, _some(folder, rows, count, seed)) for folder, rows, count in parts]
    names = list(dict.fromkeys(name for folder, _ in drawn for name in folder.modalities if name != STATIC))
    center = _median_over_windows(drawn, dict.fromkeys(names, 0.0), distance=False)
    spread = _median_over_windows(drawn, {name: value or 0.0 for name, value in center.items()}, distance=True)
    return {
        name: (0.0, 1.0) if value is None else (value, MAD_TO_SD * (spread[name] or 0.0) or 1.0)
        for name, value in center.items()
    }


def typical_windows(
    folder: ShardFolder, subject_rows: NDArray[np.integer], max_windows: int = 512, seed: int = 0
) -> Batch:
    """Windows of given people, drawn by `seed`, for what an encoder must know of typical windows.

    Raises:
        SplitError: If these people have no window.
    """
    return folder.gather(_some(folder, subject_rows, max_windows, seed))


def _some(folder: ShardFolder, subject_rows: NDArray[np.integer], count: int, seed: int) -> NDArray[np.int64]:
    positions = positions_of(folder, subject_rows)
    if not len(positions):
        raise SplitError("There is no window to take statistics from", fix="choose subjects that have windows")
    return np.sort(positions[keyed_permutation(len(positions), seed)[:count]])


def _gathered(drawn: Sequence[tuple[ShardFolder, NDArray[np.int64]]]) -> Iterable[Batch]:
    for folder, positions in drawn:
        for start in range(0, len(positions), GATHER):
            yield folder.gather(positions[start : start + GATHER])


def _median_over_windows(
    drawn: Sequence[tuple[ShardFolder, NDArray[np.int64]]], center: Mapping[str, float], *, distance: bool
) -> dict[str, float | None]:
    found: dict[str, list[float]] = {name: [] for name in center}
    for batch in _gathered(drawn):
        for name in found.keys() & batch.signals.keys():
            signal = batch.signals[name]
            values = signal.values.numpy() - center[name]
            for row in np.flatnonzero(batch.column(name).numpy()):
                inside = values[row][:, signal.observed[row].numpy()]
                if inside.size:
                    found[name].append(float(np.median(np.abs(inside) if distance else inside)))
    return {name: float(np.median(medians)) if medians else None for name, medians in found.items()}
