"""Arrays that cost something to make, kept within a bound: unpacked and opened members, and those of remote shards."""

import math
import os
import threading
from collections import OrderedDict
from collections.abc import Hashable
from contextlib import suppress
from types import TracebackType

import numpy as np

from hdt_fm.schema.errors import ConfigError

# Eight blocks of 16 MB and as much again for the next pool, in float32 or int16.
HELD_BYTES = 512 << 20
MEMORY_GB = "HDT_FM_SHARDS_MEMORY_GB"


def held_bytes() -> int:
    """The bound of a folder's arrays, in each process that reads it: what HDT_FM_SHARDS_MEMORY_GB says, or 512 MB.

    Raises:
        ConfigError: If that is no positive number.
    """
    told = os.environ.get(MEMORY_GB)
    try:
        wanted = HELD_BYTES / 1e9 if told is None else float(told)
    except ValueError:
        wanted = math.nan
    if not 0 < wanted < math.inf:
        raise ConfigError(
            "The bound of what is kept of shards in memory cannot be read",
            where=f"environment variable {MEMORY_GB}",
            expected="a positive number of gigabytes",
            fix="set it to a number such as 8, or unset it",
        )
    return round(wanted * 1e9)


class ProcessLock:
    """A lock that a fork cannot leave locked: each process has its own."""

    def __init__(self) -> None:
        self._pid, self._lock = os.getpid(), threading.Lock()

    def __enter__(self) -> None:
        if self._pid != os.getpid():
            self._pid, self._lock = os.getpid(), threading.Lock()
        self._lock.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()

    def __reduce__(self) -> tuple[type["ProcessLock"], tuple[()]]:
        return ProcessLock, ()


class HeldArrays:
    """The arrays used last, up to so many bytes; the one that was put last is always kept.

    One serves all shards of a folder and all threads. Another process starts with an empty one.
    """

    def __init__(self, limit_bytes: int = HELD_BYTES) -> None:
        self.limit_bytes, self.bytes = limit_bytes, 0
        self._arrays: OrderedDict[Hashable, np.ndarray] = OrderedDict()
        self._lock = ProcessLock()

    def get(self, key: Hashable) -> np.ndarray | None:
        array = self._arrays.get(key)
        if array is not None:
            with suppress(KeyError):  # another thread has just let it go
                self._arrays.move_to_end(key)
        return array

    def put(self, key: Hashable, array: np.ndarray) -> None:
        with self._lock:
            old = self._arrays.pop(key, None)
            self._arrays[key] = array
            self.bytes += array.nbytes - (0 if old is None else old.nbytes)
            while self.bytes > self.limit_bytes and len(self._arrays) > 1:
                self.bytes -= self._arrays.popitem(last=False)[1].nbytes

    def __len__(self) -> int:
        return len(self._arrays)

    def __reduce__(self) -> tuple[type["HeldArrays"], tuple[int]]:
        return HeldArrays, (self.limit_bytes,)
