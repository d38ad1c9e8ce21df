"""How the batches of a stream are made. Nothing here changes what they hold or their order."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import get_worker_info

from hdt_fm.data.ahead import in_order
from hdt_fm.data.gather import room_bytes
from hdt_fm.data.shards import ShardFolder
from hdt_fm.data.slots import Fresh, Room, Slot, SlotRing, padded
from hdt_fm.data.tables import AnyBatch
from hdt_fm.data.workers import in_order_of_processes
from hdt_fm.schema.batch import Batch
from hdt_fm.schema.errors import ConfigError

# A view of a batch that hangs on nothing but the batch and its number, so that any process can make it again.
Transform = Callable[[Batch, int], Batch]


@dataclass(frozen=True)
class Loading:
    """How batches are made.

    Attributes:
        threads: Gather so many batches at once, ahead of the consumer; 0 gathers when a batch is asked for.
        workers: The same by processes, over shared memory: for transforms that keep the interpreter busy. Copying alone
            is as fast by threads.
        slots: Buffers that are lent in turn; 0 gives each batch memory of its own.
        keep_int16: Leave int16 members as codes, to be decoded by `to(device)`.
        pin: Buffers in page-locked memory, for a GPU.

    Raises:
        ConfigError: If a number is negative, or threads and workers are both asked for.
    """

    threads: int = 0
    workers: int = 0
    slots: int = 8
    keep_int16: bool = False
    pin: bool = False

    def __post_init__(self) -> None:
        if min(self.threads, self.workers, self.slots) < 0 or (self.threads and self.workers):
            raise ConfigError(
                "Batches cannot be made so",
                where="loading",
                expected="numbers of 0 or more, and threads or workers, not both",
                got=f"{self.threads} threads, {self.workers} workers, {self.slots} slots",
            )


class BatchMaker:
    """Windows of a folder -> batches in lent memory, one by one or ahead in order.

    Args:
        windows: Most windows of a batch.
        transform: See `Transform`; runs where the batch is made.

    Raises:
        ConfigError: If a transform is to see codes.
    """

    def __init__(
        self, folder: ShardFolder, *, windows: int, loading: Loading, transform: Transform | None = None
    ) -> None:
        if transform is not None and loading.keep_int16:
            raise ConfigError(
                "A transform needs values, not codes", where="loading.keep_int16", fix="use one of the two"
            )
        self.folder, self.loading, self.transform = folder, loading, transform
        columns, labels = folder.header.modalities, len(folder.header.labels)
        # Room for the ids, and for a transform's arrays beside those it was given.
        facts = windows * (64 + len(columns) + 4 * labels) + 64 * (8 + labels)
        self._slot_bytes = padded(room_bytes(columns, windows) * (1 if transform is None else 2) + facts)
        self._ring = SlotRing(self._slot_bytes, loading.slots, pin=loading.pin) if loading.slots else None

    def make(self, positions: NDArray[np.int64], number: int) -> AnyBatch:
        """One batch, in a slot of the ring."""
        # A DataLoader's worker moves all memory of a batch to shared memory: there it gets no more than it needs.
        lend = self._ring is not None and get_worker_info() is None
        return self.make_in(positions, number, Slot(self._ring.lease()) if lend and self._ring else Fresh())

    def make_in(self, positions: NDArray[np.int64], number: int, room: Room) -> AnyBatch:
        """One batch, in given memory."""
        if self.loading.keep_int16:
            return self.folder.gather_coded(positions, room)
        batch = self.folder.gather(positions, room)
        return batch if self.transform is None else self.transform(batch, number)

    def in_order(
        self, positions: Callable[[int], NDArray[np.int64]], first: int, until: int | None
    ) -> Iterator[AnyBatch]:
        """Batches `first` to `until` (None: for ever) of a sequence, made as `loading` says."""
        if self.loading.workers:
            return in_order_of_processes(
                lambda number, slot: self.make_in(positions(number), number, slot),
                numbers_from(first, until),
                workers=self.loading.workers,
                slot_bytes=self._slot_bytes,
                slots=self.loading.slots,
            )
        return in_order(
            lambda number: self.make(positions(number), number),
            numbers_from(first, until),
            threads=self.loading.threads,
        )


def numbers_from(first: int, until: int | None) -> Iterator[int]:
    """Numbers of batches that this process makes: all of them, or its turns among the workers of a DataLoader."""
    info = get_worker_info()
    mine, step = (first, 1) if info is None else (first + info.id, info.num_workers)
    return count(mine, step) if until is None else iter(range(mine, until, step))
