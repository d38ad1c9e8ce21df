"""A shard folder -> batches, by memory map: no tar parsing, no copy but the one into the batch."""

import copy
import hashlib
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from hdt_fm.data.covariates import StaticTable, static_column
from hdt_fm.data.gather import ModalityRows
from hdt_fm.data.held import HeldArrays, held_bytes
from hdt_fm.data.remote import RemoteFolder, place_of
from hdt_fm.data.remote_tar import fetch_ahead, prepare
from hdt_fm.data.rows import RowPlan
from hdt_fm.data.shard_file import FACTS, ShardFile, Verify, blocks_of
from hdt_fm.data.slots import Fresh, Room
from hdt_fm.schema.batch import Batch, Signal
from hdt_fm.schema.coded import CodedBatch, CodedSignal
from hdt_fm.schema.covariates import Covariate
from hdt_fm.schema.errors import LeakError, ShardError
from hdt_fm.schema.modalities import STATIC
from hdt_fm.schema.npy import DTYPES
from hdt_fm.schema.shard import ShardManifest
from hdt_fm.schema.shard_manifest import entries_of, local_manifest, manifest_bytes, parse_manifest
from hdt_fm.schema.shard_people import FIX, strangers
from hdt_fm.schema.shard_seal import Sealed


class ShardFolder:
    """Windows of one split of a shard folder, by position 0 .. windows - 1.

    Revoked windows have no position. Made by `ShardFolder.open`.

    Attributes:
        manifest, header: What the folder says of itself.
        digest: SHA-256 of the manifest; two folders with equal digests hold equal windows. That of a sealed folder is
            the one that it has lying plain.
        window_ids, subject_rows, t0_ns: One entry per position.
        present: (position, modality).
        quality: (position, modality): share of the window's samples, as read, without a sign of trouble.
        labels: One value per position; NaN where unknown.
        block_of: Number of the block (over the split) that holds each position; rising.
    """

    def __init__(
        self,
        place: Path | RemoteFolder,
        manifest: ShardManifest,
        digest: str,
        split: str,
        verify: Verify,
        sealed: Sealed | None = None,
    ) -> None:
        self.path = place if isinstance(place, Path) else Path(place.name)
        self.manifest, self.digest, self.split = manifest, digest, split
        self.header, self.modalities = manifest.header, tuple(column.name for column in manifest.header.modalities)
        entries, held = entries_of(manifest, split), HeldArrays(held_bytes())
        if isinstance(place, RemoteFolder):
            prepare(place, entries, sealed)
        self._shards = [ShardFile(place, entry, self.header, verify, held, sealed) for entry in entries]
        self._static: StaticTable | None = None
        self._remote = not all(shard.tar.lasting for shard in self._shards)
        self._blocks: list[tuple[ShardFile, dict[str, int]]] = []
        for shard in self._shards:
            self._blocks += [(shard, names) for names in blocks_of(shard, self.header)]
        self._rows = {column.name: ModalityRows(column, self._blocks) for column in self.header.modalities}
        facts = (*FACTS, *(f"y_{label.name}" for label in self.header.labels))
        fetch_ahead((shard.tar, names[name]) for shard, names in self._blocks for name in facts if name in names)
        self._refuse_strangers()
        self._read_facts()

    @classmethod
    def open(cls, path: Path | str, *, split: str = "all", verify: Verify = "touch") -> "ShardFolder":
        """Open a folder.

        Args:
            path: A folder here, or on a server by its http(s) address; what is read of that stays in a cache on disk.
            split: Name of a split; `all` is every split in turn where there is none of that name.
            verify: `touch` compares a member's checksum when it is first read, `full` each shard's sha256 now,
                `off` neither. Sizes, names and bounds are always checked.

        Raises:
            ShardError: If it is not a finished shard folder of this version, or holds what a shard may not hold.
            CorruptShardError: If a shard is missing, cut off or changed.
            ConfigError: If the folder is sealed, and no key is set (HDT_FM_IDENTITY).
            LeakError: If somebody is in two splits.
            UnknownNameError: If there is no such split.
        """
        place = place_of(path)
        data, sealed = _manifest_of(place)
        manifest = parse_manifest(data, where=place.name)
        return cls(place, manifest, hashlib.sha256(data).hexdigest(), split, verify, sealed)

    def with_static(self, columns: Sequence[Covariate]) -> "ShardFolder":
        """The same windows with these facts about their people as one more modality, `static`.

        A person of whom no column is known lacks it; where that is everyone, or there is no column, the folder comes
        back as it is. Nothing is copied but the small tables by position.
        """
        table = StaticTable.of(columns, self.manifest.subjects)
        if not table.known.any():
            return self
        other = copy.copy(self)
        other._static = table
        signals = (*self.header.modalities, static_column(len(columns), self.header.window_s))
        other.header, other.modalities = (
            self.header.model_copy(update={"modalities": signals}),
            (*self.modalities, STATIC),
        )
        here = table.known[self.subject_rows].any(axis=1, keepdims=True)
        other.present = np.concatenate([self.present, here], axis=1)
        other.quality = np.concatenate([self.quality, here.astype(np.float32)], axis=1)
        other._always = [bool(column.all()) for column in other.present.T]
        return other

    @property
    def windows(self) -> int:
        return len(self.window_ids)

    @property
    def fits_in_memory(self) -> bool:
        """Whether what must be opened, unpacked or fetched of the signals can be kept all at once."""
        made = 0
        for shard in self._shards:
            records = shard.members[shard.members["codec"] > 0] if shard.tar.lasting else shard.members
            sizes = np.array([one.itemsize for one in DTYPES])[records["dtype"]]
            made += int((np.maximum(records["shape"], 1).prod(axis=1) * sizes).sum())
        return not self._shards or made <= self._shards[0].held_limit

    def blocks(self) -> list[NDArray[np.int64]]:
        """Positions in each block, in stored order."""
        edges = np.searchsorted(self.block_of, np.arange(len(self._blocks) + 1))
        return [np.arange(first, last) for first, last in pairwise(edges)]

    def gather(self, positions: NDArray[np.int64], room: Room | None = None) -> Batch:
        """The windows at `positions`, in that order, in their canonical units.

        Args:
            room: Memory for signals; new memory when not given. Ids, times and labels always have their own.

        Raises:
            ShardError: If a position does not exist.
            CorruptShardError: If bytes that are read for the first time differ from what was written.
        """
        return self._gather(positions, room or Fresh(), coded=False).rest

    def gather_coded(self, positions: NDArray[np.int64], room: Room | None = None) -> CodedBatch:
        """As `gather`, but what is stored as int16 stays so: decode it where it is used, by `to(device)`."""
        return self._gather(positions, room or Fresh(), coded=True)

    def _gather(self, positions: NDArray[np.int64], room: Room, *, coded: bool) -> CodedBatch:
        positions = np.asarray(positions, dtype=np.int64)
        # As numbers without a sign those below 0 are the largest.
        if len(positions) and positions.view(np.uint64).max() >= self.windows:
            raise ShardError("A position is outside the folder", expected=f"0 to {self.windows - 1}")
        plan = RowPlan.of(self.block_of[positions], self._row[positions])
        self._fetch_ahead(plan)
        present, subjects = self.present.take(positions, axis=0), self._subjects[positions]
        signals: dict[str, Signal] = {}
        codes: dict[str, CodedSignal] = {}
        for number, column in enumerate(self.header.modalities):
            here = None if self._always[number] or present[:, number].all() else present[:, number]
            if not len(positions) or (here is not None and not here.any()):
                continue
            if self._static is not None and column.name == STATIC:
                signals[STATIC] = self._static.signal(subjects, column)
            elif coded and column.encoding == "i16":
                codes[column.name] = self._rows[column.name].codes(plan, here, room)
            else:
                signals[column.name] = self._rows[column.name].signal(plan, here, room)
        batch = Batch(
            modalities=self.modalities,
            signals=signals,
            present=torch.from_numpy(present),
            subject=torch.from_numpy(subjects),
            time_s=torch.from_numpy(self._times_s[positions]),
            window_id=torch.from_numpy(self.window_ids[positions]),
            labels={name: torch.from_numpy(values[positions]) for name, values in self.labels.items()},
        )
        return CodedBatch(batch, codes)

    def _fetch_ahead(self, plan: RowPlan) -> None:
        """What of a remote folder the plan needs and is not here yet, several at a time."""
        if not self._remote:
            return
        blocks = [self._blocks[block] for block in np.unique(plan.block)]
        wanted = [f"{column}{end}" for column in self.modalities for end in ("", "_observed")]
        fetch_ahead((shard.tar, names[name]) for shard, names in blocks for name in wanted if name in names)

    def _refuse_strangers(self) -> None:
        """Shards of a split hold windows of its own people only, where the manifest says whose split that is."""
        home = {entry.path: name for name, part in self.manifest.splits.items() for entry in part}
        for shard, names in self._blocks:
            found = strangers(self.manifest, home[shard.entry.path], shard.array(names["subj"]))
            # Rows that are nobody's are told of where facts are read.
            rows = [row for row in found if 0 <= row < len(self.manifest.subjects)]
            if rows:
                raise LeakError(
                    "A shard holds windows of a person who is in another split",
                    where=f"{shard.entry.path}: subject {self.manifest.subjects[rows[0]].subject}",
                    fix=FIX,
                )

    def _read_facts(self) -> None:
        """Small members of every block, joined; revoked windows leave here."""
        facts: dict[str, list[np.ndarray]] = {name: [] for name in (*FACTS, "block", "row")}
        labels: dict[str, list[np.ndarray]] = {label.name: [] for label in self.header.labels}
        for number, (shard, members) in enumerate(self._blocks):
            parts = {name: shard.array(members[name]) for name in FACTS}
            size = len(parts["wid"])
            for name, part in {**parts, "block": np.full(size, number), "row": np.arange(size)}.items():
                facts[name].append(part)
            for name, values in labels.items():
                key = f"y_{name}"
                values.append(shard.array(members[key]) if key in members else np.full(size, np.nan, np.float32))
        joined = {name: np.concatenate(parts) if parts else np.empty(0, np.int64) for name, parts in facts.items()}
        keep = ~np.isin(joined["wid"], np.array(self.manifest.revoked_windows, dtype=np.int64))
        self.window_ids, self.t0_ns = joined["wid"][keep].astype(np.int64), joined["t0"][keep].astype(np.int64)
        self.subject_rows = joined["subj"][keep].astype(np.int32)
        self.present = joined["mask"].reshape(-1, len(self.modalities))[keep].astype(np.bool_)
        self.quality = joined["sqi"].reshape(-1, len(self.modalities))[keep].astype(np.float32)
        self.block_of, self._row = joined["block"][keep].astype(np.int64), joined["row"][keep].astype(np.int64)
        self.labels = {name: np.concatenate(parts)[keep] for name, parts in labels.items() if parts}
        # As a batch wants them, so that no batch has to change them.
        self._subjects, self._times_s = self.subject_rows.astype(np.int64), self.t0_ns / 1e9
        self._always = [bool(column.all()) for column in self.present.T]
        rows = self.subject_rows
        if len(rows) and not (rows.min() >= 0 and rows.max() < len(self.manifest.subjects)):
            raise ShardError("A shard names a subject that the manifest does not have", where=self.path.name)


def _manifest_of(place: Path | RemoteFolder) -> tuple[bytes, Sealed | None]:
    if isinstance(place, RemoteFolder):
        return manifest_bytes(lambda name, limit: place.file(name, limit=limit), where=place.name)
    return local_manifest(place)
