"""What `bench_shards.py` runs beside our reader: other formats with their own readers, where they are installed.

Each peer is written and read as its documentation shows. A reader gives batches as lists of five float32 tensors.
"""

import io
import tarfile
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Arrays = dict[str, NDArray[np.float32]]
Batches = Iterator[list[Tensor]]
# Batches that are mixed at a time where a format has no shuffle of its own.
POOL = 16


class Peer:
    """One way to store and read.

    Args:
        name, package: Its row, and what must be importable.
        write: (arrays, folder).
        read: (folder, batch size, shuffled, names) -> batches of one epoch.
    """

    def __init__(
        self, name: str, package: str, write: Callable[[Arrays, Path], None], read: Callable[..., Batches]
    ) -> None:
        self.name, self.package, self.write, self.read = name, package, write, read

    @property
    def here(self) -> bool:
        """Whether its package is installed and can be imported."""
        try:
            import_module(self.package)
        except ImportError:
            return False
        return True

    @property
    def version(self) -> str:
        """Of its package."""
        return str(getattr(import_module(self.package), "__version__", ""))


def _tensors(parts: list[NDArray]) -> list[Tensor]:
    return [torch.from_numpy(np.ascontiguousarray(part)) for part in parts]


def write_wds(arrays: Arrays, folder: Path) -> None:
    """One sample a window, one .npy a modality, 128 MB a tar."""
    names, count = list(arrays), len(next(iter(arrays.values())))
    per_tar = (128 << 20) // sum(values[0].nbytes for values in arrays.values())
    for first in range(0, count, per_tar):
        with tarfile.open(folder / f"w-{first:06d}.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
            for row in range(first, min(first + per_tar, count)):
                for name in names:
                    data = io.BytesIO()
                    np.save(data, arrays[name][row])
                    info = tarfile.TarInfo(f"{row:06d}.{name}.npy")
                    info.size = data.tell()
                    tar.addfile(info, io.BytesIO(data.getvalue()))


def read_wds(folder: Path, size: int, shuffled: bool, names: list[str]) -> Batches:
    """`WebDataset(...).shuffle().decode().to_tuple().batched()`."""
    import webdataset

    paths = sorted(map(str, folder.glob("*.tar")))
    data = webdataset.WebDataset(paths, shardshuffle=len(paths) if shuffled else False)
    data = data.shuffle(5000) if shuffled else data
    for parts in data.decode().to_tuple(*(f"{name}.npy" for name in names)).batched(size):
        yield _tensors(parts)


def read_our_blocks(folder: Path, size: int, shuffled: bool, names: list[str]) -> Batches:
    """The stock reader on our shards: blocks are cut, or taken apart into a shuffle buffer."""
    import webdataset

    from hdt_fm.data.stock import decode, one_by_one

    paths = sorted(map(str, folder.glob("*/*.tar")))
    data = webdataset.WebDataset(paths, shardshuffle=len(paths) if shuffled else False).map(decode)
    if shuffled:
        windows = data.compose(one_by_one).shuffle(5000).to_tuple(*names).batched(size)
        yield from map(_tensors, windows)
        return
    for block in data:
        for start in range(0, len(block["wid"]), size):
            yield [torch.from_numpy(block[name][start : start + size]) for name in names]


def write_arrow(arrays: Arrays, folder: Path) -> None:
    """Record batches of 256 rows of fixed-size lists."""
    import pyarrow as pa

    table = _table(arrays)
    with pa.OSFile(str(folder / "all.arrow"), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=256)


def _table(arrays: Arrays):  # type: ignore[no-untyped-def]
    import pyarrow as pa

    columns = {
        name: pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values[0].size)
        for name, values in arrays.items()
    }
    return pa.table(columns)


def read_arrow(folder: Path, size: int, shuffled: bool, names: list[str]) -> Batches:
    """By memory map, copied into new tensors; shuffled within pools of record batches."""
    import pyarrow as pa

    reader = pa.ipc.open_file(pa.memory_map(str(folder / "all.arrow")))
    chance = np.random.default_rng(0)

    def column(batch, name):  # type: ignore[no-untyped-def]
        values = batch.column(name)
        return values.flatten().to_numpy(zero_copy_only=True).reshape(len(values), -1)

    order = chance.permutation(reader.num_record_batches) if shuffled else np.arange(reader.num_record_batches)
    for start in range(0, len(order), POOL if shuffled else 1):
        pool = [reader.get_batch(int(number)) for number in order[start : start + (POOL if shuffled else 1)]]
        if not shuffled:
            yield [torch.from_numpy(column(pool[0], name).copy()) for name in names]
            continue
        views = {name: [column(batch, name) for batch in pool] for name in names}
        which = np.repeat(np.arange(len(pool)), [batch.num_rows for batch in pool])
        row = np.concatenate([np.arange(batch.num_rows) for batch in pool])
        mixed = chance.permutation(len(which))
        for first in range(0, len(mixed), size):
            yield _mixed(views, which, row, mixed[first : first + size])


def _mixed(views: dict[str, list[NDArray]], which: NDArray, row: NDArray, chosen: NDArray) -> list[Tensor]:
    """Rows of several arrays, one gather an array."""
    chosen = chosen[np.argsort(which[chosen], kind="stable")]
    found = []
    for parts in views.values():
        out, at = np.empty((len(chosen), parts[0].shape[1]), parts[0].dtype), 0
        for number in np.unique(which[chosen]):
            rows = row[chosen][which[chosen] == number]
            np.take(parts[number], rows, axis=0, out=out[at : at + len(rows)], mode="clip")
            at += len(rows)
        found.append(torch.from_numpy(out))
    return found


def write_hf(arrays: Arrays, folder: Path) -> None:
    """`Dataset(table).save_to_disk`."""
    from datasets import Dataset
    from datasets.table import InMemoryTable

    Dataset(InMemoryTable(_table(arrays))).save_to_disk(str(folder / "set"))


def read_hf(folder: Path, size: int, shuffled: bool, names: list[str]) -> Batches:
    """`load_from_disk(...).with_format("numpy")[indices]`, by lists of indices where shuffled."""
    from datasets import disable_progress_bars, load_from_disk

    disable_progress_bars()
    data = load_from_disk(str(folder / "set")).with_format("numpy")
    order = np.random.default_rng(0).permutation(len(data))
    for start in range(0, len(data), size):
        rows = data[order[start : start + size].tolist()] if shuffled else data[start : start + size]
        yield [torch.from_numpy(np.array(rows[name])) for name in names]


def write_zarr(arrays: Arrays, folder: Path) -> None:
    """Chunks of 256 rows in shards of 4096, no codec."""
    import zarr

    root = zarr.open_group(str(folder / "set.zarr"), mode="w")
    for name, values in arrays.items():
        shape = values.shape[1:]
        made = root.create_array(
            name, shape=values.shape, dtype="f4", chunks=(256, *shape), shards=(4096, *shape), compressors=None
        )
        made[:] = values


def read_zarr(folder: Path, size: int, shuffled: bool, names: list[str]) -> Batches:
    """Slices of 256 rows; shuffled within pools of 16 of them."""
    import zarr

    root = zarr.open_group(str(folder / "set.zarr"), mode="r")
    arrays, chance = [root[name] for name in names], np.random.default_rng(0)
    starts = np.arange(0, arrays[0].shape[0], size)
    if not shuffled:
        for start in starts:
            yield _tensors([array[start : start + size] for array in arrays])
        return
    starts = chance.permutation(starts)
    for first in range(0, len(starts), POOL):
        pool = [np.concatenate([array[s : s + size] for s in starts[first : first + POOL]]) for array in arrays]
        mixed = chance.permutation(len(pool[0]))
        for begin in range(0, len(mixed), size):
            yield [torch.from_numpy(part[mixed[begin : begin + size]]) for part in pool]


def write_litdata(arrays: Arrays, folder: Path) -> None:
    """`BinaryWriter`, which `optimize` runs in its processes: 64 MB chunks of dicts of arrays."""
    from litdata.streaming.writer import BinaryWriter

    writer = BinaryWriter(str(folder), chunk_bytes=64 << 20)
    for row in range(len(next(iter(arrays.values())))):
        writer[row] = {name: values[row] for name, values in arrays.items()}
    writer.done()
    writer.merge(1)


def read_litdata(folder: Path, size: int, shuffled: bool, names: list[str]) -> Batches:
    """`StreamingDataLoader(StreamingDataset(...))`."""
    from litdata import StreamingDataLoader, StreamingDataset

    data = StreamingDataset(str(folder), shuffle=shuffled, drop_last=False)
    for batch in StreamingDataLoader(data, batch_size=size, num_workers=0, drop_last=False):
        yield [torch.as_tensor(batch[name]) for name in names]


def write_mds(arrays: Arrays, folder: Path) -> None:
    """`MDSWriter` with arrays of fixed shape."""
    from streaming import MDSWriter

    columns = {
        name: f"ndarray:float32:{','.join(str(axis) for axis in values.shape[1:])}" for name, values in arrays.items()
    }
    with MDSWriter(out=str(folder), columns=columns) as writer:
        for row in range(len(next(iter(arrays.values())))):
            writer.write({name: values[row] for name, values in arrays.items()})


def read_mds(folder: Path, size: int, shuffled: bool, names: list[str]) -> Batches:
    """`DataLoader(StreamingDataset(local=...))`."""
    from streaming import StreamingDataset
    from streaming.base.util import clean_stale_shared_memory
    from torch.utils.data import DataLoader

    clean_stale_shared_memory()
    data = StreamingDataset(local=str(folder), shuffle=shuffled, batch_size=size, num_canonical_nodes=1)
    for batch in DataLoader(data, batch_size=size, num_workers=0):
        yield [batch[name] for name in names]


def _nothing(arrays: Arrays, folder: Path) -> None:
    """Reads what is there already."""


PEERS = (
    Peer("webdataset, a sample a window", "webdataset", write_wds, read_wds),
    Peer("webdataset on our blocks", "webdataset", _nothing, read_our_blocks),
    Peer("LitData", "litdata", write_litdata, read_litdata),
    Peer("MDS", "streaming", write_mds, read_mds),
    Peer("HF datasets", "datasets", write_hf, read_hf),
    Peer("Arrow IPC", "pyarrow", write_arrow, read_arrow),
    Peer("zarr", "zarr", write_zarr, read_zarr),
)
