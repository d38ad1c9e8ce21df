"""Choose int16 steps per modality from training people, or float32 where int16 would lose something."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from data_pipelines.pack import I16_LIMIT
from data_pipelines.work import VisitFacts, WorkFiles, modality_columns
from hdt_fm.schema.preparation import Preparation
from hdt_fm.schema.shard import Encoding, ModalityColumn

MAX_CLIPPED = 1e-4
# Shares of a visit's samples left outside its range: single spikes must not set the step for everyone.
TAIL = 1e-5
HEADROOM = 1.25
# A step larger than this share of a typical window's spread is too coarse: float32 instead.
MAX_STEP_OF_SPREAD = 1 / 64


def choose_columns(
    preparation: Preparation,
    visits: Sequence[VisitFacts],
    training: Sequence[VisitFacts],
    files: WorkFiles,
    encoding: Encoding,
) -> tuple[ModalityColumn, ...]:
    """Columns of the shard folder with their encoding.

    Args:
        visits: Everyone; only how many samples would be clipped is taken from them.
        training: Whose numbers choose step and offset.
        encoding: `f32` leaves all float32.
    """
    columns = modality_columns(preparation)
    if encoding == "f32":
        return columns
    return tuple(_choose(column, visits, training, files) for column in columns)


def _choose(
    column: ModalityColumn, visits: Sequence[VisitFacts], training: Sequence[VisitFacts], files: WorkFiles
) -> ModalityColumn:
    ranges = [part for visit in training if (part := _range(files.members(visit), column.name)) is not None]
    if not ranges:
        return column
    low, high = min(part[0] for part in ranges), max(part[1] for part in ranges)
    # Rounded to float32 here, since that is what the reader multiplies with.
    offset = float(np.float32((low + high) / 2))
    lsb = float(np.float32((high - low) / 2 * HEADROOM / I16_LIMIT))
    spread = float(np.median([part[2] for part in ranges]))
    fine = lsb > np.finfo(np.float32).eps * abs(offset) and lsb <= spread * MAX_STEP_OF_SPREAD
    if not fine or _clipped_share(column.name, visits, files, lsb=lsb, offset=offset) > MAX_CLIPPED:
        return column
    return column.model_copy(update={"encoding": "i16", "lsb": lsb, "offset": offset})


def _observed_values(members: dict[str, np.ndarray], name: str) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    values = members[name]
    return values, np.unpackbits(members[f"{name}_observed"], axis=1, count=values.shape[2]).astype(np.bool_)


def _range(members: dict[str, np.ndarray], name: str) -> tuple[float, float, float] | None:
    """Low and high tail of the observed samples, and the median over windows of their spread."""
    if name not in members:
        return None
    values, observed = _observed_values(members, name)
    flat = np.moveaxis(values, 1, 2)[observed].astype(np.float64)
    low, high = np.quantile(flat, [TAIL, 1 - TAIL])
    counts = np.maximum(observed.sum(axis=1), 1)[:, None]
    mean = values.sum(axis=2, dtype=np.float64) / counts
    square = np.square(np.where(observed[:, None], values - mean[:, :, None], 0)).sum(axis=2) / counts
    return float(low), float(high), float(np.sqrt(np.median(square[observed.any(axis=1)])))


def _clipped_share(name: str, visits: Sequence[VisitFacts], files: WorkFiles, *, lsb: float, offset: float) -> float:
    clipped = total = 0
    for visit in visits:
        members = files.members(visit)
        if name in members:
            values, observed = _observed_values(members, name)
            outside = (np.abs(values.astype(np.float64) - offset) > (I16_LIMIT + 0.5) * lsb) & observed[:, None]
            clipped, total = clipped + int(outside.sum()), total + int(observed.sum()) * values.shape[1]
    return clipped / max(total, 1)
