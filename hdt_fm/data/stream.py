"""The endless, resumable stream of training batches."""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray
from torch.utils.data import IterableDataset

from hdt_fm.data.held import MEMORY_GB
from hdt_fm.data.loading import BatchMaker, Loading, Transform
from hdt_fm.data.sampling import ShardOrder
from hdt_fm.data.shards import ShardFolder
from hdt_fm.data.tables import AnyBatch
from hdt_fm.schema.batch import Batch
from hdt_fm.schema.errors import CheckpointError, ConfigError

_log = logging.getLogger(__name__)


class WindowStream(IterableDataset[AnyBatch]):
    """Batches in the order of (seed, epoch, position); an epoch's end lies inside a batch where it falls there.

    Batch g holds places g * batch_size to (g + 1) * batch_size of the endless order, so no window is left out and
    the whole state is a few numbers. It is its own loader: Lightning saves and restores its state. A batch counts
    as consumed when its step has finished, by the counter given to `follow`; without one, when it was handed out: what
    threads or workers have made ahead does not count. In a DataLoader with workers each makes its turns, so that the
    batches come out in the same order.

    Args:
        positions: Windows to draw from.
        batch_size: Global batch, over all ranks.
        people_per_pool: Draw from the windows of so many people at a time, so that a batch holds many windows of
            each; None draws from `pool_blocks` blocks of the shards, which hold nearly everyone.
        batches: Stop before this global batch; None goes on for ever.
        rank, world: This process takes its equal slice of every batch.
        loading: How batches are made, which changes nothing in them.
        transform: Applied to each batch with its number, where the batch is made.

    Raises:
        ConfigError: If `batch_size` cannot be divided by `world`, or a transform is to see codes.
        ShardError: If there is no window to draw from.
    """

    def __init__(
        self,
        folder: ShardFolder,
        positions: NDArray[np.int64],
        *,
        batch_size: int,
        seed: int,
        pool_blocks: int = 8,
        people_per_pool: int | None = None,
        batches: int | None = None,
        rank: int = 0,
        world: int = 1,
        loading: Loading | None = None,
        transform: Transform | None = None,
    ) -> None:
        if batch_size < 1 or batch_size % world:
            raise ConfigError(
                "The global batch cannot be divided among the processes",
                where="batch_size",
                expected=f"a positive multiple of {world}",
                got=str(batch_size),
            )
        if people_per_pool is not None and not folder.fits_in_memory:
            _log.warning(
                "Batches are drawn from %d people at a time, whose windows are all over the shards, and what is opened "
                "of %s does not fit in memory: much of it is opened again for each batch. Set %s to more, or "
                "people_per_pool=null.",
                people_per_pool,
                folder.path.name,
                MEMORY_GB,
            )
        chosen = np.zeros(folder.windows, dtype=np.bool_)
        chosen[positions] = True
        blocks = folder.blocks() if people_per_pool is None else _by_person(folder)
        self.order = ShardOrder([block[chosen[block]] for block in blocks], seed, people_per_pool or pool_blocks)
        self.people_per_pool = people_per_pool
        self.folder, self.batch_size, self.batches = folder, batch_size, batches
        self._slice = slice(rank * batch_size // world, (rank + 1) * batch_size // world)
        self._windows = f"{xxhash.xxh3_64_intdigest(np.packbits(chosen).tobytes()):016x}"
        self.maker = BatchMaker(folder, windows=batch_size // world, loading=loading or Loading(), transform=transform)
        self._place = Place()

    def follow(self, finished: Callable[[], int]) -> None:
        """Count consumption by a rising counter of finished steps, e.g. a trainer's: it may prefetch."""
        self._place.follow(finished)

    @property
    def global_batch(self) -> int:
        """Number of the next batch that nobody has finished."""
        return self._place.number

    def batch(self, number: int) -> AnyBatch:
        """Batch `number` (this process's slice of it), wherever the stream stands."""
        return self.maker.make(self.positions(number), number)

    def positions(self, number: int) -> NDArray[np.int64]:
        """The windows of this process's slice of batch `number`."""
        return self.order.positions(0, number * self.batch_size, self.batch_size)[self._slice]

    def __iter__(self) -> Iterator[AnyBatch]:
        return self._place.walk(lambda first: self.maker.in_order(self.positions, first, self.batches))

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers and text: where the stream stands and what it draws from."""
        place = self.global_batch * self.batch_size
        return self.identity() | {
            "epoch": place // len(self.order),
            "position": place % len(self.order),
            "global_batch": self.global_batch,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where the state was taken.

        Raises:
            CheckpointError: If the state is of another data set, choice of windows, seed or batch size.
        """
        refuse_other(state, self.identity())
        self._place.go_to(int(state["global_batch"]))

    def identity(self) -> dict[str, Any]:
        """What two streams with the same batches have in common, as plain numbers and text."""
        return {
            "manifest": self.folder.digest,
            "windows": self._windows,
            "seed": self.order.seed,
            "pool_blocks": self.order.pool_blocks,
            "people_per_pool": self.people_per_pool or 0,
            "batch_size": self.batch_size,
        }


class Place:
    """Where an endless stream stands: by its own count of what was handed out, or by what someone has finished."""

    def __init__(self) -> None:
        self._finished: Callable[[], int] | None = None
        self._start = self._given = self._base = 0

    @property
    def number(self) -> int:
        """Number of the next batch that nobody has finished."""
        return self._start + (self._given if self._finished is None else self._finished() - self._base)

    def follow(self, finished: Callable[[], int]) -> None:
        """From here on `finished`, a counter that rises, says how many batches are done."""
        here, self._finished = self.number, finished
        self.go_to(here)

    def go_to(self, number: int) -> None:
        """Stand at a batch."""
        self._start, self._given = number, 0
        self._base = self._finished() if self._finished else 0

    def walk(self, batches: Callable[[int], Iterator[AnyBatch]]) -> Iterator[AnyBatch]:
        """Hand out batches, made from a number on, from where the stream stands."""
        self.go_to(self.number)
        with closing(batches(self._start)) as made:  # type: ignore[type-var]
            for batch in made:
                self._given += 1
                yield batch


def refuse_other(state: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
    """Refuse the state of another stream.

    Raises:
        CheckpointError: If something differs; says what.
    """
    for name, mine in identity.items():
        if state.get(name) != mine:
            raise CheckpointError(
                f"The checkpoint's stream does not fit: {name} differs",
                where="training data",
                expected=str(state.get(name)),
                got=str(mine),
                fix="resume with the data, split, seed and batch_size that the run began with, or start a new run",
            )


def _by_person(folder: ShardFolder) -> list[NDArray[np.int64]]:
    order = np.argsort(folder.subject_rows, kind="stable")
    starts = np.searchsorted(folder.subject_rows[order], np.arange(1, len(folder.manifest.subjects)))
    return np.split(order, starts)


class OrderedBatches:
    """The same batches in the same order each time; the last one may be short, so counts are exact."""

    def __init__(
        self, folder: ShardFolder, positions: NDArray[np.int64], *, batch_size: int, loading: Loading | None = None
    ) -> None:
        if loading is not None and loading.keep_int16:
            raise ConfigError("Fixed batches are of values", where="loading.keep_int16", fix="use a WindowStream")
        self.folder, self.positions, self.batch_size = folder, np.asarray(positions), batch_size
        self._maker = BatchMaker(folder, windows=batch_size, loading=loading or Loading())

    def __len__(self) -> int:
        return -(-len(self.positions) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        for batch in self._maker.in_order(self._part, 0, len(self)):
            assert isinstance(batch, Batch)
            yield batch

    def _part(self, number: int) -> NDArray[np.int64]:
        return self.positions[number * self.batch_size : (number + 1) * self.batch_size]
