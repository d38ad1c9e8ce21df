"""Pieces of remote shards on this machine's disk, within a bound; each is there whole or not at all."""

import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hdt_fm.data.held import ProcessLock
from hdt_fm.schema.errors import ShardError

CACHE_VARIABLE, CACHE_GB_VARIABLE = "HDT_FM_SHARDS_CACHE", "HDT_FM_SHARDS_CACHE_GB"
CACHE_GB = 32.0
# Nothing else in the folder is counted or ever deleted.
_OURS = re.compile(r"[0-9a-f]{64}\.[0-9a-z-]{1,64}(\.[0-9]+-[0-9]+\.tmp)?", re.ASCII)
_STALE_S = 3600.0
# Other processes write here too: what is there is counted anew after so much of the bound was written.
_COUNT_AGAIN = 16


class DiskCache:
    """Files by name, those used last up to `limit_bytes`.

    Several processes may share a folder; each may then pass the bound by the sixteenth part that it did not see.

    Args:
        folder: Made for this user alone: what lies in it are recordings of people.
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self.folder, self.limit_bytes = folder, limit_bytes
        self._bytes, self._unseen, self._writing = 0, limit_bytes, 0
        self._lock = ProcessLock()

    def find(self, name: str) -> Path | None:
        """The file, marked as used; None where there is none."""
        path = self.folder / name
        try:
            os.utime(path)
        except OSError:
            return None
        return path

    def put(self, name: str, data: bytes) -> None:
        """Keep a file."""
        with self.new(name, len(data)) as path:
            path.write_bytes(data)

    @contextmanager
    def new(self, name: str, size: int) -> Iterator[Path]:
        """A temporary path to write `size` bytes to; it gets its name where no error was raised.

        Raises:
            ShardError: If it is larger than the whole bound, or the disk does not take it.
        """
        if not _OURS.fullmatch(name):
            raise ValueError("a name of the cache is a sha256 and a word")
        temporary = self.folder / f"{name}.{os.getpid()}-{time.monotonic_ns()}.tmp"
        with self._lock:
            self._writing += size
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._lock:
                self._make_room(size)
            yield temporary
            os.replace(temporary, self.folder / name)
        except OSError as error:
            raise ShardError(
                "The cache of remote shards cannot be written",
                where=str(self.folder),
                got=type(error).__name__,
                fix=f"make room, or name another folder in {CACHE_VARIABLE}",
            ) from error
        finally:
            temporary.unlink(missing_ok=True)
            with self._lock:
                self._writing -= size

    def drop(self, name: str) -> None:
        """Forget a file."""
        (self.folder / name).unlink(missing_ok=True)

    def _make_room(self, size: int) -> None:
        if size > self.limit_bytes:
            raise ShardError(
                "The cache of remote shards is too small",
                where=str(self.folder),
                expected=f"more than {size / 1e9:.3f} GB, and best the whole folder",
                got=f"{self.limit_bytes / 1e9:.3f} GB",
                fix=f"set {CACHE_GB_VARIABLE}",
            )
        self._bytes, self._unseen = self._bytes + size, self._unseen + size
        if self._bytes > self.limit_bytes or self._unseen * _COUNT_AGAIN > self.limit_bytes:
            left = self._count_and_delete(self.limit_bytes - self._writing)
            self._bytes, self._unseen = left + self._writing, 0

    def _count_and_delete(self, until: int) -> int:
        """Bytes that are left once those used longest ago have gone; what this process is writing is not among them."""
        found: list[tuple[float, int, Path]] = []
        for child in os.scandir(self.folder):
            match = _OURS.fullmatch(child.name)
            try:
                facts = child.stat(follow_symlinks=False)
            except OSError:
                continue
            if match and match[1] and time.time() - facts.st_mtime > _STALE_S:
                Path(child.path).unlink(missing_ok=True)  # a process ended while it wrote
            elif match and not (match[1] or "").startswith(f".{os.getpid()}-"):
                found.append((facts.st_mtime, facts.st_size, Path(child.path)))
        total = sum(size for _, size, _ in found)
        for _, size, path in sorted(found):
            if total <= until:
                break
            if path.suffix != ".tmp":
                path.unlink(missing_ok=True)
                total -= size
        return total


class UnderWay:
    """What is being fetched by some thread of this process."""

    def __init__(self) -> None:
        self._lock, self._names, self._pid = threading.Lock(), {}, os.getpid()  # type: ignore[var-annotated]

    def begin(self, name: str) -> threading.Event | None:
        """None if it is ours to fetch now; else what to wait for."""
        if self._pid != os.getpid():  # the threads of another process are not here
            self.__init__()  # type: ignore[misc]
        with self._lock:
            other = self._names.get(name)
            if other is None:
                self._names[name] = threading.Event()
            return other

    def end(self, name: str) -> None:
        with self._lock:
            self._names.pop(name).set()

    def __reduce__(self) -> tuple[type["UnderWay"], tuple[()]]:
        return UnderWay, ()


def cache_of(
    folder: Path | None = None, gb: float | None = None, environment: Callable[[str], str | None] = os.environ.get
) -> DiskCache:
    """The cache that is asked for, else the one that the environment names, else the user's.

    Raises:
        ShardError: If the environment's size is not one.
    """
    if folder is None:
        home = environment("XDG_CACHE_HOME") or str(Path.home() / ".cache")
        folder = Path(environment(CACHE_VARIABLE) or Path(home) / "hdt_fm" / "shards")
    if gb is None:
        text = environment(CACHE_GB_VARIABLE) or str(CACHE_GB)
        try:
            gb = float(text)
        except ValueError:
            gb = -1.0
    if not 0 < gb < float("inf"):
        raise ShardError("The size of the cache is not a positive number", where=CACHE_GB_VARIABLE)
    return DiskCache(folder, int(gb * 1e9))
