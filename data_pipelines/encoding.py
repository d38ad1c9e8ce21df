"""Choose int16 steps per modality from training people, or float32 where int16 would lose something."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from data_pipelines.engine.task import Engine, Task
from data_pipelines.engine.wait import rows_of
from data_pipelines.pack import I16_LIMIT
from data_pipelines.ranges import Range, clipped_of
from data_pipelines.work import VisitFacts, digest_of
from data_pipelines.work_place import WorkPlace, work_files
from hdt_fm.schema.shard import ModalityColumn

MAX_CLIPPED = 1e-4
HEADROOM = 1.25
# A step larger than this share of a typical window's spread is too coarse: float32 instead.
MAX_STEP_OF_SPREAD = 1 / 64
# A step of this part of the noise adds 0.07 of it, as rms.
STEPS_OF_NOISE = 4
# Windows whose clipped samples one task counts.
WINDOWS_A_TASK = 20_000


def choose_steps(
    columns: Sequence[ModalityColumn],
    visits: Sequence[VisitFacts],
    training: Sequence[VisitFacts],
    work: WorkPlace,
    engine: Engine,
) -> tuple[ModalityColumn, ...]:
    """float32 columns -> int16 ones where nothing is lost by it.

    Args:
        visits: Everyone; only how many samples would be clipped is taken from them.
        training: Whose numbers choose step and offset.
        work: Where the work files lie.
    """
    asked = [column for plain in columns if (column := _stepped(plain, training)) is not None]
    clipped = _clipped(asked, visits, work, engine)
    chosen = {column.name: column for column in asked if clipped[column.name] <= MAX_CLIPPED}
    return tuple(chosen.get(column.name, column) for column in columns)


def _stepped(column: ModalityColumn, training: Sequence[VisitFacts]) -> ModalityColumn | None:
    """The column as int16; None where the step would be too coarse or nobody has the modality."""
    ranges: list[Range] = [visit.ranges[column.name] for visit in training if column.name in visit.ranges]
    if not ranges:
        return None
    low, high = min(part.low for part in ranges), max(part.high for part in ranges)
    # Rounded to float32 here, since that is what the reader multiplies with.
    offset = float(np.float32((low + high) / 2))
    lsb = float(np.float32((high - low) / 2 * HEADROOM / I16_LIMIT))
    spread = float(np.median([part.spread for part in ranges]))
    if column.codec != "none":
        # Bits below the noise cost room in a packed member and none in a plain one.
        coarse = min(min(part.noise for part in ranges) / STEPS_OF_NOISE, spread * MAX_STEP_OF_SPREAD)
        lsb = max(lsb, float(np.nextafter(np.float32(coarse), np.float32(0))))
    if not (lsb > np.finfo(np.float32).eps * abs(offset) and lsb <= spread * MAX_STEP_OF_SPREAD):
        return None
    return column.model_copy(update={"encoding": "i16", "lsb": lsb, "offset": offset})


def _clipped(
    columns: Sequence[ModalityColumn], visits: Sequence[VisitFacts], work: WorkPlace, engine: Engine
) -> dict[str, float]:
    """Share of samples that each column's step cannot hold."""
    totals = {column.name: np.zeros(2, dtype=np.int64) for column in columns}
    if columns:
        for share in _shares(visits):
            name = digest_of([share, [column.model_dump() for column in columns]])
            engine.submit(Task(name, partial(count_clipped, work, share, tuple(columns))))
        for row in rows_of(engine, "counting what int16 cannot hold"):
            for column, counts in row.items():
                totals[column] += counts
    return {name: int(clipped) / max(int(total), 1) for name, (clipped, total) in totals.items()}


def _shares(visits: Sequence[VisitFacts]) -> list[tuple[str, ...]]:
    shares: list[list[str]] = [[]]
    windows = 0
    for visit in visits:
        if windows + visit.windows > WINDOWS_A_TASK and shares[-1]:
            shares.append([])
            windows = 0
        if visit.windows:
            shares[-1].append(visit.digest)
            windows += visit.windows
    return [tuple(share) for share in shares]


def count_clipped(
    work: WorkPlace, digests: tuple[str, ...], columns: tuple[ModalityColumn, ...]
) -> dict[str, tuple[int, int]]:
    """The task: over some visits, by modality."""
    counts = {column.name: np.zeros(2, dtype=np.int64) for column in columns}
    for digest in digests:
        members = work_files(work).members(digest)
        for column in columns:
            counts[column.name] += clipped_of(members, column)
    return {name: (int(clipped), int(total)) for name, (clipped, total) in counts.items()}
