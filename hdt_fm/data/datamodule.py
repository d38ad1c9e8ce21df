"""A shard folder, or several, as Lightning wants them."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pytorch_lightning import LightningDataModule, Trainer
from pytorch_lightning.loops.progress import _ProcessedTracker

from hdt_fm.data.loading import Loading
from hdt_fm.data.mixture import CohortMixture, InTurn
from hdt_fm.data.selection import positions_of
from hdt_fm.data.shards import ShardFolder, Verify
from hdt_fm.data.stream import OrderedBatches, WindowStream
from hdt_fm.schema.errors import LeakError

__all__ = ["MixtureDataModule", "OrderedBatches", "ShardDataModule", "WindowStream"]


class ShardDataModule(LightningDataModule):
    """Endless training stream and fixed validation batches over people of one shard folder.

    The stream never ends an epoch of its own: bound the run by `max_steps`, or by `limit_train_batches` where
    Lightning's epochs are wanted. Batches are made in this process, in lent buffers, by a thread that is ahead of the
    step; a step that holds on to a batch keeps its buffer.

    Args:
        folder: An open folder, or its path.
        train_subjects: Rows of the manifest's subject table; None takes everyone.
        val_subjects: Rows held out; None validates on nothing.
        batch_size: Global batch in windows, over all processes.
        val_batch_size: As `batch_size` where not given.
        people_per_pool: See `WindowStream`.
        loading: How training batches are made; one thread where not given.
        val_windows: At most so many validation windows; they lie interleaved, so the first ones are a fair draw.

    Raises:
        LeakError: If a group of people would be in both parts.
    """

    def __init__(
        self,
        *,
        folder: ShardFolder | Path | str,
        train_subjects: NDArray[np.integer] | None = None,
        val_subjects: NDArray[np.integer] | None = None,
        batch_size: int = 256,
        val_batch_size: int | None = None,
        val_windows: int | None = None,
        seed: int = 0,
        pool_blocks: int = 8,
        people_per_pool: int | None = None,
        verify: Verify = "touch",
        loading: Loading | None = None,
    ) -> None:
        super().__init__()
        self.folder = folder if isinstance(folder, ShardFolder) else ShardFolder.open(folder, verify=verify)
        everyone = np.arange(len(self.folder.manifest.subjects))
        self.train_subjects = everyone if train_subjects is None else np.asarray(train_subjects)
        self.val_subjects = everyone[:0] if val_subjects is None else np.asarray(val_subjects)
        self._refuse_leak()
        self.batch_size, self.seed = batch_size, seed
        self.loading = Loading(threads=1) if loading is None else loading
        self.pool_blocks, self.people_per_pool = pool_blocks, people_per_pool
        self.train_positions = positions_of(self.folder, self.train_subjects)
        val_positions = positions_of(self.folder, self.val_subjects)[:val_windows]
        self._validation = OrderedBatches(self.folder, val_positions, batch_size=val_batch_size or batch_size)

    @property
    def train_windows(self) -> int:
        """Windows to train on."""
        return len(self.train_positions)

    @property
    def batches_per_epoch(self) -> float:
        """Training batches that make one pass over the data."""
        return len(self.train_positions) / self.batch_size

    def stream(self, rank: int, world: int) -> WindowStream:
        """The training stream of one process."""
        return WindowStream(
            self.folder,
            self.train_positions,
            batch_size=self.batch_size,
            seed=self.seed,
            pool_blocks=self.pool_blocks,
            people_per_pool=self.people_per_pool,
            rank=rank,
            world=world,
            loading=self.loading,
        )

    def train_dataloader(self) -> WindowStream:
        trainer = self.trainer
        stream = self.stream(trainer.global_rank, trainer.world_size) if trainer else self.stream(0, 1)
        if trainer:
            stream.follow(lambda: _finished_batches(trainer))
        return stream

    def val_dataloader(self) -> OrderedBatches | list[OrderedBatches]:
        return self._validation if len(self._validation) else []

    def _refuse_leak(self) -> None:
        groups = [subject.group for subject in self.folder.manifest.subjects]
        both = {groups[row] for row in self.train_subjects} & {groups[row] for row in self.val_subjects}
        if both:
            raise LeakError(
                f"{len(both)} groups of people are in training and in validation",
                expected="disjoint groups",
                fix="make both parts with subject_split or fold_subjects",
            )


class MixtureDataModule(LightningDataModule):
    """Several cohorts in one run: training batches of one cohort each, validation of one cohort after the other.

    Args:
        cohorts: Each cohort's own data, by name, with the same batch size.
        modalities: Columns of every batch, those of the model.
        alpha, seed: As for `CohortMixture`.
    """

    def __init__(
        self, cohorts: Mapping[str, ShardDataModule], *, modalities: tuple[str, ...], alpha: float, seed: int
    ) -> None:
        super().__init__()
        self.cohorts, self.modalities, self.alpha, self.seed = dict(cohorts), modalities, alpha, seed
        fixed = {name: one.val_dataloader() for name, one in self.cohorts.items()}
        kept = {name: batches for name, batches in fixed.items() if isinstance(batches, OrderedBatches)}
        self._validation = InTurn(kept, modalities=modalities)

    @property
    def train_windows(self) -> int:
        """Training windows of all cohorts."""
        return sum(len(one.train_positions) for one in self.cohorts.values())

    def train_dataloader(self) -> CohortMixture:
        trainer = self.trainer
        rank, world = (trainer.global_rank, trainer.world_size) if trainer else (0, 1)
        streams = {name: one.stream(rank, world) for name, one in self.cohorts.items()}
        threads = max(one.loading.threads for one in self.cohorts.values())
        mixture = CohortMixture(streams, modalities=self.modalities, alpha=self.alpha, seed=self.seed, threads=threads)
        if trainer:
            mixture.follow(lambda: _finished_batches(trainer))
        return mixture

    def val_dataloader(self) -> InTurn | list[InTurn]:
        return self._validation if len(self._validation) else []


def _finished_batches(trainer: Trainer) -> int:
    """Training batches whose step is done, over the whole run. Lightning fetches one batch ahead of this."""
    total = trainer.fit_loop.epoch_loop.batch_progress.total
    assert isinstance(total, _ProcessedTracker)
    return total.processed
