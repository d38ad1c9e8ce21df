"""Where a modality's values lie and how far they spread, from given people only."""

import numpy as np
from numpy.typing import NDArray

from hdt_fm.data.selection import positions_of
from hdt_fm.data.shards import ShardFolder
from hdt_fm.schema.batch import Batch
from hdt_fm.schema.errors import SplitError
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
    positions = _some(folder, subject_rows, max_windows, seed)
    center = _median_over_windows(folder, positions, dict.fromkeys(folder.modalities, 0.0), distance=False)
    spread = _median_over_windows(
        folder, positions, {name: value or 0.0 for name, value in center.items()}, distance=True
    )
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


def _median_over_windows(
    folder: ShardFolder, positions: NDArray[np.int64], center: dict[str, float], *, distance: bool
) -> dict[str, float | None]:
    found: dict[str, list[float]] = {name: [] for name in folder.modalities}
    for start in range(0, len(positions), GATHER):
        batch = folder.gather(positions[start : start + GATHER])
        for name, signal in batch.signals.items():
            values = signal.values.numpy() - center[name]
            for row in np.flatnonzero(batch.column(name).numpy()):
                inside = values[row][:, signal.observed[row].numpy()]
                if inside.size:
                    found[name].append(float(np.median(np.abs(inside) if distance else inside)))
    return {name: float(np.median(medians)) if medians else None for name, medians in found.items()}
