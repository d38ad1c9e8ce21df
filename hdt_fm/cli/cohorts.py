"""Whose windows a model learns from: one cohort's, or those of several cohorts under one model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hdt_fm.data.covariates import learn_covariates, refuse_unlearned
from hdt_fm.data.datamodule import MixtureDataModule, ShardDataModule
from hdt_fm.data.mixture import cohort_shares
from hdt_fm.data.normalize import joint_statistics, typical_windows
from hdt_fm.data.selection import positions_of
from hdt_fm.data.shards import ShardFolder
from hdt_fm.schema.batch import Batch
from hdt_fm.schema.covariates import Covariate
from hdt_fm.schema.errors import ConfigError, LeakError
from hdt_fm.schema.manifest import Contract, Preprocess
from hdt_fm.schema.modalities import STATIC
from hdt_fm.schema.shard import ModalityColumn
from hdt_fm.schema.typical import Typical

Rows = NDArray[np.int64]
NOBODY: Rows = np.zeros(0, dtype=np.int64)
# Windows of all cohorts together from which input statistics are taken.
STATISTICS_WINDOWS = 2000


@dataclass(frozen=True)
class People:
    """Rows of the manifest's subject table: who trains, who monitors, who is kept for the test."""

    train: Rows
    validation: Rows
    test: Rows


@dataclass(frozen=True)
class Cohorts:
    """Folders and people of each cohort, by its name; made by `one` or `joined`.

    Modalities are those of all cohorts, each as the first cohort that has it; every folder keeps its own preparation.

    Attributes:
        alpha: See `cohort_shares`; of no meaning for one cohort.
        covariates: What the training people of all cohorts taught of the columns that were asked for.
    """

    folders: Mapping[str, ShardFolder]
    people: Mapping[str, People]
    alpha: float = 1.0
    covariates: tuple[Covariate, ...] = ()

    @classmethod
    def one(cls, folder: ShardFolder, people: People) -> "Cohorts":
        """A single cohort."""
        return cls({folder.manifest.cohort: folder}, {folder.manifest.cohort: people})

    @property
    def first(self) -> ShardFolder:
        """The cohort that says what is not said of each."""
        return next(iter(self.folders.values()))

    @property
    def columns(self) -> tuple[ModalityColumn, ...]:
        """The modalities of the model: signals, then facts about people where there are any."""
        found: dict[str, ModalityColumn] = {}
        for folder in self.folders.values():
            for column in folder.header.modalities:
                found.setdefault(column.name, column)
        return tuple(sorted(found.values(), key=lambda column: column.name == STATIC))

    def with_covariates(self, names: Sequence[str], *, strict: bool) -> "Cohorts":
        """The same with these facts about people as the modality `static`; a cohort that has none of them lacks it.

        Args:
            strict: Refuse a column that tells nothing of the training people; otherwise it is left out.

        Raises:
            ConfigError: As `learn_covariates`, and as `refuse_unlearned` where `strict`.
        """
        if not names or self.covariates:
            return self
        train = [self.folders[name].manifest.subjects[row] for name in self.people for row in self.people[name].train]
        learned = learn_covariates(names, train)
        if strict:
            refuse_unlearned(names, learned, train)
        folders = {name: folder.with_static(learned) for name, folder in self.folders.items()}
        return replace(self, folders=folders, covariates=learned)

    @property
    def shares(self) -> dict[str, float]:
        """Share of the batches of each cohort."""
        windows = {name: len(positions_of(self.folders[name], people.train)) for name, people in self.people.items()}
        return cohort_shares(windows, self.alpha)

    @property
    def watched(self) -> bool:
        """Whether anyone is kept for validation."""
        return any(len(people.validation) for people in self.people.values())

    def pseudonyms(self, part: str) -> frozenset[str]:
        """Those of all cohorts in a part of the split (`train`, `validation`, `test`)."""
        rows = {name: getattr(people, part) for name, people in self.people.items()}
        return frozenset(self.folders[name].manifest.subjects[row].subject for name in rows for row in rows[name])

    @property
    def digest(self) -> str:
        """Names the windows; of one cohort the digest of its folder."""
        return " ".join(folder.digest for folder in self.folders.values())

    def preprocess(self, typical: Mapping[str, Typical] | None = None) -> Preprocess:
        """The signal contract of models trained on these windows.

        Args:
            typical: What windows of the training people look like (`hdt_fm/cli/contract.py`).
        """
        first, known = self.first.manifest.preparation, dict(typical or {})
        if len(self.folders) == 1:
            return Preprocess(preparation=first, modalities=self.columns, typical=known)
        contracts = {
            name: Contract(preparation=folder.manifest.preparation, modalities=folder.header.modalities)
            for name, folder in self.folders.items()
        }
        return Preprocess(preparation=first, modalities=self.columns, cohorts=contracts, typical=known)

    def statistics(self, seed: int) -> dict[str, tuple[float, float]]:
        """Center and scale of each modality in the training people; each cohort gives its share of the windows."""
        parts = [
            (folder, self.people[name].train, self._share_of(STATISTICS_WINDOWS, name))
            for name, folder in self.folders.items()
        ]
        return joint_statistics(parts, seed)

    def typical(self, windows: int, seed: int, *, each: bool = False) -> list[Batch]:
        """Windows of the training people, a batch a cohort.

        Args:
            windows: Of all cohorts together, by their shares; with `each`, of every cohort.
        """
        return [
            typical_windows(folder, self.people[name].train, windows if each else self._share_of(windows, name), seed)
            for name, folder in self.folders.items()
        ]

    def data(self, *, batch_size: int, people_per_pool: int | None, seed: int) -> ShardDataModule | MixtureDataModule:
        """Training stream and validation batches."""
        own = {
            name: ShardDataModule(
                folder=folder,
                train_subjects=self.people[name].train,
                val_subjects=self.people[name].validation,
                batch_size=batch_size,
                people_per_pool=people_per_pool,
                seed=seed,
            )
            for name, folder in self.folders.items()
        }
        if len(own) == 1:
            return next(iter(own.values()))
        names = tuple(column.name for column in self.columns)
        return MixtureDataModule(own, modalities=names, alpha=self.alpha, seed=seed)

    def _share_of(self, windows: int, name: str) -> int:
        return max(1, round(windows * self.shares[name]))


def joined(folders: Sequence[ShardFolder], people: Sequence[People], alpha: float) -> Cohorts:
    """Several cohorts under one model.

    Raises:
        ConfigError: If there is no folder, or a cohort comes twice.
        LeakError: If a person, or a group that must stay together, is in two cohorts: their splits do not know of
            each other.
    """
    if not folders:
        raise ConfigError("There is no cohort to train on", where="cohorts", expected="a list of shard folders")
    names = [folder.manifest.cohort for folder in folders]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(
            f"The cohort {twice[0]!r} comes twice",
            where="cohorts",
            expected="one shard folder of each cohort",
            fix="leave one of the folders out",
        )
    _refuse_shared_people(folders)
    return Cohorts(dict(zip(names, folders, strict=True)), dict(zip(names, people, strict=True)), alpha)


def _refuse_shared_people(folders: Sequence[ShardFolder]) -> None:
    seen: set[str] = set()
    for folder in folders:
        own = {word for row in folder.manifest.subjects for word in (row.subject, row.group)}
        if seen & own:
            raise LeakError(
                f"{len(seen & own)} people or groups are in two cohorts",
                where="cohorts",
                expected="cohorts without a person in common, since each is split by itself",
                fix="shard these people in one of the cohorts only",
            )
        seen |= own
