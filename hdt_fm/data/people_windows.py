"""Windows by person instead of by batch: a map that is asked for one person, or one household, at a time."""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from hdt_fm.data.shards import ShardFolder
from hdt_fm.schema.batch import Batch
from hdt_fm.schema.errors import ShardError


class GroupWindows(Dataset[NDArray[np.int64]]):
    """Whoever never parts (a person, or people of one group), by number; an item is their positions.

    Args:
        cohorts: Of each folder the rows of its subject table.
        modalities: Columns of every batch.

    Raises:
        ShardError: If nobody has a window.
    """

    def __init__(
        self, cohorts: Sequence[tuple[ShardFolder, NDArray[np.integer]]], *, modalities: tuple[str, ...]
    ) -> None:
        self.folders, self.modalities = tuple(folder for folder, _ in cohorts), modalities
        self._groups: list[tuple[int, NDArray[np.int64]]] = []
        digest = hashlib.sha256()
        for number, (folder, rows) in enumerate(cohorts):
            # The whole folder is walked once, not once for each person.
            order = np.argsort(folder.subject_rows, kind="stable")
            edges = np.searchsorted(folder.subject_rows[order], np.arange(len(folder.manifest.subjects) + 1))
            own: dict[str, list[NDArray[np.int64]]] = {}
            for row in rows:
                positions = order[edges[row] : edges[row + 1]]
                if len(positions):
                    own.setdefault(folder.manifest.subjects[row].group, []).append(positions)
            digest.update(f"{folder.digest} {sorted(own)}\n".encode())
            self._groups += [(number, np.sort(np.concatenate(own[name]))) for name in sorted(own)]
        if not self._groups:
            raise ShardError("There is no window to draw from", fix="choose people that have windows")
        self.identity = digest.hexdigest()[:16]

    def __len__(self) -> int:
        return len(self._groups)

    def __getitem__(self, number: int) -> NDArray[np.int64]:
        return self._groups[number][1]

    def batch(self, number: int, most: int, generator: np.random.Generator) -> Batch:
        """At most so many windows of one group, drawn without repeats, in stored order."""
        folder, positions = self._groups[number]
        if len(positions) > most:
            positions = np.sort(generator.choice(positions, size=most, replace=False))
        return self.folders[folder].gather(positions).over(self.modalities)
