"""Pass 2 of a build: which window goes where, and the packing of each shard."""

import hashlib
import hmac
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_pipelines.pack import Block, Packed, quantise, write_shard
from data_pipelines.work import VisitFacts, WorkFiles, file_digest
from hdt_fm.schema.errors import ShardError, SplitError
from hdt_fm.schema.permutation import keyed_permutation
from hdt_fm.schema.preparation import Preparation
from hdt_fm.schema.shard import LabelColumn, ModalityColumn, ShardEntry, ShardHeader, SubjectRow
from hdt_fm.schema.subject import SubjectKey

MAX_BLOCK_BYTES = 16 << 20
WEEK_NS = 7 * 86_400 * 1_000_000_000
# Up to twenty years back: whole weeks keep the weekday and nearly the season.
MAX_SHIFT_WEEKS = 1040


@dataclass(frozen=True)
class Places:
    """Windows of one split in the order they are written: visit by number, row in its work file."""

    visit: NDArray[np.int64]
    row: NDArray[np.int64]


@dataclass(frozen=True)
class Plan:
    """Where each window goes.

    Attributes:
        first_id: Window id of each visit's first window.
        subject_row: Row of `subjects` per visit.
        training: Visits whose numbers may choose an encoding: the split `train`, or all if there is none.
    """

    visits: tuple[VisitFacts, ...]
    splits: Mapping[str, Places]
    subjects: tuple[SubjectRow, ...]
    subject_row: NDArray[np.int32]
    first_id: NDArray[np.int64]
    training: tuple[VisitFacts, ...]
    labels: tuple[LabelColumn, ...]

    def header(self, columns: Sequence[ModalityColumn], preparation: Preparation) -> ShardHeader:
        return ShardHeader(
            modalities=tuple(columns),
            labels=self.labels,
            window_s=preparation.window_s,
            hop_s=preparation.hop_s,
        )


def make_plan(visits: Sequence[VisitFacts], *, shares: Mapping[str, float], seed: int) -> Plan:
    """Assign people to splits and windows to places: a seeded permutation over the whole split mixes people.

    Raises:
        SplitError: If a split would hold no window.
        ShardError: If visits disagree about a label or about a person.
    """
    subjects = _subject_table(visits)
    rows = {subject.subject: row for row, subject in enumerate(subjects)}
    home = np.array([_split_of(visit.group, shares, seed) for visit in visits])
    counts = np.array([visit.windows for visit in visits], dtype=np.int64)
    places = {}
    for part, split in enumerate(shares):
        members = np.flatnonzero(home == part)
        visit = np.repeat(members, counts[members])
        if not len(visit):
            raise SplitError(
                f"Split {split!r} would be empty",
                got=f"{len(subjects)} people, shares {dict(shares)}",
                fix="give it a larger share, use another seed, or split later by subject",
            )
        row = np.concatenate([np.arange(count) for count in counts[members]])
        order = keyed_permutation(len(visit), seed, part=part)
        places[split] = Places(visit[order], row[order])
    train = list(shares).index("train") if "train" in shares else None
    return Plan(
        visits=tuple(visits),
        splits=places,
        subjects=subjects,
        subject_row=np.array([rows[visit.subject] for visit in visits], dtype=np.int32),
        first_id=np.concatenate([[0], np.cumsum(counts)[:-1]]),
        training=tuple(v for v, split in zip(visits, home, strict=True) if train is None or split == train),
        labels=_label_table(visits),
    )


def _split_of(group: str, shares: Mapping[str, float], seed: int) -> int:
    digest = hashlib.sha256(f"{seed}\x1f{group}".encode()).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64
    return min(int(np.searchsorted(np.cumsum(list(shares.values())), place, side="right")), len(shares) - 1)


def _subject_table(visits: Sequence[VisitFacts]) -> tuple[SubjectRow, ...]:
    rows: dict[str, SubjectRow] = {}
    for visit in visits:
        old = rows.get(visit.subject) or SubjectRow(
            subject=visit.subject, group=visit.group, windows=0, hours=0.0, covariates=visit.covariates
        )
        if old.group != visit.group or old.covariates != visit.covariates:
            raise ShardError(
                "Two visits of one person differ in group or covariates",
                where=f"subject {visit.subject}",
                fix="correct the subject table of the cohort, or give different people different ids",
            )
        rows[visit.subject] = old.model_copy(
            update={"windows": old.windows + visit.windows, "hours": round(old.hours + visit.hours, 6)}
        )
    return tuple(rows[subject] for subject in sorted(rows))


def _label_table(visits: Sequence[VisitFacts]) -> tuple[LabelColumn, ...]:
    table: dict[str, LabelColumn] = {}
    for visit in visits:
        for label in visit.labels:
            if table.setdefault(label.name, label) != label:
                raise ShardError(
                    f"Visits disagree about label {label.name!r}",
                    expected="one kind, unit and list of classes in all visits",
                    fix="make the cohort give the same label track everywhere, or rename one of them",
                )
    return tuple(table[name] for name in sorted(table))


def pack_plan(
    plan: Plan,
    files: WorkFiles,
    header: ShardHeader,
    out: Path,
    *,
    name: str,
    block_windows: int,
    shard_bytes: int,
    key: SubjectKey,
    report: Callable[[int, int, str], None],
) -> dict[str, tuple[ShardEntry, ...]]:
    """Write every shard below `out`; one that an earlier run finished is taken as it is."""
    window_bytes = sum(
        c.channels * c.samples * (2 if c.encoding == "i16" else 4) + c.samples // 8 for c in header.modalities
    )
    size = max(1, min(block_windows, MAX_BLOCK_BYTES // window_bytes))
    per_shard = max(1, shard_bytes // (size * window_bytes))
    shifts = np.array([_shift_ns(key, visit.subject) for visit in plan.visits], dtype=np.int64)
    total = sum(-(-len(places.row) // size) for places in plan.splits.values())
    entries: dict[str, tuple[ShardEntry, ...]] = {}
    done = 0
    for split, places in plan.splits.items():
        (out / split).mkdir(parents=True, exist_ok=True)
        blocks = -(-len(places.row) // size)
        shards = []
        for number, first in enumerate(range(0, blocks, per_shard)):
            path = out / split / f"{name}-{number:05d}.tar"
            last = min(first + per_shard, blocks)
            if path.exists():
                windows = min(last * size, len(places.row)) - first * size
                packed = Packed(path.stat().st_size, file_digest(path), windows, last - first)
            else:
                packed = write_shard(
                    path, header, _blocks(plan, files, header, places, range(first, last), size, shifts)
                )
            shards.append(
                ShardEntry(
                    path=f"{split}/{path.name}",
                    bytes=packed.bytes,
                    sha256=packed.sha256,
                    windows=packed.windows,
                    blocks=packed.blocks,
                )
            )
            done += last - first
            report(done, total, "pack")
        entries[split] = tuple(shards)
    return entries


def _shift_ns(key: SubjectKey, subject: str) -> int:
    """Secret whole weeks by which all times of a person go back."""
    digest = hmac.new(key.secret, f"date shift\x1f{subject}".encode(), hashlib.sha256).digest()
    return (1 + int.from_bytes(digest[:8], "big") % MAX_SHIFT_WEEKS) * WEEK_NS


class _Picker:
    """Takes one member after another of the same windows from their visits' work files."""

    def __init__(self, plan: Plan, files: WorkFiles, visit: NDArray[np.int64], row: NDArray[np.int64]) -> None:
        order = np.argsort(visit, kind="stable")
        self.size = len(visit)
        self._parts = [
            (files.members(plan.visits[visit[places[0]]]), places, row[places])
            for places in np.split(order, np.flatnonzero(np.diff(visit[order])) + 1)
        ]

    def take(self, member: str, shape: tuple[int, ...], dtype: type, missing: float = 0) -> np.ndarray:
        """The member in the windows' order; `missing` where a visit does not have it."""
        out: np.ndarray = np.full((self.size, *shape), missing, dtype=dtype)
        for members, places, rows in self._parts:
            if member in members:
                out[places] = members[member][rows]
        return out


def _blocks(
    plan: Plan,
    files: WorkFiles,
    header: ShardHeader,
    places: Places,
    numbers: range,
    size: int,
    shifts: NDArray[np.int64],
) -> Iterator[Block]:
    for number in numbers:
        here = slice(number * size, (number + 1) * size)
        visit, row = places.visit[here], places.row[here]
        picker = _Picker(plan, files, visit, row)
        mask = picker.take("mask", (len(header.modalities),), np.uint8)
        members: dict[str, np.ndarray] = {}
        for column, modality in enumerate(header.modalities):
            if mask[:, column].any():
                members |= _modality(picker, modality, mask[:, column])
        members["mask"] = mask
        members["sqi"] = picker.take("sqi", (len(header.modalities),), np.float16)
        members["wid"] = plan.first_id[visit] + row
        members["subj"] = plan.subject_row[visit]
        members["t0"] = picker.take("t0", (), np.int64) - shifts[visit]
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
