"""Pass 2 of a build: the plan on disk, and the task that packs one shard by it."""

import hashlib
import hmac
import io
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from data_pipelines.durably import array_bytes, first_wins, write_durably
from data_pipelines.engine.task import Engine, Task
from data_pipelines.engine.wait import row_of
from data_pipelines.pack import Block, Packed, quantise, write_shard
from data_pipelines.plan import Plan
from data_pipelines.work import digest_of, file_digest, put_shard
from data_pipelines.work_place import WorkFiles, WorkPlace, work_files
from hdt_fm.schema.preparation import Plain
from hdt_fm.schema.shard import ModalityColumn, ShardEntry, ShardHeader
from hdt_fm.schema.shard_seal import Seal
from hdt_fm.schema.subject import SubjectKey

MAX_BLOCK_BYTES = 16 << 20
WEEK_NS = 7 * 86_400 * 1_000_000_000
# Up to twenty years back: whole weeks keep the weekday and nearly the season.
MAX_SHIFT_WEEKS = 1040
PLAN_NAME, VISITS_NAME, ROW_NAME = "plan.json", "visits.npy", "row.json"
_VISIT = np.dtype([("digest", "S32"), ("subject", "<i4"), ("first", "<i8"), ("shift", "<i8")])


class PackedShard(Plain):
    """What the task that packs a shard gives back.

    Attributes:
        seal: Of a sealed shard, which lies in `sealed_place` until all are made.
    """

    entry: ShardEntry
    seal: Seal | None = None


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
    work: WorkPlace,
    out: Path,
    *,
    name: str,
    block_windows: int,
    shard_bytes: int,
    key: SubjectKey,
    engine: Engine,
    report: Callable[[int, int, str], None],
) -> tuple[dict[str, tuple[ShardEntry, ...]], dict[str, Seal]]:
    """Write every shard below `out`; one that an earlier run finished is taken as it is.

    Returns:
        Entries by split; seals by path where they are sealed.
    """
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
    _write_plan(plan, common, work, out, key)
    tasks = {
        digest_of([out.name, split, shard]): (split, shard)
        for split in plan.splits
        for shard in range(common.shards(split))
    }
    for task, (split, shard) in tasks.items():
        engine.submit(Task(task, partial(pack_one, work, out, split, shard)))
    rows: dict[tuple[str, int], ShardEntry] = {}
    seals: dict[str, Seal] = {}
    blocks, done = sum(common.blocks(split) for split in plan.splits), 0
    for end in engine.as_completed():
        row: PackedShard = row_of(end, "packing a shard")
        rows[tasks[end.name]] = row.entry
        if row.seal is not None:
            seals[row.entry.path] = row.seal
        done += row.entry.blocks
        report(done, blocks, "pack")
    for split, shard in rows if seals else ():
        _into_place(out, split, shard, common.path(split, shard))
    entries = {split: tuple(rows[split, shard] for shard in range(common.shards(split))) for split in plan.splits}
    return entries, seals


def sealed_place(out: Path, split: str, shard: int) -> Path:
    """Where a sealed shard, its index and its row are made: all of one process, since another's bytes would differ."""
    return out / f"sealed-{split}-{shard:05d}"


def _into_place(out: Path, split: str, shard: int, path: str) -> None:
    made, target = sealed_place(out, split, shard), out / path
    for name in (target.with_suffix(".idx").name, target.name):
        # One that is not there was moved by a run that was interrupted afterwards.
        if (made / name).exists():
            os.replace(made / name, target.with_name(name))


def _write_plan(plan: Plan, common: ShardPlan, work: WorkPlace, out: Path, key: SubjectKey) -> None:
    """What tasks read instead of being sent it; the secret stays here, since each person's shift is enough."""
    visits = np.zeros(len(plan.visits), dtype=_VISIT)
    visits["digest"] = [visit.digest.encode() for visit in plan.visits]
    visits["subject"], visits["first"] = plan.subject_row, plan.first_id
    visits["shift"] = [_shift_ns(key, visit.subject) for visit in plan.visits]
    for split, places in plan.splits.items():
        (out / split).mkdir(parents=True, exist_ok=True)
        # It tells numbers of visits and nothing of them.
        write_durably(out / f"order_{split}.npy", array_bytes(np.stack([places.visit, places.row])))
    work.write(out / VISITS_NAME, array_bytes(visits))
    work.write(out / PLAN_NAME, common.model_dump_json().encode())


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
def _read_plan(work: WorkPlace, out: Path, split: str) -> _OnDisk:
    common = ShardPlan.model_validate_json(work.read(out / PLAN_NAME))
    visits = np.load(io.BytesIO(work.read(out / VISITS_NAME)), allow_pickle=False)
    return _OnDisk(common, visits, np.load(out / f"order_{split}.npy", mmap_mode="r", allow_pickle=False))


def pack_one(work: WorkPlace, out: Path, split: str, shard: int) -> PackedShard:
    """The task: one shard, written or found."""
    plan = _read_plan(work, out, split)
    common, numbers = plan.common, plan.common.numbers(split, shard)
    path = out / common.path(split, shard)
    if work.to:
        return _pack_sealed(plan, work, sealed_place(out, split, shard), common.path(split, shard), numbers)
    if path.exists():
        packed = Packed(path.stat().st_size, file_digest(path), common.windows_of(split, shard), len(numbers))
    else:
        packed = put_shard(path, common.header, _blocks(plan, work_files(work), numbers), private=work.folder)
    return _row(packed, common.path(split, shard))


def _row(packed: Packed, path: str) -> PackedShard:
    told = ShardEntry(path=path, bytes=packed.bytes, sha256=packed.sha256, windows=packed.windows, blocks=packed.blocks)
    return PackedShard(entry=told, seal=packed.seal)


def _pack_sealed(plan: _OnDisk, work: WorkPlace, made: Path, path: str, numbers: range) -> PackedShard:
    def fill(own: Path) -> None:
        blocks = _blocks(plan, work_files(work), numbers)
        packed = write_shard(own / PurePosixPath(path).name, plan.common.header, blocks, to=work.to)
        write_durably(own / ROW_NAME, _row(packed, path).model_dump_json().encode())

    if not any(one.exists() for one in (made / PurePosixPath(path).name, made.parent / path)):
        # Published by a run that was interrupted, and taken back.
        shutil.rmtree(made, ignore_errors=True)
    first_wins(made, fill)
    return PackedShard.model_validate_json((made / ROW_NAME).read_bytes())


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
            (*files.picked(visits["digest"][visit[places[0]]].decode(), row[places]), places)
            for places in np.split(order, np.flatnonzero(np.diff(visit[order])) + 1)
        ]

    def take(self, member: str, shape: tuple[int, ...], dtype: type, missing: float = 0) -> np.ndarray:
        """The member in the windows' order; `missing` where a visit does not have it."""
        out: np.ndarray = np.full((self.size, *shape), missing, dtype=dtype)
        for members, rows, places in self._parts:
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
