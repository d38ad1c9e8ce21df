"""A shard folder -> batches, by memory map: no tar parsing, no copy but the one into the batch."""

import copy
import hashlib
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from hdt_fm.data.covariates import StaticTable, static_column
from hdt_fm.data.shard_file import FACTS, ShardFile, Verify, blocks_of
from hdt_fm.schema.batch import Batch, Signal
from hdt_fm.schema.covariates import Covariate
from hdt_fm.schema.errors import ShardError, unknown_name
from hdt_fm.schema.modalities import STATIC
from hdt_fm.schema.shard import (
    MANIFEST_NAME,
    SHARD_PATTERN,
    SHARD_VERSION,
    ModalityColumn,
    ShardEntry,
    ShardManifest,
)

MAX_MANIFEST_BYTES = 256 << 20


class ShardFolder:
    """Windows of one split of a shard folder, by position 0 .. windows - 1.

    Revoked windows have no position. Made by `ShardFolder.open`.

    Attributes:
        manifest, header: What the folder says of itself.
        digest: SHA-256 of the manifest; two folders with equal digests hold equal windows.
        window_ids, subject_rows, t0_ns: One entry per position.
        present: (position, modality).
        quality: (position, modality): share of the window's samples, as read, without a sign of trouble.
        labels: One value per position; NaN where unknown.
        block_of: Number of the block (over the split) that holds each position; rising.
    """

    def __init__(self, path: Path, manifest: ShardManifest, digest: str, split: str, verify: Verify) -> None:
        self.path, self.manifest, self.digest, self.split = path, manifest, digest, split
        self.header, self.modalities = manifest.header, tuple(column.name for column in manifest.header.modalities)
        self._shards = [ShardFile(path, entry, self.header, verify) for entry in _entries(manifest, split)]
        self._static: StaticTable | None = None
        self._blocks: list[tuple[ShardFile, dict[str, int]]] = []
        for shard in self._shards:
            self._blocks += [(shard, names) for names in blocks_of(shard, self.header)]
        self._read_facts()

    @classmethod
    def open(cls, path: Path | str, *, split: str = "all", verify: Verify = "touch") -> "ShardFolder":
        """Open a folder.

        Args:
            split: Name of a split; `all` is every split in turn where there is none of that name.
            verify: `touch` compares a member's checksum when it is first read, `full` each shard's sha256 now,
                `off` neither. Sizes, names and bounds are always checked.

        Raises:
            ShardError: If it is not a finished shard folder of this version, or holds what a shard may not hold.
            CorruptShardError: If a shard is missing, cut off or changed.
            UnknownNameError: If there is no such split.
        """
        path = Path(path)
        file = path / MANIFEST_NAME
        if not file.is_file():
            raise ShardError(
                "The folder is not a shard folder, or its build did not finish",
                where=path.name,
                expected=f"a {MANIFEST_NAME} in it",
                fix="run `hdt-fm shard` on it (again); an interrupted build goes on where it stopped",
            )
        if file.stat().st_size > MAX_MANIFEST_BYTES:
            raise ShardError("The manifest is too large to be one", where=path.name)
        data = file.read_bytes()
        try:
            manifest = ShardManifest.model_validate_json(data)
        except ValueError as error:
            raise ShardError(
                "The manifest cannot be read",
                where=f"{path.name}/{MANIFEST_NAME}",
                got=type(error).__name__,
                fix="build the folder again with `hdt-fm shard`",
            ) from None
        if manifest.version != SHARD_VERSION:
            raise ShardError(
                "The shard folder is of another version",
                where=path.name,
                expected=str(SHARD_VERSION),
                got=str(manifest.version),
                fix="build it again with this version of hdt_fm",
            )
        return cls(path, manifest, hashlib.sha256(data).hexdigest(), split, verify)

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
        return other

    @property
    def windows(self) -> int:
        return len(self.window_ids)

    def blocks(self) -> list[NDArray[np.int64]]:
        """Positions in each block, in stored order."""
        edges = np.searchsorted(self.block_of, np.arange(len(self._blocks) + 1))
        return [np.arange(first, last) for first, last in pairwise(edges)]

    def gather(self, positions: NDArray[np.int64]) -> Batch:
        """The windows at `positions`, in that order, in their canonical units.

        Raises:
            ShardError: If a position does not exist.
            CorruptShardError: If bytes that are read for the first time differ from what was written.
        """
        positions = np.asarray(positions, dtype=np.int64)
        if len(positions) and not (positions.min() >= 0 and positions.max() < self.windows):
            raise ShardError("A position is outside the folder", expected=f"0 to {self.windows - 1}")
        present, groups = self.present[positions], list(self._groups(positions))
        signals = {
            column.name: self._static.signal(self.subject_rows[positions], column)
            if self._static is not None and column.name == STATIC
            else self._signal(column, groups, present[:, number])
            for number, column in enumerate(self.header.modalities)
            if present[:, number].any()
        }
        return Batch(
            modalities=self.modalities,
            signals=signals,
            present=torch.from_numpy(present),
            subject=torch.from_numpy(self.subject_rows[positions].astype(np.int64)),
            time_s=torch.from_numpy(self.t0_ns[positions] / 1e9),
            window_id=torch.from_numpy(self.window_ids[positions]),
            labels={name: torch.from_numpy(values[positions]) for name, values in self.labels.items()},
        )

    def _groups(self, positions: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.int64]]]:
        """For each block that is needed: its number, the places in the batch, the rows in the block."""
        block = self.block_of[positions]
        order = np.argsort(block, kind="stable")
        for places in np.split(order, np.flatnonzero(np.diff(block[order])) + 1):
            if len(places):
                yield int(block[places[0]]), places, self._row[positions[places]]

    def _signal(
        self,
        column: ModalityColumn,
        groups: list[tuple[int, NDArray[np.int64], NDArray[np.int64]]],
        present: NDArray[np.bool_],
    ) -> Signal:
        values = np.zeros((len(present), column.channels, column.samples), dtype=np.float32)
        observed = np.repeat(present[:, None], column.samples, axis=1)
        for block, places, rows in groups:
            shard, members = self._blocks[block]
            if column.name not in members:
                continue
            taken = shard.array(members[column.name])[rows]
            if column.encoding == "i16":
                taken = taken.astype(np.float32)
                taken *= np.float32(column.lsb)
                taken += np.float32(column.offset)
            values[places] = taken
            if f"{column.name}_observed" in members:
                bits = shard.array(members[f"{column.name}_observed"])[rows]
                observed[places] &= np.unpackbits(bits, axis=1, count=column.samples).astype(np.bool_)
        if not observed.all():
            # Code 0 is not value 0: what was not observed is zero again only after this.
            np.copyto(values, 0, where=~observed[:, None, :])
        return Signal(torch.from_numpy(values), torch.from_numpy(observed), column.sampling_rate_hz)

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
        rows = self.subject_rows
        if len(rows) and not (rows.min() >= 0 and rows.max() < len(self.manifest.subjects)):
            raise ShardError("A shard names a subject that the manifest does not have", where=self.path.name)


def _entries(manifest: ShardManifest, split: str) -> list[ShardEntry]:
    if split not in manifest.splits and split != "all":
        raise unknown_name("split", split, [*manifest.splits, "all"])
    chosen = [manifest.splits[split]] if split in manifest.splits else list(manifest.splits.values())
    entries = [entry for part in chosen for entry in part]
    if not all(SHARD_PATTERN.fullmatch(entry.path) for entry in entries):
        # The path is foreign text: it stays out of the message and is never opened.
        raise ShardError(
            "The manifest names a file that cannot be a shard",
            where=MANIFEST_NAME,
            expected=f"paths of the form {SHARD_PATTERN.pattern}",
            fix="do not trust this folder; get it from its maker again",
        )
    return entries
