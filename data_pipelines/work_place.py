"""Where a build keeps what it has cut, and the key that this lies sealed with until the build ends.

A sealed build makes a key of its own. It lies beside the work files, sealed for the recipients of the shards: who may
read those can go on with an interrupted build, and nobody else reads what it left. Rows of a visit are sealed one by
one, since packing takes them in the order of the shards, some from each visit.
"""

import json
import mmap
import shutil
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_pipelines.durably import first_wins, write_durably
from data_pipelines.pack import write_shard
from hdt_fm.schema.age import SUFFIX, Identity, new_identity, public_of, seal
from hdt_fm.schema.errors import HdtError
from hdt_fm.schema.shard import ShardHeader
from hdt_fm.schema.shard_index import content_of, member_array, read_index
from hdt_fm.schema.shard_seal import shard_identity

KEY_NAME = f"key{SUFFIX}"
OPEN_FILES = 256
ROW, TAR_NAME, LAYOUT_NAME = "row", "rows.tar", f"layout.json{SUFFIX}"
# Of a visit; a tar has room for more, and a longer visit has several rows sealed together.
MOST_PIECES = 200_000
_MOST_KEY_BYTES = 4096


@dataclass(frozen=True)
class WorkPlace:
    """A folder of work files; a task takes it along.

    Attributes:
        to: Public keys of those whom the shards are for; empty where nothing is sealed.
        public: The build's own key, for which work files are sealed.
        secret: What opens them; empty where it may not travel: a task then opens the one that lies in the folder with
            HDT_FM_IDENTITY, which must be set wherever tasks run.
    """

    folder: Path
    to: tuple[str, ...] = ()
    public: str = ""
    secret: str = field(default="", repr=False)

    def identity(self) -> Identity:
        """Opens work files."""
        return Identity(self.secret or _secret_of(self.folder))

    def path(self, name: str) -> Path:
        """Where a file of this name lies."""
        return self.folder / (f"{name}{SUFFIX}" if self.public else name)

    def rows(self, digest: str) -> Path:
        """The tar of a visit's windows."""
        return self.folder / f"{digest}.rows" / TAR_NAME if self.public else self.folder / f"{digest}.tar"

    def read(self, path: Path) -> bytes:
        """A file that `write` wrote."""
        data = path.read_bytes()
        return self.identity().open(data, most=len(data), where=path.name) if self.public else data

    def write(self, path: Path, data: bytes) -> None:
        """Write a file durably, sealed where the build is."""
        write_durably(path, seal(data, (self.public,)) if self.public else data)


def begin(folder: Path, to: Sequence[str], *, owner: str, travels: bool) -> WorkPlace:
    """The place of a build, with the key that an interrupted one left if it can be opened; else nothing else is left.

    Args:
        to: Whom the shards are for; nobody of a plain build.
        owner: A file of the folder that stays.
        travels: Whether the key may go along with tasks.
    """
    if not to:
        return WorkPlace(folder)
    try:
        secret = _secret_of(folder)
    except (OSError, HdtError):
        # Of another build, plain or sealed by a key that nobody has here: of no use, and plain it must not stay.
        for child in folder.iterdir():
            if child.is_dir():
                shutil.rmtree(child, ignore_errors=True)
            elif child.name != owner:
                child.unlink(missing_ok=True)
        secret, _ = new_identity()
    # Anew each time: the recipients may be others now.
    write_durably(folder / KEY_NAME, seal(secret.encode(), to))
    return WorkPlace(folder, tuple(to), public_of(secret), secret if travels else "")


def _secret_of(folder: Path) -> str:
    data = (folder / KEY_NAME).read_bytes()
    return shard_identity().open(data, most=_MOST_KEY_BYTES, where=KEY_NAME).decode()


def put_rows(place: WorkPlace, digest: str, header: ShardHeader, members: Mapping[str, np.ndarray]) -> None:
    """Write the work file of a visit, sealed: the bytes of its windows one by one, and how they are laid out.

    Args:
        members: Arrays with one row a window; none of a visit without windows.
    """
    layout = np.dtype([(name, array.dtype, array.shape[1:]) for name, array in members.items()])
    count = len(members["t0"]) if members else 0
    table = np.zeros(count, layout)
    for name, array in members.items():
        table[name] = array
    size = -(-count // MOST_PIECES)
    rows = table.view(np.uint8).reshape(count, layout.itemsize) if count else np.zeros((0, 0), np.uint8)
    pieces = [(number, {ROW: rows[first : first + size]}) for number, first in enumerate(range(0, count, size or 1))]
    told = [(name, array.dtype.str, array.shape[1:]) for name, array in members.items()]

    def fill(own: Path) -> None:
        write_shard(own / TAR_NAME, header, pieces, to=(place.public,))
        place.write(own / LAYOUT_NAME, json.dumps(told).encode())

    # Sealed bytes differ each time: all that lies there must be of one process.
    first_wins(place.rows(digest).parent, fill)


class WorkFiles:
    """Members of many work files, so many files open at once at most: plain ones mapped, sealed ones opened."""

    def __init__(self, place: WorkPlace) -> None:
        self._place, self._identity = place, place.identity() if place.public else None
        self._open: OrderedDict[str, _Plain | _SealedRows] = OrderedDict()

    def members(self, digest: str) -> dict[str, np.ndarray]:
        """Arrays of one visit by member name; empty for a visit without windows."""
        return self._file(digest).members()

    def picked(self, digest: str, rows: NDArray[np.int64]) -> tuple[dict[str, np.ndarray], NDArray[np.int64]]:
        """Arrays by member name, and which of their rows are those asked for."""
        return self._file(digest).picked(rows)

    def _sealed(self, path: Path, view: mmap.mmap, records: np.ndarray) -> "_SealedRows":
        assert self._identity is not None
        data = path.with_name(LAYOUT_NAME).read_bytes()
        told = json.loads(self._identity.open(data, most=len(data), where=LAYOUT_NAME))
        layout = np.dtype([(name, dtype, tuple(shape)) for name, dtype, shape in told])
        return _SealedRows(view, records, layout, self._identity)

    def _file(self, digest: str) -> "_Plain | _SealedRows":
        if digest not in self._open:
            path = self._place.rows(digest)
            with path.open("rb") as file:
                view = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            records = read_index(path.with_suffix(".idx")).members
            self._open[digest] = _Plain(view, records) if self._identity is None else self._sealed(path, view, records)
            if len(self._open) > OPEN_FILES:
                self._open.popitem(last=False)
        self._open.move_to_end(digest)
        return self._open[digest]


class _Plain:
    def __init__(self, view: mmap.mmap, records: np.ndarray) -> None:
        self._arrays = {record["name"].decode(): member_array(view, record) for record in records}

    def members(self) -> dict[str, np.ndarray]:
        return self._arrays

    def picked(self, rows: NDArray[np.int64]) -> tuple[dict[str, np.ndarray], NDArray[np.int64]]:
        return self._arrays, rows


class _SealedRows:
    """A visit whose windows lie one by one; nothing that was opened is kept."""

    def __init__(self, view: mmap.mmap, records: np.ndarray, layout: np.dtype, identity: Identity) -> None:
        self._view, self._records, self._identity = view, records, identity
        self._layout = layout
        self._size = int(records["shape"][0][0]) if len(records) else 1

    def members(self) -> dict[str, np.ndarray]:
        if not len(self._records):
            return {}
        return self._by_name(np.concatenate([self._piece(number) for number in range(len(self._records))]))

    def picked(self, rows: NDArray[np.int64]) -> tuple[dict[str, np.ndarray], NDArray[np.int64]]:
        pieces = np.unique(rows // self._size)
        found = np.concatenate([self._piece(int(number)) for number in pieces])
        return self._by_name(found), np.searchsorted(pieces, rows // self._size) * self._size + rows % self._size

    def _piece(self, number: int) -> np.ndarray:
        record = self._records[number]
        content = content_of(self._view, record, where="a work file", identity=self._identity)
        return content[int(record["header"]) :].view(self._layout)

    def _by_name(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        return {name: rows[name] for name in self._layout.names or ()}


@lru_cache(maxsize=1)
def work_files(place: WorkPlace) -> WorkFiles:
    """Those of a place, kept open from one task of a process to the next."""
    return WorkFiles(place)
