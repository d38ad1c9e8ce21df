"""What the int16 step of a modality rests on: the range of each visit, and how much lies outside a range."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from data_pipelines.pack import I16_LIMIT
from hdt_fm.schema.preparation import Plain
from hdt_fm.schema.shard import ModalityColumn

# Shares of a visit's samples left outside its range: single spikes must not set the step for everyone.
TAIL = 1e-5


class Range(Plain):
    """Low and high tail of a visit's observed samples, the median over windows of their spread, and the noise.

    Attributes:
        noise: Standard deviation of white noise whose third difference would be as large as the typical one here; a
            signal that moves slowly against its sampling has next to none of its own.
    """

    low: float
    high: float
    spread: float
    noise: float


def range_of(members: Mapping[str, np.ndarray], name: str) -> Range | None:
    """Of one modality of one visit's work members; None where the visit does not have it."""
    if name not in members:
        return None
    values, observed = _observed_values(members, name)
    flat = np.moveaxis(values, 1, 2)[observed].astype(np.float64)
    low, high = np.quantile(flat, [TAIL, 1 - TAIL])
    counts = np.maximum(observed.sum(axis=1), 1)[:, None]
    mean = values.sum(axis=2, dtype=np.float64) / counts
    square = np.square(np.where(observed[:, None], values - mean[:, :, None], 0)).sum(axis=2) / counts
    spread = float(np.sqrt(np.median(square[observed.any(axis=1)])))
    return Range(low=float(low), high=float(high), spread=spread, noise=_noise(values, observed))


def _noise(values: NDArray[np.float32], observed: NDArray[np.bool_]) -> float:
    third = np.abs(np.diff(values.astype(np.float64), n=3, axis=2))
    # Across a hole there is no difference.
    known = observed[:, 3:] & observed[:, 2:-1] & observed[:, 1:-2] & observed[:, :-3]
    typical = third[np.broadcast_to(known[:, None], third.shape)]
    # The median of |x| of a normal x, and the root of 1 + 9 + 9 + 1.
    return float(np.median(typical) / 0.6745 / np.sqrt(20)) if len(typical) else 0.0


def clipped_of(members: Mapping[str, np.ndarray], column: ModalityColumn) -> tuple[int, int]:
    """Samples that the column's step cannot hold, and all of them."""
    if column.name not in members:
        return 0, 0
    values, observed = _observed_values(members, column.name)
    far = np.abs(values.astype(np.float64) - column.offset) > (I16_LIMIT + 0.5) * column.lsb
    return int((far & observed[:, None]).sum()), int(observed.sum()) * values.shape[1]


def _observed_values(members: Mapping[str, np.ndarray], name: str) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    values = members[name]
    return values, np.unpackbits(members[f"{name}_observed"], axis=1, count=values.shape[2]).astype(np.bool_)
