"""Pass 2 of a build: the plan on disk, and the task that packs one shard by it."""

import hashlib
import hmac
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_pipelines.engine.task import Engine, Task
from data_pipelines.engine.wait import row_of
from data_pipelines.pack import Block, Packed, quantise
from data_pipelines.plan import Plan
from data_pipelines.work import WorkFiles, digest_of, file_digest, put_shard, work_files, write_array, write_durably
from hdt_fm.schema.preparation import Plain
from hdt_fm.schema.shard import ModalityColumn, ShardEntry, ShardHeader
from hdt_fm.schema.subject import SubjectKey

MAX_BLOCK_BYTES = 16 << 20
WEEK_NS = 7 * 86_400 * 1_000_000_000
# Up to twenty years back: whole weeks keep the weekday and nearly the season.
MAX_SHIFT_WEEKS = 1040
PLAN_NAME, VISITS_NAME = "plan.json", "visits.npy"
_VISIT = np.dtype([("digest", "S32"), ("subject", "<i4"), ("first", "<i8"), ("shift", "<i8")])


class ShardPlan(Plain):
    """`plan.json`: what all shards have in common.

    Attributes:
        name: Stem of their files.
        size: Windows in a block.
        per_shard: Blocks in a shard.
        windows: By split.
    """

    header: ShardHeader
    name: str
    size: int
    per_shard: int
    windows: dict[str, int]

    def blocks(self, split: str) -> int:
        return -(-self.windows[split] // self.size)

    def shards(self, split: str) -> int:
        return -(-self.blocks(split) // self.per_shard)

    def numbers(self, split: str, shard: int) -> range:
        """Blocks of one shard."""
        return range(shard * self.per_shard, min((shard + 1) * self.per_shard, self.blocks(split)))

    def windows_of(self, split: str, shard: int) -> int:
        numbers = self.numbers(split, shard)
        return min(numbers.stop * self.size, self.windows[split]) - numbers.start * self.size

    def path(self, split: str, shard: int) -> str:
        return f"{split}/{self.name}-{shard:05d}.tar"


def pack_all(
    plan: Plan,
    header: ShardHeader,
    work: Path,
    out: Path,
    *,
    name: str,
    block_windows: int,
    shard_bytes: int,
    key: SubjectKey,
    engine: Engine,
    report: Callable[[int, int, str], None],
) -> dict[str, tuple[ShardEntry, ...]]:
    """Write every shard below `out`; one that an earlier run finished is taken as it is."""
    window_bytes = sum(
        c.channels * c.samples * (2 if c.encoding == "i16" else 4) + c.samples // 8 for c in header.modalities
    )
    size = max(1, min(block_windows, MAX_BLOCK_BYTES // window_bytes))
    common = ShardPlan(
        header=header,
        name=name,
        size=size,
        per_shard=max(1, shard_bytes // (size * window_bytes)),
        windows={split: len(places.row) for split, places in plan.splits.items()},
    )
    _write_plan(plan, common, out, key)
    tasks = {
        digest_of([out.name, split, shard]): (split, shard)
        for split in plan.splits
        for shard in range(common.shards(split))
    }
    for task, (split, shard) in tasks.items():
        engine.submit(Task(task, partial(pack_one, work, out, split, shard)))
    rows: dict[tuple[str, int], ShardEntry] = {}
    blocks, done = sum(common.blocks(split) for split in plan.splits), 0
    for end in engine.as_completed():
        entry: ShardEntry = row_of(end, "packing a shard")
        rows[tasks[end.name]] = entry
        done += entry.blocks
        report(done, blocks, "pack")
    return {split: tuple(rows[split, shard] for shard in range(common.shards(split))) for split in plan.splits}


def _write_plan(plan: Plan, common: ShardPlan, out: Path, key: SubjectKey) -> None:
    """What tasks read instead of being sent it; the secret stays here, since each person's shift is enough."""
    visits = np.zeros(len(plan.visits), dtype=_VISIT)
    visits["digest"] = [visit.digest.encode() for visit in plan.visits]
    visits["subject"], visits["first"] = plan.subject_row, plan.first_id
    visits["shift"] = [_shift_ns(key, visit.subject) for visit in plan.visits]
    for split, places in plan.splits.items():
        (out / split).mkdir(parents=True, exist_ok=True)
        write_array(out / f"order_{split}.npy", np.stack([places.visit, places.row]))
    write_array(out / VISITS_NAME, visits)
    write_durably(out / PLAN_NAME, common.model_dump_json().encode())


def _shift_ns(key: SubjectKey, subject: str) -> int:
    """Secret whole weeks by which all times of a person go back."""
    digest = hmac.new(key.secret, f"date shift\x1f{subject}".encode(), hashlib.sha256).digest()
    return (1 + int.from_bytes(digest[:8], "big") % MAX_SHIFT_WEEKS) * WEEK_NS


@dataclass(frozen=True)
class _OnDisk:
    """A plan as a task finds it; the orders are mapped."""

    common: ShardPlan
    visits: np.ndarray
    order: NDArray[np.int64]


@lru_cache(maxsize=4)
def _read_plan(out: Path, split: str) -> _OnDisk:
    common = ShardPlan.model_validate_json((out / PLAN_NAME).read_bytes())
    visits = np.load(out / VISITS_NAME, allow_pickle=False)
    return _OnDisk(common, visits, np.load(out / f"order_{split}.npy", mmap_mode="r", allow_pickle=False))


def pack_one(work: Path, out: Path, split: str, shard: int) -> ShardEntry:
    """The task: one shard, written or found."""
    plan = _read_plan(out, split)
    common, numbers = plan.common, plan.common.numbers(split, shard)
    path = out / common.path(split, shard)
    if path.exists():
        packed = Packed(path.stat().st_size, file_digest(path), common.windows_of(split, shard), len(numbers))
    else:
        packed = put_shard(path, common.header, _blocks(plan, work_files(work), numbers), private=work)
    return ShardEntry(
        path=common.path(split, shard),
        bytes=packed.bytes,
        sha256=packed.sha256,
        windows=packed.windows,
        blocks=packed.blocks,
    )


def forget_plans() -> None:
    """Close what tasks in this process kept open."""
    _read_plan.cache_clear()
    work_files.cache_clear()


class _Picker:
    """Takes one member after another of the same windows from their visits' work files."""

    def __init__(self, visits: np.ndarray, files: WorkFiles, visit: NDArray[np.int64], row: NDArray[np.int64]) -> None:
        order = np.argsort(visit, kind="stable")
        self.size = len(visit)
        self._parts = [
            (files.members(visits["digest"][visit[places[0]]].decode()), places, row[places])
            for places in np.split(order, np.flatnonzero(np.diff(visit[order])) + 1)
        ]

    def take(self, member: str, shape: tuple[int, ...], dtype: type, missing: float = 0) -> np.ndarray:
        """The member in the windows' order; `missing` where a visit does not have it."""
        out: np.ndarray = np.full((self.size, *shape), missing, dtype=dtype)
        for members, places, rows in self._parts:
            if member in members:
                out[places] = members[member][rows]
        return out


def _blocks(plan: _OnDisk, files: WorkFiles, numbers: range) -> Iterator[Block]:
    header, size = plan.common.header, plan.common.size
    for number in numbers:
        visit, row = np.array(plan.order[:, number * size : (number + 1) * size])
        picker = _Picker(plan.visits, files, visit, row)
        mask = picker.take("mask", (len(header.modalities),), np.uint8)
        members: dict[str, np.ndarray] = {}
        for column, modality in enumerate(header.modalities):
            if mask[:, column].any():
                members |= _modality(picker, modality, mask[:, column])
        members["mask"] = mask
        members["sqi"] = picker.take("sqi", (len(header.modalities),), np.float16)
        members["wid"] = plan.visits["first"][visit] + row
        members["subj"] = plan.visits["subject"][visit]
        members["t0"] = picker.take("t0", (), np.int64) - plan.visits["shift"][visit]
        for label in header.labels:
            members[f"y_{label.name}"] = picker.take(f"y_{label.name}", (), np.float32, np.nan)
        yield number, members


def _modality(picker: _Picker, column: ModalityColumn, mask: NDArray[np.uint8]) -> dict[str, np.ndarray]:
    """The values of a block as they are stored, and the observed bits if a present window has a hole."""
    values = picker.take(column.name, (column.channels, column.samples), np.float32)
    bits = picker.take(f"{column.name}_observed", (-(-column.samples // 8),), np.uint8)
    observed = np.unpackbits(bits, axis=1, count=column.samples).astype(np.bool_)
    members = {column.name: values}
    if column.encoding == "i16":
        members[column.name] = quantise(values, observed, lsb=column.lsb, offset=column.offset)
    if not observed[mask.astype(np.bool_)].all():
        members[f"{column.name}_observed"] = bits
    return members
